"""Keys of the HTTP API: made, looked at, exchanged and ended, each in a transaction of its own."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from worker import keys
from worker.admin import AdminProblem
from worker.keys import ApiKey, Scope
from worker.pipeline import Context
from worker.store import accounts, api_keys
from worker.store.database import reading, writing

LONGEST: Final = timedelta(days=3650)


@dataclass(frozen=True, slots=True, kw_only=True)
class Created:
    """A new key. `text` is shown once, to whoever asked for it; nobody can read it afterwards."""

    key: ApiKey
    text: str


def create(
    context: Context,
    account: str | None,
    name: str,
    scopes: Collection[Scope],
    expires_in: timedelta | None = None,
) -> Created:
    """Make a key of an account, or with None one of the operator's, who names the account with each request."""
    if not scopes:
        raise AdminProblem(f"Say what the key may do: one or more of {', '.join(Scope)}.")
    if Scope.OPERATE in scopes and account is not None:
        raise AdminProblem("The scope operate reaches all accounts: only a key of no account may have it.")
    if expires_in is not None and not timedelta(0) < expires_in <= LONGEST:
        raise AdminProblem(f"A key may last from now on to {LONGEST.days} days.")
    now = context.now()
    key_id, secret = keys.make()
    key = ApiKey(
        id=key_id,
        account=account,
        name=name,
        digest=keys.digest(secret),
        scopes=frozenset(scopes),
        created_at=now,
        expires_at=now + expires_in if expires_in else None,
        revoked_at=None,
        last_used_at=None,
    )
    with writing(context.engine) as connection:
        if account is not None:
            accounts.ensure(connection, account, now)
        api_keys.add(connection, key)
    return Created(key=key, text=keys.written(key_id, secret))


def rotate(context: Context, key_id: str, grace: timedelta) -> Created:
    """Make a key that may do the same, and end the old one after `grace`: time to exchange it everywhere."""
    old = _the_key(context, key_id)
    now = context.now()
    if old.revoked_at is not None or (old.expires_at is not None and old.expires_at <= now):
        raise AdminProblem(f"The key {old.name} ({old.id}) has ended: create another.")
    life = old.expires_at - old.created_at if old.expires_at else None
    made = create(context, old.account, old.name, old.scopes, life)
    with writing(context.engine) as connection:
        api_keys.end(connection, old.id, now + grace)
    return made


def revoke(context: Context, key_id: str) -> ApiKey:
    """End a key at once."""
    key = _the_key(context, key_id)
    with writing(context.engine) as connection:
        if not api_keys.revoke(connection, key.id, context.now()):
            raise AdminProblem(f"The key {key.name} ({key.id}) was revoked before.")
    return key


def listed(context: Context, account: str | None) -> Sequence[dict[str, Any]]:
    """Return keys as JSON objects, without anything that proves them."""
    now = context.now()
    with reading(context.engine) as connection:
        found = api_keys.listed(connection, account)
    return [
        {
            "schema": 1,
            "id": key.id,
            "account": key.account,
            "name": key.name,
            "scopes": sorted(key.scopes),
            "state": key.state(now),
            "created_at": key.created_at.isoformat(),
            "expires_at": key.expires_at.isoformat() if key.expires_at else None,
            "last_used_at": key.last_used_at.isoformat() if key.last_used_at else None,
        }
        for key in found
    ]


def _the_key(context: Context, key_id: str) -> ApiKey:
    with reading(context.engine) as connection:
        key = api_keys.get(connection, key_id)
    if key is None:
        raise AdminProblem(f"There is no key {key_id}: see bounce-worker keys list.")
    return key
