"""Sends that are to be looked for in the Sent folder of their inbox, to learn the ids that they left under.

Each is looked for a few times and then left alone: a row without `due_at` remembers that it was.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from worker.domain import SentEmail
from worker.match import WINDOW
from worker.store.database import insert
from worker.store.schema import sent_lookups

AGAIN: Final = (timedelta(minutes=2), timedelta(minutes=20), timedelta(hours=2))
"""How long to wait after each look that found nothing: a mail program may put its copy there late."""
AT_ONCE: Final = 100


def want(connection: Connection, batch: Iterable[SentEmail], now: datetime) -> None:
    """Have sends looked for, unless they were; mail that no notice can answer any more is left alone."""
    rows = [
        {
            "account": send.account,
            "send_id": send.id,
            "inbox": send.inbox,
            "attempts": 0,
            "due_at": now,
            "expires_at": send.sent_at + WINDOW,
        }
        for send in batch
        if send.sent_at + WINDOW > now
    ]
    if rows:
        connection.execute(insert(connection, sent_lookups).on_conflict_do_nothing(), rows)


def due(connection: Connection, account: str, inbox: str, now: datetime) -> list[str]:
    """Return the sends of an inbox that are to be looked for now, the oldest first."""
    query = (
        sa.select(sent_lookups.c.send_id)
        .where(sent_lookups.c.account == account, sent_lookups.c.inbox == inbox, sent_lookups.c.due_at <= now)
        .order_by(sent_lookups.c.due_at, sent_lookups.c.send_id)
        .limit(AT_ONCE)
    )
    return list(connection.execute(query).scalars())


def looked(connection: Connection, account: str, found: Iterable[str], missed: Iterable[str], now: datetime) -> None:
    """Remember which sends were found, and when to look for the others again."""
    mine = sent_lookups.c.account == account
    change = sa.update(sent_lookups)
    connection.execute(change.where(mine, sent_lookups.c.send_id.in_(sorted(found))).values(due_at=None))
    tried = sent_lookups.c.attempts
    again = sa.case(*((tried == number, now + wait) for number, wait in enumerate(AGAIN)), else_=None)
    connection.execute(
        change.where(mine, sent_lookups.c.send_id.in_(sorted(missed))).values(due_at=again, attempts=tried + 1)
    )


def forget_expired(connection: Connection, now: datetime) -> int:
    """Drop what no notice can answer any more."""
    return connection.execute(sa.delete(sent_lookups).where(sent_lookups.c.expires_at <= now)).rowcount
