"""poll → screen: what is new in an inbox, kept with the cursor that covers it."""

import logging
import time
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
    from_json,
)
from connectors.endpoint import endpoint
from worker import schedule, signals
from worker.heal import author_of
from worker.pipeline.context import LONG_ENOUGH, TURN, Context
from worker.pipeline.reconcile import reconcile
from worker.screen import screen
from worker.signals import PollOutcome
from worker.store import attention, bounces, hanging_hosts, inboxes, notices
from worker.store.database import reading, retried, writing
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


def poll(context: Context, inbox_id: str, lease_token: int) -> Polled:
    """Read what is new in an inbox that was claimed; keep possible notices and cursor in one transaction a page."""
    inbox = _begin(context, inbox_id, lease_token)
    if inbox is None:
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
    begun = context.now()
    leave_at = begun + LONG_ENOUGH
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
            error=_poll_failed(context, inbox, lease_token, error, begun),
            error_name=type(error).__name__,
        )
    return Polled(notice_ids=tuple(found), messages=messages, has_more=page.has_more)


@retried
def _begin(context: Context, inbox_id: str, lease_token: int) -> Inbox | None:
    """Return the inbox if the lease is still ours and its host is to be asked now; else leave it to a later poll."""
    now = context.now()
    with reading(context.engine) as connection:
        inbox = inboxes.get(connection, inbox_id)
        furthest = now + schedule.LONGEST_HUNG + schedule.CLOCK_SKEW
        waits = hanging_hosts.left_in_peace(connection, inbox.host, now, furthest) if inbox else None
    if inbox is None or inbox.lease_token != lease_token or inbox.lease_until is None:
        return None
    if waits is not None:  # found out while this poll stood in the queue
        later = schedule.after_standstill(waits, context.poll_every, inbox_id)
        _save(context, inbox, lease_token, lease_until=None, next_poll_at=later)
        return None
    if inbox.lease_until - now < schedule.ENOUGH_LEASE and not _save(
        context, inbox, lease_token, lease_until=now + schedule.LEASE
    ):
        return None
    return inbox


def _save(context: Context, inbox: Inbox, lease_token: int, **values: object) -> bool:
    """Set columns; return whether the lease was still ours."""
    try:
        with writing(context.engine) as connection:
            inboxes.save_fenced(connection, inbox.id, lease_token, **values)
    except inboxes.StaleLease:
        return False
    return True


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


@retried
def _keep(context: Context, inbox: Inbox, lease_token: int, page: Page, *, release: bool) -> list[int]:
    now = context.now()
    values: dict[str, object] = {
        "cursor": page.cursor,
        "last_poll_at": now,
        "failures": 0,
        "attention": _ahead(inbox, now),
        "host": _host(inbox),
    }
    if not page.has_more:
        values["caught_up_at"] = now
    if inbox.state is InboxState.NEEDS_ATTENTION:  # polled by a person's hand, and it works again
        values["state"] = InboxState.ACTIVE
    with writing(context.engine) as connection:
        known = bounces.with_standing(connection, inbox.account, filter(None, map(author_of, page.envelopes)))
        maybe = [each for each in page.envelopes if page.prefiltered or screen(each) or author_of(each) in known]
        if maybe:
            values["active_at"] = now
        if release:
            quiet = timedelta() if maybe else now - (inbox.active_at or inbox.created_at)
            next_poll_at = now if page.has_more else _next(context, inbox, now, quiet)
            values |= {"lease_until": None, "next_poll_at": next_poll_at}
        else:
            values["lease_until"] = now + schedule.LEASE
        inboxes.save_fenced(connection, inbox.id, lease_token, **values)
        if values["attention"] and values["attention"] != inbox.attention:
            attention.tell(connection, inbox, inbox.state, str(values["attention"]), now)
        if release and inbox.host is not None:
            hanging_hosts.answered(connection, inbox.host)
        refs = [(envelope.ref, envelope.thread_id, envelope.received_at) for envelope in maybe]
        kept = notices.add(connection, inbox.account, inbox.id, refs, now, now + TURN)
    for notice_id, ref in kept:
        correlation_id = signals.correlation_id(inbox.id, ref)
        with context.span("found", correlation_id=correlation_id, inbox=inbox.id, notice=notice_id):
            context.tell(signals.Found(inbox=inbox.id, notice=notice_id, correlation_id=correlation_id))
    return [notice_id for notice_id, _ in kept]


def _next(context: Context, inbox: Inbox, now: datetime, quiet: timedelta) -> datetime:
    """Return when an inbox that was read to its end is polled next."""
    every = context.interval.after(quiet)
    late = now - inbox.next_poll_at > every
    if inbox.last_poll_at is None or late:
        return schedule.after_standstill(now, every, inbox.id)
    return schedule.after_success(now, every, context.chance)


def _host(inbox: Inbox) -> str | None:
    try:
        place = endpoint(from_json(inbox.provider, inbox.settings))
    except (Misconfigured, ValueError):
        return None
    return place.host.lower() if place else None


def _ahead(inbox: Inbox, now: datetime) -> str | None:
    """Return what a person should do before it is too late."""
    if inbox.sign_in_ends_at is None or inbox.sign_in_ends_at > now + SOON:
        return None
    return f"The sign-in ends on {inbox.sign_in_ends_at:%Y-%m-%d at %H:%M} UTC: sign in again before (inbox sign-in)."


@retried
def _poll_failed(context: Context, inbox: Inbox, lease_token: int, error: Exception, begun: datetime) -> str:
    sentence = _sentence(error)
    now = context.now()
    host = _host(inbox)
    values: dict[str, object] = {
        "attention": sentence,
        "failures": inbox.failures + 1,
        "last_poll_at": now,
        "host": host,
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
            if (
                host is not None
                and isinstance(error, Unavailable)
                and not isinstance(error, Throttled)
                and now - begun >= schedule.HANG
            ):
                hanging_hosts.hung(connection, host, now, schedule.hung_until)
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
