"""Messages that may be delivery reports: found by a poll, worked off by the pipeline.

Of a notice that answers no registered send only keyed hashes and a reference stay, for `UNMATCHED_DAYS`.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from worker.domain import SentEmail, address_key
from worker.match import WINDOW, send_keys
from worker.signals import correlation_id
from worker.store.database import insert, locked
from worker.store.inboxes import InboxState
from worker.store.keyring import Digester
from worker.store.schema import inboxes, notice_keys, notices
from worker.store.schema import send_keys as send_key_rows

UNMATCHED_DAYS: Final = 14
CLOCK_SKEW: Final = timedelta(hours=1)
AT_ONCE: Final = 500
"""Values in one statement: both databases take some ten thousand."""

T = TypeVar("T")


class NoticeState(StrEnum):
    """Where a notice stands. Only `PENDING` is ever worked on."""

    PENDING = "pending"
    ATTACHED = "attached"
    REVIEW = "review"
    DUPLICATE = "duplicate"  # the same report came by another way
    UNMATCHED = "unmatched"  # answers no registered send, yet
    NOT_A_BOUNCE = "not_a_bounce"
    GONE = "gone"  # deleted from the inbox before it was read
    QUARANTINED = "quarantined"  # can't be worked on; the reason says why


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """A message that may be a delivery report."""

    id: int
    account: str
    inbox_id: str
    ref: str
    attempts: int
    thread_id: str | None
    received_at: datetime | None
    found_at: datetime

    @property
    def correlation_id(self) -> str:
        """By which it is followed through logs, traces and events."""
        return correlation_id(self.inbox_id, self.ref)


def add(
    connection: Connection,
    account: str,
    inbox_id: str,
    found: Iterable[tuple[str, str | None, datetime | None]],
    now: datetime,
    next_attempt_at: datetime,
) -> list[tuple[int, str]]:
    """Keep (reference, thread, time received) as pending; return (id, reference) of those that were not known."""
    rows = [
        {
            "account": account,
            "inbox_id": inbox_id,
            "ref": ref,
            "state": NoticeState.PENDING,
            "attempts": 0,
            "next_attempt_at": next_attempt_at,
            "found_at": now,
            "thread_id": thread_id,
            "received_at": received_at,
        }
        for ref, thread_id, received_at in found
    ]
    if not rows:
        return []
    statement = insert(connection, notices).on_conflict_do_nothing(index_elements=["inbox_id", "ref"])
    kept = connection.execute(statement.returning(notices.c.id, notices.c.ref), rows)
    return [(row.id, row.ref) for row in kept]


def pending(connection: Connection, ids: Iterable[int]) -> list[Notice]:
    """Return those of `ids` that still wait."""
    return _pending(connection, ids, lock=False)


def lock_pending(connection: Connection, ids: Iterable[int]) -> list[Notice]:
    """Return those of `ids` that still wait and that no other worker holds, and hold them until the commit."""
    return _pending(connection, ids, lock=True)


def _pending(connection: Connection, ids: Iterable[int], *, lock: bool) -> list[Notice]:
    query = notices.select().where(notices.c.id.in_(sorted(ids)), notices.c.state == NoticeState.PENDING)
    query = query.order_by(notices.c.id)
    rows = connection.execute(locked(query, skip=True) if lock else query).mappings()
    return [Notice(**{name: row[name] for name in Notice.__slots__}) for row in rows]


def take_due(connection: Connection, now: datetime, again_at: datetime, limit: int) -> list[tuple[str, int]]:
    """Return (inbox, notice) of pending notices that are due, and put their next turn off to `again_at`.

    Notices of an inbox that isn't read now wait: signing in again and again with a dead password locks people out, and
    a server that asked for patience means all of us.
    """
    due = (
        sa.select(notices.c.id)
        .join(inboxes, inboxes.c.id == notices.c.inbox_id)
        .where(inboxes.c.state == InboxState.ACTIVE, sa.or_(inboxes.c.failures == 0, inboxes.c.next_poll_at <= now))
        .where(notices.c.state == NoticeState.PENDING, notices.c.next_attempt_at <= now)
        .order_by(notices.c.next_attempt_at)
        .limit(limit)
    )
    rows = connection.execute(
        sa.update(notices)
        .where(notices.c.id.in_(locked(due, skip=True, of=notices).scalar_subquery()))
        .values(next_attempt_at=again_at)
        .returning(notices.c.inbox_id, notices.c.id)
    )
    return [(row.inbox_id, row.id) for row in rows]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a notice ended."""

    notice_id: int
    state: NoticeState
    reason: str | None = None
    report_id: str | None = None


def settle(connection: Connection, ended: Sequence[Ended]) -> None:
    """Say how notices ended."""
    rows = [
        {"this": each.notice_id, "state": each.state, "reason": each.reason, "report_id": each.report_id}
        for each in ended
    ]
    if rows:
        connection.execute(sa.update(notices).where(notices.c.id == sa.bindparam("this")), rows)


def wait(
    connection: Connection, ids: Iterable[int], reason: str, next_attempt_at: datetime, *, tried: bool = False
) -> None:
    """Say why notices wait, and until when; `tried` counts the attempt."""
    connection.execute(
        sa.update(notices)
        .where(notices.c.id.in_(sorted(ids)), notices.c.state == NoticeState.PENDING)
        .values(attempts=notices.c.attempts + int(tried), reason=reason, next_attempt_at=next_attempt_at)
    )


def remember_unmatched(
    connection: Connection, notice: Notice, keys: Iterable[tuple[str, bytes]], now: datetime
) -> None:
    """Keep the keyed hashes ((name, digest)) of what an unmatched notice names."""
    expires_at = now + timedelta(days=UNMATCHED_DAYS)
    rows = [
        {"account": notice.account, "digest": value, "notice_id": notice.id, "kind": name, "expires_at": expires_at}
        for name, value in sorted(set(keys))
    ]
    if rows:
        connection.execute(insert(connection, notice_keys).on_conflict_do_nothing(), rows)


def requeue_for(connection: Connection, batch: Sequence[SentEmail], digest: Digester, now: datetime) -> int:
    """Make unmatched notices pending again that name one of `batch` by id, or its recipient within the window."""
    by_id = {digest(send.account, key.name, key.value) for send in batch for key in send_keys(send)}
    spans: dict[bytes, list[tuple[datetime, datetime]]] = {}
    for send in batch:
        span = (send.sent_at - CLOCK_SKEW, send.sent_at + WINDOW)
        for recipient in send.recipients:
            hashed = digest(send.account, "recipient", address_key(recipient.address))
            spans.setdefault(hashed, []).append(span)
    named: set[int] = set()
    # Which notices name any of them is asked of the database, and when they came is looked at here: a question for each
    # send in one statement would be more than SQLite takes.
    for part in _parts(sorted(by_id | spans.keys())):
        query = (
            sa.select(notice_keys.c.notice_id, notice_keys.c.digest, notices.c.received_at)
            .join(notices, notices.c.id == notice_keys.c.notice_id)
            .where(
                notice_keys.c.account.in_({send.account for send in batch}),
                notice_keys.c.digest.in_(part),
                notices.c.state == NoticeState.UNMATCHED,
            )
        )
        for row in connection.execute(query):
            hashed, at = bytes(row.digest), row.received_at
            if hashed in by_id or any(at and first <= at <= last for first, last in spans.get(hashed, ())):
                named.add(row.notice_id)
    return sum(_requeue(connection, part, now) for part in _parts(sorted(named)))


def _parts(values: Sequence[T]) -> Iterator[Sequence[T]]:
    return (values[start : start + AT_ONCE] for start in range(0, len(values), AT_ONCE))


def requeue_known(connection: Connection, now: datetime) -> int:
    """Make unmatched notices pending again that name a send by id.

    Closes the gap in which a send is registered while its notice is being worked on: neither sees the other.
    """
    same = sa.and_(send_key_rows.c.account == notice_keys.c.account, send_key_rows.c.digest == notice_keys.c.digest)
    return _requeue(connection, sa.select(notice_keys.c.notice_id).join(send_key_rows, same), now)


def _requeue(connection: Connection, naming: sa.Select[tuple[int]] | Sequence[int], now: datetime) -> int:
    done = connection.execute(
        sa.update(notices)
        .where(notices.c.id.in_(naming), notices.c.state == NoticeState.UNMATCHED)
        .values(state=NoticeState.PENDING, attempts=0, next_attempt_at=now)
    )
    return done.rowcount


def mend_times(connection: Connection, now: datetime, skew: timedelta) -> int:
    """Make pending notices due that were found at a time which is still to come; return how many.

    The clock has been put back since, and they would wait until it is where it was.
    """
    stranded = notices.c.state == NoticeState.PENDING, notices.c.next_attempt_at > now, notices.c.found_at > now + skew
    return connection.execute(sa.update(notices).where(*stranded).values(next_attempt_at=now, found_at=now)).rowcount


def forget_expired(connection: Connection, now: datetime) -> int:
    """Drop what is kept of unmatched notices past its time."""
    return connection.execute(sa.delete(notice_keys).where(notice_keys.c.expires_at <= now)).rowcount


def counts(connection: Connection, inbox_id: str) -> dict[str, int]:
    """Return how many notices of an inbox stand in each state."""
    query = sa.select(notices.c.state, sa.func.count()).where(notices.c.inbox_id == inbox_id).group_by(notices.c.state)
    return dict(connection.execute(query).all())


def any_pending(connection: Connection) -> bool:
    """Whether a notice of an active inbox waits to be worked off."""
    query = (
        sa.select(notices.c.id)
        .join(inboxes, inboxes.c.id == notices.c.inbox_id)
        .where(notices.c.state == NoticeState.PENDING, inboxes.c.state == InboxState.ACTIVE)
        .limit(1)
    )
    return connection.execute(query).first() is not None
