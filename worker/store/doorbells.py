"""Doorbells that providers ring by calling us: which subscription each inbox has, and when it must be renewed."""

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from worker.store.database import insert, locked
from worker.store.inboxes import InboxState
from worker.store.schema import doorbells, inboxes


@dataclass(frozen=True, slots=True, kw_only=True)
class Bell:
    """One inbox's doorbell. `problem` says why there is none, where there is none."""

    inbox_id: str
    subscription: str | None
    expires_at: datetime | None
    renew_at: datetime
    failures: int
    problem: str | None


def of_inbox(connection: Connection, inbox_id: str) -> Bell | None:
    """Return an inbox's doorbell, if it was ever given one."""
    row = connection.execute(doorbells.select().where(doorbells.c.inbox_id == inbox_id)).mappings().first()
    return Bell(**{name: row[name] for name in Bell.__slots__}) if row else None


def claim(
    connection: Connection, providers: Collection[str], now: datetime, until: datetime, limit: int
) -> Sequence[tuple[str, str | None]]:
    """Take doorbells that are due for renewal, and inboxes that have none yet; return (inbox, subscription).

    Nobody else takes them before `until`.
    """
    active = sa.and_(inboxes.c.state == InboxState.ACTIVE, inboxes.c.provider.in_(sorted(providers)))
    without = sa.select(inboxes.c.id).where(active, ~sa.exists().where(doorbells.c.inbox_id == inboxes.c.id))
    new = [
        {"inbox_id": inbox_id, "renew_at": now, "failures": 0}
        for inbox_id in connection.execute(without.limit(limit)).scalars()
    ]
    if new:
        connection.execute(insert(connection, doorbells).on_conflict_do_nothing(), new)
    due = (
        sa.select(doorbells.c.inbox_id)
        .join(inboxes, inboxes.c.id == doorbells.c.inbox_id)
        .where(active, doorbells.c.renew_at <= now)
        .order_by(doorbells.c.renew_at)
        .limit(limit)
    )
    taken = connection.execute(
        sa.update(doorbells)
        .where(doorbells.c.inbox_id.in_(locked(due, skip=True, of=doorbells).scalar_subquery()))
        .values(renew_at=until)
        .returning(doorbells.c.inbox_id, doorbells.c.subscription)
    )
    return [(row.inbox_id, row.subscription) for row in taken]


def hung(
    connection: Connection,
    inbox_id: str,
    subscription: str,
    secret: str | None,
    expires_at: datetime,
    renew_at: datetime,
) -> None:
    """Keep a subscription that the provider has made, with the secret it will show, or prolonged (None)."""
    values: dict[str, object] = {
        "subscription": subscription,
        "expires_at": expires_at,
        "renew_at": renew_at,
        "failures": 0,
        "problem": None,
    }
    if secret is not None:
        values["secret"] = digest(secret)
    connection.execute(sa.update(doorbells).where(doorbells.c.inbox_id == inbox_id).values(values))


def failed(connection: Connection, inbox_id: str, problem: str, again_at: datetime) -> None:
    """Note down that a subscription could not be made or prolonged, and when to try again."""
    connection.execute(
        sa.update(doorbells)
        .where(doorbells.c.inbox_id == inbox_id)
        .values(problem=problem, failures=doorbells.c.failures + 1, renew_at=again_at)
    )


def ask_anew(connection: Connection, inbox_id: str, now: datetime, *, gone: bool) -> None:
    """Have a subscription renewed at once; where it is `gone`, another one made."""
    values: dict[str, object] = {"renew_at": now} | ({"subscription": None, "secret": None} if gone else {})
    connection.execute(sa.update(doorbells).where(doorbells.c.inbox_id == inbox_id).values(values))


def rung(connection: Connection, calls: Collection[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """Return, of (subscription, secret) pairs, those that are right, each with its inbox."""
    wanted = sorted({subscription for subscription, _ in calls})
    rows = connection.execute(doorbells.select().where(doorbells.c.subscription.in_(wanted)))
    known = {row.subscription: (row.secret, row.inbox_id) for row in rows}
    right: dict[tuple[str, str], str] = {}
    for call in calls:
        kept, inbox_id = known.get(call[0], (None, None))
        if kept is not None and kept == digest(call[1]):
            right[call] = inbox_id
    return right


def digest(secret: str) -> bytes:
    """Return what is kept of a secret: comparing digests tells nobody how much of a guess was right."""
    return hashlib.sha256(secret.encode(errors="replace")).digest()  # a call may name half a character


def forget(connection: Connection, inbox_id: str) -> None:
    """Drop what is known of an inbox's doorbell: it belonged to another mailbox. The provider lets it end by itself."""
    connection.execute(sa.delete(doorbells).where(doorbells.c.inbox_id == inbox_id))
