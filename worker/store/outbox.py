"""What the CRM is still to be told. A row is written in the transaction that made it true, and sent after it."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from worker.store.database import insert, locked
from worker.store.schema import meta, outbox

FEED: Final = "feed_position"


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxRow:
    """An event on its way; `payload` is what the CRM gets."""

    id: int
    event_id: str
    account: str
    type: str
    payload: dict[str, Any]
    attempts: int

    @property
    def correlation_id(self) -> str | None:
        """That of the notice that caused it, if one did."""
        return self.payload.get("correlation_id")


def add(connection: Connection, events: Iterable[tuple[str, str, str, dict[str, Any]]], now: datetime) -> None:
    """Put (event id, account, type, payload) in the outbox, each with the time; the same event id is put there once."""
    rows = [
        {
            "event_id": event_id,
            "account": account,
            "type": kind,
            "payload": payload | {"at": now.isoformat()},
            "created_at": now,
            "attempts": 0,
            "next_attempt_at": now,
        }
        for event_id, account, kind, payload in events
    ]
    if rows:
        connection.execute(insert(connection, outbox).on_conflict_do_nothing(index_elements=["event_id"]), rows)


def number(connection: Connection, limit: int) -> list[tuple[int, str, str, str]]:
    """Give committed events their positions in the feed; return (position, account, type, order key) of each.

    Ids are drawn before a transaction commits, so that of two transactions the later id may be seen first; whoever
    reads a feed by them would miss the other. Positions are drawn one transaction after the other, under a lock, for
    events that are committed already.
    """
    connection.execute(insert(connection, meta).values(key=FEED, value=b"0").on_conflict_do_nothing())
    last = int(connection.execute(locked(sa.select(meta.c.value).where(meta.c.key == FEED))).scalar_one())
    next_ones = (
        sa.select(outbox.c.id, sa.func.row_number().over(order_by=outbox.c.id).label("place"))
        .where(outbox.c.position.is_(None))
        .order_by(outbox.c.id)
        .limit(limit)
        .subquery()
    )
    statement = sa.update(outbox).where(outbox.c.id == next_ones.c.id).values(position=last + next_ones.c.place)
    drawn = connection.execute(
        statement.returning(outbox.c.position, outbox.c.account, outbox.c.type, outbox.c.payload)
    ).all()
    if drawn:
        newest = max(row.position for row in drawn)
        connection.execute(sa.update(meta).where(meta.c.key == FEED).values(value=str(newest).encode()))
    return [(row.position, row.account, row.type, _order_key(row.payload)) for row in sorted(drawn)]


def any_unnumbered(connection: Connection) -> bool:
    """Whether an event has no position yet."""
    return connection.execute(sa.select(outbox.c.id).where(outbox.c.position.is_(None)).limit(1)).first() is not None


def _order_key(payload: dict[str, Any]) -> str:
    """Return what an event is about: events about the same thing are delivered in order."""
    about = payload.get("contact_id") or payload.get("address") or payload.get("inbox") or ""
    return str(about)


def feed(connection: Connection, account: str, after: int, limit: int) -> list[tuple[int, dict[str, Any]]]:
    """Return (position, payload) of an account's events after a position, in order."""
    query = (
        sa.select(outbox.c.position, outbox.c.payload)
        .where(outbox.c.account == account, outbox.c.position > after)
        .order_by(outbox.c.position)
        .limit(limit)
    )
    return [(row.position, row.payload) for row in connection.execute(query)]


def take_due(connection: Connection, now: datetime, again_at: datetime, limit: int) -> list[OutboxRow]:
    """Return the oldest rows that are due, and put their next turn off to `again_at`."""
    due = sa.select(outbox.c.id).where(outbox.c.next_attempt_at <= now).order_by(outbox.c.id).limit(limit)
    rows = connection.execute(
        sa.update(outbox)
        .where(outbox.c.id.in_(locked(due, skip=True).scalar_subquery()))
        .values(next_attempt_at=again_at, attempts=outbox.c.attempts + 1)
        .returning(outbox)
    ).mappings()
    return [
        OutboxRow(**{name: row[name] for name in OutboxRow.__slots__}) for row in sorted(rows, key=lambda r: r["id"])
    ]


def sent(connection: Connection, ids: Iterable[int], now: datetime) -> None:
    """Say that rows have been handed over."""
    where = outbox.c.id.in_(sorted(ids))
    connection.execute(sa.update(outbox).where(where).values(sent_at=now, next_attempt_at=None, error=None))


def failed(connection: Connection, ids: Iterable[int], error: str, next_attempt_at: datetime) -> None:
    """Say that rows could not be handed over, and when to try again."""
    where = outbox.c.id.in_(sorted(ids))
    connection.execute(sa.update(outbox).where(where).values(error=error, next_attempt_at=next_attempt_at))


def any_to_hand_over(connection: Connection, now: datetime) -> bool:
    """Whether a row is due."""
    return (
        connection.execute(sa.select(outbox.c.id).where(outbox.c.next_attempt_at <= now).limit(1)).first() is not None
    )


def nobody_to_tell(connection: Connection, now: datetime) -> None:
    """Say that due rows need not be handed over: the CRM has no queue, and reads the feed or is called."""
    due = outbox.c.next_attempt_at <= now
    connection.execute(sa.update(outbox).where(due).values(sent_at=now, next_attempt_at=None))


def all_rows(connection: Connection) -> list[OutboxRow]:
    """Return every event, in order."""
    rows = connection.execute(outbox.select().order_by(outbox.c.id)).mappings()
    return [OutboxRow(**{name: row[name] for name in OutboxRow.__slots__}) for row in rows]


def any_due(connection: Connection) -> bool:
    """Whether an event still waits to be numbered or handed over."""
    waits = sa.or_(outbox.c.next_attempt_at.is_not(None), outbox.c.position.is_(None))
    query = sa.select(outbox.c.id).where(waits).limit(1)
    return connection.execute(query).first() is not None
