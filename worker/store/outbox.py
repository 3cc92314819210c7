"""What the CRM is still to be told. A row is written in the transaction that made it true, and sent after it."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from worker.store.database import insert, locked
from worker.store.schema import outbox


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxRow:
    """An event on its way; `payload` is what the CRM gets."""

    id: int
    event_id: str
    account: str
    type: str
    payload: dict[str, Any]
    attempts: int


def add(connection: Connection, events: Iterable[tuple[str, str, str, dict[str, Any]]], now: datetime) -> None:
    """Put (event id, account, type, payload) in the outbox; the same event id is put there once."""
    rows = [
        {
            "event_id": event_id,
            "account": account,
            "type": kind,
            "payload": payload,
            "created_at": now,
            "attempts": 0,
            "next_attempt_at": now,
        }
        for event_id, account, kind, payload in events
    ]
    if rows:
        connection.execute(insert(connection, outbox).on_conflict_do_nothing(index_elements=["event_id"]), rows)


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


def all_rows(connection: Connection) -> list[OutboxRow]:
    """Return every event, in order."""
    rows = connection.execute(outbox.select().order_by(outbox.c.id)).mappings()
    return [OutboxRow(**{name: row[name] for name in OutboxRow.__slots__}) for row in rows]


def any_due(connection: Connection) -> bool:
    """Whether an event still waits to be handed over."""
    query = sa.select(outbox.c.id).where(outbox.c.next_attempt_at.is_not(None)).limit(1)
    return connection.execute(query).first() is not None
