"""Matched notices as they came, compressed and encrypted, until they expire: so that they can be judged again."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from worker.store.database import insert
from worker.store.keyring import KeyRing
from worker.store.schema import raw_notices

LARGEST: Final = 1024 * 1024
"""Bytes that a notice may unfold to: four times what is ever downloaded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RawNotice:
    """A notice as it came, and what was known of it."""

    account: str
    report_id: str
    inbox_id: str
    digest: str
    thread_id: str | None
    received_at: datetime | None
    found_at: datetime
    sealed: bytes

    def opened(self, ring: KeyRing) -> bytes:
        """Return the notice's bytes. Raises `KeyProblem` where its key is gone."""
        return zlib.decompressobj().decompress(ring.open(self.sealed, bound_to(self.account, self.digest)), LARGEST)


def sealed(ring: KeyRing, account: str, digest: str, raw: bytes) -> bytes:
    """Return a notice as it is kept."""
    return ring.seal(zlib.compress(raw), bound_to(account, digest))


def bound_to(account: str, digest: str) -> str:
    """Return what a sealed notice opens for: a stolen row can't be moved to another account."""
    return f"notice {account} {digest}"


def keep(connection: Connection, rows: Sequence[dict[str, Any]]) -> None:
    """Keep notices; one that is there stays as it is."""
    if rows:
        connection.execute(insert(connection, raw_notices).on_conflict_do_nothing(), list(rows))


def page(connection: Connection, account: str | None, after: tuple[str, str], limit: int) -> list[RawNotice]:
    """Return the notices after (account, report), in that order."""
    place = sa.tuple_(raw_notices.c.account, raw_notices.c.report_id)
    query = (
        raw_notices.select().where(place > sa.tuple_(*after)).order_by(raw_notices.c.account, raw_notices.c.report_id)
    )
    if account is not None:
        query = query.where(raw_notices.c.account == account)
    rows = connection.execute(query.limit(limit)).mappings()
    return [RawNotice(**{name: row[name] for name in RawNotice.__slots__}) for row in rows]


def reseal(connection: Connection, ring: KeyRing, kept: Sequence[RawNotice]) -> None:
    """Encrypt notices anew with the newest key. Raises `KeyProblem` where the key of one is gone."""
    place = raw_notices.c.account == sa.bindparam("of"), raw_notices.c.report_id == sa.bindparam("report")
    rows = [
        {
            "of": each.account,
            "report": each.report_id,
            "sealed": sealed(ring, each.account, each.digest, each.opened(ring)),
        }
        for each in kept
    ]
    if rows:
        connection.execute(sa.update(raw_notices).where(*place), rows)


def count(connection: Connection, account: str | None) -> int:
    """Return how many notices can be judged again."""
    query = sa.select(sa.func.count()).select_from(raw_notices)
    if account is not None:
        query = query.where(raw_notices.c.account == account)
    return connection.execute(query).scalar_one()


def forget_expired(connection: Connection, now: datetime) -> int:
    """Drop notices whose time is over; what was read of them stays."""
    return connection.execute(sa.delete(raw_notices).where(raw_notices.c.expires_at <= now)).rowcount
