"""poll → screen: what is new in an inbox, kept with the cursor that covers it."""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy.exc import DBAPIError

from connectors import (
    AuthRequired,
    Connector,
    ConnectorError,
    Cursor,
    CursorExpired,
    Misconfigured,
    Page,
    Throttled,
    Unavailable,
)
from worker import schedule, signals
from worker.heal import author_of
from worker.pipeline.context import LONG_ENOUGH, TURN, Context
from worker.pipeline.reconcile import reconcile
from worker.screen import screen
from worker.signals import PollOutcome
from worker.store import attention, bounces, inboxes, notices
from worker.store.database import reading, writing
from worker.store.inboxes import Inbox, InboxState

log = logging.getLogger(__name__)

PAGES_PER_POLL: Final = 25
"""After so many pages, or `LONG_ENOUGH`, a poll gives its place to other inboxes and comes back at once."""
REREAD: Final = timedelta(days=7)
"""How far before the last complete reading an inbox is read again when its cursor is lost."""


FAILURES: Final = 8
"""After so many failures in a row, about an hour, a person is told, whatever the reason."""
SOON: Final = timedelta(days=3)
"""How long before a sign-in ends for good a person is told: some last only for a week."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Polled:
    """What a poll came to: the notices it found, whether more waits, and what went wrong."""

    notice_ids: tuple[int, ...] = ()
    messages: int = 0
    has_more: bool = False
    outcome: PollOutcome = PollOutcome.OK
    error: str | None = None
    """A sentence for a person."""
    error_name: str | None = None


def claim_due(context: Context, limit: int = 100) -> Sequence[tuple[str, int]]:
    """Take inboxes that are due; return (inbox, fencing token)."""
    now = context.now()
    with writing(context.engine) as connection:
        lapsed = inboxes.count_lapsed(connection, now)
        claimed = inboxes.claim(connection, now, now + schedule.LEASE, limit)
    if lapsed:
        context.tell(signals.LeaseExpired(inboxes=lapsed))
    return claimed


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
    began = time.perf_counter()
    with context.span("poll", inbox=inbox.id, provider=inbox.provider):
        polled = _poll(context, inbox, lease_token)
    context.tell(
        signals.Polled(
            inbox=inbox.id,
            provider=inbox.provider,
            outcome=polled.outcome,
            seconds=round(time.perf_counter() - began, 3),
            messages=polled.messages,
            found=len(polled.notice_ids),
            error=polled.error_name,
        )
    )
    return polled


def _poll(context: Context, inbox: Inbox, lease_token: int) -> Polled:
    found: list[int] = []
    messages = 0
    leave_at = context.now() + LONG_ENOUGH
    try:
        connector = context.connect(inbox)
        try:
            page = _first_page(connector, inbox)
            for turn in range(PAGES_PER_POLL):
                messages += len(page.envelopes)
                last = not page.has_more or turn == PAGES_PER_POLL - 1 or context.now() > leave_at
                found += _keep(context, inbox, lease_token, page, release=last)
                if last:
                    break
                page = connector.poll(page.cursor)
            if context.now() <= leave_at:
                reconcile(context, inbox, connector)
        finally:
            connector.close()
    except inboxes.StaleLease:
        return Polled(notice_ids=tuple(found), messages=messages, outcome=PollOutcome.STALE)
    except DBAPIError:
        raise
    except Exception as error:  # noqa: BLE001 - one broken inbox must not stop the others
        return Polled(
            notice_ids=tuple(found),
            messages=messages,
            outcome=_outcome(error),
            error=_poll_failed(context, inbox, lease_token, error),
            error_name=type(error).__name__,
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
    now = context.now()
    values: dict[str, object] = {
        "cursor": page.cursor,
        "last_poll_at": now,
        "failures": 0,
        "attention": _ahead(inbox, now),
    }
    if not page.has_more:
        values["caught_up_at"] = now
    if inbox.state is InboxState.NEEDS_ATTENTION:  # polled by a person's hand, and it works again
        values["state"] = InboxState.ACTIVE
    if release:
        due = schedule.after_success(now, context.poll_every, context.chance) if not page.has_more else now
        values |= {"lease_until": None, "next_poll_at": due}
    else:
        values["lease_until"] = now + schedule.LEASE
    with writing(context.engine) as connection:
        inboxes.save_fenced(connection, inbox.id, lease_token, **values)
        if values["attention"] and values["attention"] != inbox.attention:
            attention.tell(connection, inbox, inbox.state, str(values["attention"]), now)
        known = bounces.with_standing(connection, inbox.account, filter(None, map(author_of, page.envelopes)))
        maybe = [each for each in page.envelopes if page.prefiltered or screen(each) or author_of(each) in known]
        refs = [(envelope.ref, envelope.thread_id, envelope.received_at) for envelope in maybe]
        kept = notices.add(connection, inbox.account, inbox.id, refs, now, now + TURN)
    for notice_id, ref in kept:
        correlation_id = signals.correlation_id(inbox.id, ref)
        with context.span("found", correlation_id=correlation_id, inbox=inbox.id, notice=notice_id):
            context.tell(signals.Found(inbox=inbox.id, notice=notice_id, correlation_id=correlation_id))
    return [notice_id for notice_id, _ in kept]


def _ahead(inbox: Inbox, now: datetime) -> str | None:
    """Return what a person should do before it is too late."""
    if inbox.sign_in_ends_at is None or inbox.sign_in_ends_at > now + SOON:
        return None
    return f"The sign-in ends on {inbox.sign_in_ends_at:%Y-%m-%d at %H:%M} UTC: sign in again before (inbox sign-in)."


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
    try:
        with writing(context.engine) as connection:
            inboxes.save_fenced(connection, inbox.id, lease_token, **values)
            if isinstance(error, AuthRequired) or inbox.failures + 1 == FAILURES:
                attention.tell(connection, inbox, str(values.get("state", inbox.state)), sentence, now)
    except inboxes.StaleLease:
        pass
    return sentence


def _outcome(error: Exception) -> PollOutcome:
    match error:
        case Throttled():
            return PollOutcome.THROTTLED
        case Unavailable():
            return PollOutcome.UNAVAILABLE
        case AuthRequired():
            return PollOutcome.AUTH_REQUIRED
        case Misconfigured():
            return PollOutcome.MISCONFIGURED
        case _:
            return PollOutcome.ERROR


def _sentence(error: Exception) -> str:
    if isinstance(error, ConnectorError):
        return str(error)
    log.error("inbox.poll_broken", exc_info=error)
    return f"The worker itself failed ({type(error).__name__}); this is a fault in it: please report it with its log."
