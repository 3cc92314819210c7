"""The way of a message: poll → screen → fetch → detect → match → classify → attach → notify.

Only this module opens the transactions of that way. Each step may be run twice: the second run changes nothing. No
transaction is open while a mailbox, a queue or the CRM is spoken to.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Final

from sqlalchemy.engine import Engine
from sqlalchemy.exc import DBAPIError, IntegrityError

from connectors import (
    AuthRequired,
    Connector,
    ConnectorError,
    Cursor,
    CursorExpired,
    MessageGone,
    MessageRef,
    Page,
    Throttled,
)
from worker import schedule
from worker.classify import Rules
from worker.detect import detect
from worker.domain import DeliveryReport, SentEmail, address_key
from worker.identity import report_digest
from worker.judge import VERDICT_KINDS
from worker.match import keys
from worker.screen import screen
from worker.store import inboxes, ledger, notices, outbox, sends
from worker.store.database import reading, writing
from worker.store.inboxes import Inbox, InboxState
from worker.store.keyring import Digester, KeyRing
from worker.store.notices import Notice, NoticeState

log = logging.getLogger(__name__)

FETCH_BYTES: Final = 256 * 1024
"""How much of a notice is downloaded; `detect` needs no more."""
PAGES_PER_POLL: Final = 25
"""After so many pages a poll gives its place to other inboxes and comes back at once."""
BATCH: Final = 20
"""Notices a transaction (FLOORS: ten times the rate of one a transaction)."""
ATTEMPTS: Final = 5
"""How often a notice is tried before it is quarantined."""
TURN: Final = timedelta(minutes=5)
"""How long a queued notice or event may take before the sweep queues it again."""
REREAD: Final = timedelta(days=7)
"""How far before the last complete reading an inbox is read again when its cursor is lost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What the path needs from outside: a database, keys, rules, a clock, mailboxes and the CRM."""

    engine: Engine
    ring: KeyRing
    digest: Digester
    rules: Rules
    connect: Callable[[Inbox], Connector]
    deliver: Callable[[outbox.OutboxRow], None] | None = None
    poll_every: timedelta = timedelta(minutes=2)
    now: Callable[[], datetime] = field(default=lambda: datetime.now(UTC))
    chance: Random = field(default_factory=Random)


@dataclass(frozen=True, slots=True, kw_only=True)
class Polled:
    """What a poll came to: the notices it found, whether more waits, and what went wrong."""

    notice_ids: tuple[int, ...] = ()
    messages: int = 0
    has_more: bool = False
    error: str | None = None


# ── poll and screen ──────────────────────────────────────────────────────────────────────────────────────────────────


def claim_due(context: Context, limit: int = 100) -> Sequence[tuple[str, int]]:
    """Take inboxes that are due; return (inbox, fencing token)."""
    now = context.now()
    with writing(context.engine) as connection:
        return inboxes.claim(connection, now, now + schedule.LEASE, limit)


def claim(context: Context, inbox_id: str) -> int | None:
    """Take one inbox, due or not; return its fencing token, or None where somebody else holds it."""
    now = context.now()
    with writing(context.engine) as connection:
        taken = inboxes.claim(connection, now, now + schedule.LEASE, 1, only=inbox_id)
    return taken[0][1] if taken else None


def poll(context: Context, inbox_id: str, lease_token: int) -> Polled:
    """Read what is new in an inbox that was claimed; keep possible notices and cursor in one transaction a page."""
    with reading(context.engine) as connection:
        inbox = inboxes.get(connection, inbox_id)
    if inbox is None or inbox.lease_token != lease_token:
        return Polled()
    found: list[int] = []
    messages = 0
    try:
        connector = context.connect(inbox)
        try:
            page = _first_page(connector, inbox)
            for turn in range(PAGES_PER_POLL):
                messages += len(page.envelopes)
                last = not page.has_more or turn == PAGES_PER_POLL - 1
                found += _keep(context, inbox, lease_token, page, release=last)
                if last:
                    break
                page = connector.poll(page.cursor)
        finally:
            connector.close()
    except inboxes.StaleLease:
        return Polled(notice_ids=tuple(found), messages=messages)
    except DBAPIError:
        raise
    except Exception as error:  # noqa: BLE001 - one broken inbox must not stop the others
        return Polled(
            notice_ids=tuple(found), messages=messages, error=_poll_failed(context, inbox, lease_token, error)
        )
    return Polled(notice_ids=tuple(found), messages=messages, has_more=page.has_more)


def _first_page(connector: Connector, inbox: Inbox) -> Page:
    if inbox.cursor is None:
        return connector.poll(inbox.since)
    try:
        return connector.poll(Cursor(inbox.cursor))
    except CursorExpired:
        # Nothing is skipped: what was read before is recognised by its digest.
        complete = inbox.caught_up_at or inbox.since
        log.warning("inbox.cursor_expired", extra={"inbox": inbox.id})
        return connector.poll(max(inbox.since, complete - REREAD))


def _keep(context: Context, inbox: Inbox, lease_token: int, page: Page, *, release: bool) -> list[int]:
    maybe = [envelope for envelope in page.envelopes if page.prefiltered or screen(envelope)]
    now = context.now()
    values: dict[str, object] = {"cursor": page.cursor, "last_poll_at": now, "failures": 0, "attention": None}
    if not page.has_more:
        values["caught_up_at"] = now
    if release:
        due = schedule.after_success(now, context.poll_every, context.chance) if not page.has_more else now
        values |= {"lease_until": None, "next_poll_at": due}
    else:
        values["lease_until"] = now + schedule.LEASE
    with writing(context.engine) as connection:
        inboxes.save_fenced(connection, inbox.id, lease_token, **values)
        refs = [(envelope.ref, envelope.received_at) for envelope in maybe]
        return notices.add(connection, inbox.account, inbox.id, refs, now, now + TURN)


def _poll_failed(context: Context, inbox: Inbox, lease_token: int, error: Exception) -> str:
    sentence = _sentence(error)
    now = context.now()
    values: dict[str, object] = {
        "attention": sentence,
        "failures": inbox.failures + 1,
        "last_poll_at": now,
        "lease_until": None,
        "next_poll_at": schedule.after_failure(now, inbox.failures, error, context.chance),
    }
    if isinstance(error, AuthRequired):
        values["state"] = InboxState.NEEDS_ATTENTION
    log.warning("inbox.poll_failed", extra={"inbox": inbox.id, "error": type(error).__name__})
    try:
        with writing(context.engine) as connection:
            inboxes.save_fenced(connection, inbox.id, lease_token, **values)
    except inboxes.StaleLease:
        pass
    return sentence


def _sentence(error: Exception) -> str:
    if isinstance(error, ConnectorError):
        return str(error)
    log.error("unexpected", exc_info=error)
    return f"The worker itself failed ({type(error).__name__}); this is a fault in it: please report it with its log."


# ── fetch, detect, match, classify, attach ───────────────────────────────────────────────────────────────────────────


def process(context: Context, inbox_id: str, notice_ids: Iterable[int], read_by: str) -> dict[NoticeState, int]:
    """Work off pending notices of one inbox; return how many ended in which state.

    `read_by` names the task for the evidence. A batch that fails is tried again notice by notice, so that one bad
    notice holds up no other.
    """
    with reading(context.engine) as connection:
        inbox = inboxes.get(connection, inbox_id)
        waiting = notices.pending(connection, notice_ids) if inbox else []
    if inbox is None or not waiting:
        return {}
    read = _read(context, inbox, waiting, read_by)
    try:
        return _settle(context, inbox, read)
    except IntegrityError:  # another worker has just kept the same report, bounce or address
        log.info("batch.collided", extra={"inbox": inbox.id})
    except DBAPIError:
        raise
    except Exception:
        log.exception("batch.failed", extra={"inbox": inbox.id})
    counts: dict[NoticeState, int] = {}
    for item in read:
        for state, number in _settle_alone(context, inbox, item).items():
            counts[state] = counts.get(state, 0) + number
    return counts


def _read(context: Context, inbox: Inbox, waiting: Sequence[Notice], read_by: str) -> list[ledger.Read]:
    """Fetch and detect, outside of any transaction. What can't be fetched now is put off."""
    read: list[ledger.Read] = []
    try:
        connector = context.connect(inbox)
        try:
            # Extended one by one, so that what was read before the connection broke is kept.
            read.extend(_read_one(context, connector, inbox, notice, read_by) for notice in waiting)
        finally:
            connector.close()
    except ConnectorError as error:
        done = {item.notice.id for item in read}
        _wait_for_inbox(context, inbox, [notice.id for notice in waiting if notice.id not in done], error)
    return read


def _wait_for_inbox(context: Context, inbox: Inbox, ids: Sequence[int], error: ConnectorError) -> None:
    """Put notices off because their inbox can't be read now: that is not their fault and doesn't count as a try."""
    wait = max(TURN, error.retry_after) if isinstance(error, Throttled) else TURN
    with writing(context.engine) as connection:
        notices.wait(connection, ids, str(error), context.now() + wait)
        if isinstance(error, AuthRequired):
            inboxes.change(connection, inbox.id, state=InboxState.NEEDS_ATTENTION, attention=str(error))


def _read_one(context: Context, connector: Connector, inbox: Inbox, notice: Notice, read_by: str) -> ledger.Read:
    try:
        fetched = connector.fetch(MessageRef(notice.ref), FETCH_BYTES)
    except MessageGone as gone:
        return ledger.Read(notice=notice, inbox=inbox, read_by=read_by, state=NoticeState.GONE, reason=str(gone))
    except ConnectorError:
        raise
    try:
        report = detect(fetched.raw)
    except Exception as error:  # a notice that breaks the reader must not stop the inbox
        reason = f"could not be read: {type(error).__name__}"
        log.exception("notice.unreadable", extra={"inbox": inbox.id, "notice": notice.id})
        return ledger.Read(notice=notice, inbox=inbox, read_by=read_by, state=NoticeState.QUARANTINED, reason=reason)
    if report.kind not in VERDICT_KINDS:
        return ledger.Read(
            notice=notice, inbox=inbox, read_by=read_by, state=NoticeState.NOT_A_BOUNCE, reason=report.kind
        )
    return ledger.Read(
        notice=notice,
        inbox=inbox,
        read_by=read_by,
        report=report,
        digest=report_digest(fetched.raw),
        hashes=_hashes(context, inbox.account, report),
    )


def _hashes(context: Context, account: str, report: DeliveryReport) -> tuple[tuple[str, bytes], ...]:
    """Return the keyed hashes of all that a report names."""
    named = [(proof.key.name, proof.key.value) for proof in keys(report)]
    for recipient in report.recipients:
        people = (recipient.final_recipient, recipient.original_recipient)
        named += [("recipient", address_key(address)) for address in people if address]
    return tuple((name, context.digest(account, name, value)) for name, value in dict.fromkeys(named))


def _settle(context: Context, inbox: Inbox, read: Sequence[ledger.Read]) -> dict[NoticeState, int]:
    """Match, classify and attach: bounces, timeline, addresses, outbox and "done" in one transaction."""
    with writing(context.engine) as connection:
        return ledger.settle(connection, inbox.account, read, context.rules, context.digest, context.now())


def _settle_alone(context: Context, inbox: Inbox, item: ledger.Read) -> dict[NoticeState, int]:
    try:
        return _settle(context, inbox, [item])
    except IntegrityError:
        return _settle(context, inbox, [item])  # now it sees what the other worker has kept
    except DBAPIError:
        raise
    except Exception as error:  # noqa: BLE001 - as above: this one waits or is quarantined, the others go on
        return _try_again_later(context, item.notice, f"could not be worked off: {type(error).__name__}: {error}")


def _try_again_later(context: Context, notice: Notice, reason: str) -> dict[NoticeState, int]:
    with writing(context.engine) as connection:
        if notice.attempts + 1 >= ATTEMPTS:
            notices.settle(connection, notice.id, NoticeState.QUARANTINED, reason=reason)
            return {NoticeState.QUARANTINED: 1}
        notices.wait(connection, [notice.id], reason, context.now() + TURN, tried=True)
        return {}


# ── notify ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def notify(context: Context, limit: int = 100) -> int:
    """Hand due events to the CRM, at least once and in order; return how many were handed over."""
    now = context.now()
    with writing(context.engine) as connection:
        rows = outbox.take_due(connection, now, now + TURN, limit)
    done: list[int] = []
    for row in rows:
        try:
            if context.deliver is not None:
                context.deliver(row)
        except Exception as error:  # noqa: BLE001 - whatever the CRM's side does, the event waits in the outbox
            log.warning("event.not_delivered", extra={"event": row.event_id, "error": type(error).__name__})
            left = [later.id for later in rows if later.id >= row.id]
            wait = context.now() + min(timedelta(seconds=5) * 2 ** min(row.attempts, 12), timedelta(hours=12))
            with writing(context.engine) as connection:
                outbox.failed(connection, left, f"{type(error).__name__}: {error}", wait)
            break
        done.append(row.id)
    if done:
        with writing(context.engine) as connection:
            outbox.sent(connection, done, context.now())
    return len(done)


# ── register and sweep ───────────────────────────────────────────────────────────────────────────────────────────────


def register(context: Context, batch: Sequence[SentEmail]) -> int:
    """Keep what the CRM has sent; return how many unmatched notices that makes pending again."""
    now = context.now()
    with writing(context.engine) as connection:
        sends.register(connection, batch, context.digest, now)
        return notices.requeue_for(connection, batch, context.digest, now)


def sweep(context: Context, limit: int = 1_000) -> dict[str, list[list[int]]]:
    """Find what no queue knows of any more; return batches of notice ids by inbox."""
    now = context.now()
    with writing(context.engine) as connection:
        notices.forget_expired(connection, now)
        notices.requeue_known(connection, now)
        due = notices.take_due(connection, now, now + TURN, limit)
    by_inbox: dict[str, list[int]] = {}
    for inbox_id, notice_id in sorted(due):
        by_inbox.setdefault(inbox_id, []).append(notice_id)
    return {inbox_id: batches(ids) for inbox_id, ids in by_inbox.items()}


def batches(ids: Sequence[int]) -> list[list[int]]:
    """Cut ids into batches of `BATCH`."""
    return [list(ids[start : start + BATCH]) for start in range(0, len(ids), BATCH)]


def idle(context: Context) -> bool:
    """Whether nothing is due: no inbox to poll, no notice to work off, no event to hand over."""
    now = context.now()
    with reading(context.engine) as connection:
        return not (inboxes.any_due(connection, now) or notices.any_pending(connection) or outbox.any_due(connection))
