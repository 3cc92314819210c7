"""How long rows are kept that nothing needs any more, by table. Bounces stay until they are forgotten."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from worker.store.database import locked
from worker.store.notices import NoticeState
from worker.store.schema import incidents, notices, outbox, review, send_keys, send_recipients, sends, sign_ins

AT_ONCE: Final = 1_000
"""Rows of a table that one transaction drops: a long delete would hold up whoever writes."""


@dataclass(frozen=True, slots=True)
class Retention:
    """Rows of a table that may go so long after a moment. `where` says which of them are done with."""

    table: sa.Table
    after: sa.Column[Any]
    days: int
    where: sa.ColumnElement[bool]


RETENTION: Final = (
    Retention(outbox, outbox.c.sent_at, 30, outbox.c.sent_at.is_not(None)),
    Retention(notices, notices.c.found_at, 30, notices.c.state != NoticeState.PENDING),
    Retention(review, review.c.decided_at, 365, review.c.state != "waiting"),
    Retention(incidents, incidents.c.closed_at, 365, incidents.c.closed_at.is_not(None)),
    Retention(sign_ins, sign_ins.c.expires_at, 0, sa.true()),
)


def drop_old(connection: Connection, now: datetime) -> dict[str, int]:
    """Drop what is older than its table keeps it; return how many rows of which."""
    gone = {}
    for rule in RETENTION:
        key = tuple(rule.table.primary_key.columns)
        old = sa.select(*key).where(rule.where, rule.after < now - timedelta(days=rule.days)).limit(AT_ONCE)
        found = [tuple(row) for row in connection.execute(old)]
        if found:
            connection.execute(sa.delete(rule.table).where(sa.tuple_(*key).in_(found)))
            gone[rule.table.name] = len(found)
    return gone


def drop_sends(connection: Connection, before: datetime) -> int:
    """Drop the oldest of the sends from before a moment, with their recipients and keys; return how many.

    One that somebody else holds is left for the next turn, so that several sweeps don't wait for each other.
    """
    old = sa.select(sends.c.account, sends.c.id).where(sends.c.sent_at < before).order_by(sends.c.sent_at)
    found = sorted(tuple(row) for row in connection.execute(locked(old.limit(AT_ONCE), skip=True)))
    rows = [{"of": account, "send": name} for account, name in found]
    if rows:
        for name in (send_keys.c.send_id, send_recipients.c.send_id, sends.c.id):
            mine = name.table.c.account == sa.bindparam("of"), name == sa.bindparam("send")
            connection.execute(sa.delete(name.table).where(*mine), rows)
    return len(rows)
