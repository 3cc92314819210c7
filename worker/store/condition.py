"""How the database itself is, for `doctor`: looked at only, never migrated, never changed."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from worker.store import gauges
from worker.store.database import version
from worker.store.inboxes import Inbox, InboxState, find
from worker.store.keyring import DIGEST_KEY_ROW, KeyProblem, KeyRing
from worker.store.raw import bound_to
from worker.store.schema import HEAD, credentials, inboxes, meta, raw_notices, webhooks

SAMPLE = 200
"""Kept notices that are opened: enough to find a key that is missing."""


def sqlite_file(url: str) -> Path | None:
    """Return the file of an SQLite URL."""
    return Path(url.removeprefix("sqlite:///")) if url.startswith("sqlite:///") else None


def versions(engine: Engine) -> tuple[str | None, str]:
    """Return the version that the database has, and the one that this program wants."""
    return version(engine), HEAD


def is_writable(connection: Connection) -> bool:
    """Whether this database takes writes: not a standby, not one that is set to read only."""
    if connection.dialect.name == "postgresql":
        return connection.execute(sa.text("SELECT current_setting('transaction_read_only')")).scalar() == "off"
    return not connection.execute(sa.text("PRAGMA query_only")).scalar()


def clock(connection: Connection) -> datetime | None:
    """Return the database's own time; None where it has no clock but this machine's."""
    if connection.dialect.name != "postgresql":
        return None
    moment: datetime = connection.execute(sa.text("SELECT clock_timestamp()")).scalar_one()
    return moment


def figures(connection: Connection, now: datetime, soon: datetime) -> dict[str, float]:
    """Return what is measured (see `gauges`), each name with its labels' values: deliveries.dead."""
    found = gauges.readings(connection, now, soon)
    return {".".join([each.name, *(value for _, value in each.labels)]): each.value for each in found}


def silent(connection: Connection, since: datetime) -> list[str]:
    """Return the active inboxes that nobody has polled since a moment, as account/name."""
    last = sa.func.coalesce(inboxes.c.last_poll_at, inboxes.c.created_at, type_=inboxes.c.created_at.type)
    query = sa.select(inboxes.c.account, inboxes.c.name).where(inboxes.c.state == InboxState.ACTIVE, last < since)
    return [f"{row.account}/{row.name}" for row in connection.execute(query.order_by(last))]


def needing_attention(connection: Connection) -> list[Inbox]:
    """Return the inboxes that only a person can make work again."""
    return [inbox for inbox in find(connection) if inbox.state is InboxState.NEEDS_ATTENTION]


def ending_sign_ins(connection: Connection, before: datetime) -> list[str]:
    """Return the active inboxes whose sign-in ends before a moment, as account/name."""
    ends = inboxes.c.state == InboxState.ACTIVE, inboxes.c.sign_in_ends_at < before
    query = sa.select(inboxes.c.account, inboxes.c.name).where(*ends).order_by(inboxes.c.sign_in_ends_at)
    return [f"{row.account}/{row.name}" for row in connection.execute(query)]


def locked_secrets(connection: Connection, ring: KeyRing) -> tuple[int, int, int]:
    """Count secrets, those of them that no key opens, and kept notices (of a sample) that none opens."""
    every = list(_secrets(connection))
    closed = sum(not _opens(ring, *each) for each in every)
    kept = sa.select(raw_notices.c.sealed, raw_notices.c.account, raw_notices.c.digest)
    rows = connection.execute(kept.order_by(raw_notices.c.expires_at).limit(SAMPLE))
    return len(every), closed, sum(not _opens(ring, row.sealed, bound_to(row.account, row.digest)) for row in rows)


def _secrets(connection: Connection) -> Iterator[tuple[bytes, str]]:
    for row in connection.execute(meta.select().where(meta.c.key == DIGEST_KEY_ROW)):
        yield row.value, DIGEST_KEY_ROW
    for row in connection.execute(sa.select(credentials.c.secret, credentials.c.inbox_id)):
        yield row.secret, row.inbox_id
    for row in connection.execute(sa.select(webhooks.c.secrets, webhooks.c.id)):
        yield row.secrets, row.id


def _opens(ring: KeyRing, sealed: bytes, bound: str) -> bool:
    try:
        ring.open(sealed, bound)
    except KeyProblem:
        return False
    return True
