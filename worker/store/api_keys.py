"""API keys, as they are kept: digests only."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection, RowMapping

from worker.keys import ApiKey, Scope
from worker.store.schema import api_keys

USED_EVERY: Final = timedelta(hours=1)
"""How exactly the last use of a key is kept: a row written at every request would cost more than it tells."""


def add(connection: Connection, key: ApiKey) -> None:
    """Keep a new key."""
    values = {name: getattr(key, name) for name in ApiKey.__slots__}
    connection.execute(sa.insert(api_keys).values(values | {"scopes": sorted(key.scopes)}))


def get(connection: Connection, key_id: str) -> ApiKey | None:
    """Return a key by its id, whatever its state."""
    row = connection.execute(api_keys.select().where(api_keys.c.id == key_id)).mappings().first()
    return _key(row) if row else None


def listed(connection: Connection, account: str | None = None) -> Sequence[ApiKey]:
    """Return keys, of one account or of all, oldest first."""
    query = api_keys.select().order_by(api_keys.c.created_at, api_keys.c.id)
    if account is not None:
        query = query.where(api_keys.c.account == account)
    return [_key(row) for row in connection.execute(query).mappings()]


def revoke(connection: Connection, key_id: str, now: datetime) -> bool:
    """End a key; return whether that was needed."""
    ended = sa.update(api_keys).where(api_keys.c.id == key_id, api_keys.c.revoked_at.is_(None)).values(revoked_at=now)
    return bool(connection.execute(ended).rowcount)


def end(connection: Connection, key_id: str, at: datetime) -> None:
    """Have a key expire at a moment, unless it does before."""
    sooner = sa.or_(api_keys.c.expires_at.is_(None), api_keys.c.expires_at > at)
    connection.execute(sa.update(api_keys).where(api_keys.c.id == key_id, sooner).values(expires_at=at))


def used(connection: Connection, key: ApiKey, now: datetime) -> None:
    """Note down that a key was used, about once an hour."""
    connection.execute(sa.update(api_keys).where(api_keys.c.id == key.id).values(last_used_at=now))


def is_use_worth_noting(key: ApiKey, now: datetime) -> bool:
    """Whether the kept last use is older than people are told of."""
    return key.last_used_at is None or key.last_used_at + USED_EVERY <= now


def _key(row: RowMapping) -> ApiKey:
    scopes = frozenset(Scope(scope) for scope in row["scopes"])
    return ApiKey(**{name: row[name] for name in ApiKey.__slots__} | {"scopes": scopes})
