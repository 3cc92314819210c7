"""Providers that call us when mail has come. A call only makes an inbox due; polling finds whatever no call told of."""

import logging
import secrets
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from sqlalchemy.exc import DBAPIError

from connectors import ConnectorError, MessageGone, Subscriber
from worker import schedule
from worker.pipeline.context import LONG_ENOUGH, Context
from worker.store import doorbells, inboxes
from worker.store.database import reading, writing

log = logging.getLogger(__name__)

RENEWALS: Final = 20
"""How many subscriptions one turn renews."""
RENEWAL_LEASE: Final = timedelta(minutes=10)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A call by Microsoft Graph. `lifecycle` is its word where it speaks of the subscription itself."""

    subscription: str
    secret: str
    lifecycle: str | None = None


def renew_doorbells(context: Context) -> int:
    """Give inboxes the doorbells that their providers offer, and prolong those that end; return how many were tried."""
    if not context.call_us_at:
        return 0
    now = context.now()
    with writing(context.engine) as connection:
        taken = doorbells.claim(connection, context.call_us_at.keys(), now, now + RENEWAL_LEASE, RENEWALS)
    tried = 0
    for inbox_id, subscription in taken:
        if context.now() > now + LONG_ENOUGH:
            break  # the rest is taken again when the lease is over
        tried += 1
        try:
            _renew(context, inbox_id, subscription)
        except DBAPIError:
            raise
        except Exception as error:  # noqa: BLE001 - one broken inbox must not leave the others without
            _failed(context, inbox_id, error)
    return tried


def _renew(context: Context, inbox_id: str, subscription: str | None) -> None:
    with reading(context.engine) as connection:
        inbox = inboxes.get(connection, inbox_id)
    subscriber = context.subscriber(inbox) if inbox else None
    if inbox is None or subscriber is None:
        return
    try:
        _hang(context, inbox_id, subscriber, subscription, context.call_us_at[inbox.provider])
    finally:
        subscriber.close()


def _hang(context: Context, inbox_id: str, subscriber: Subscriber, subscription: str | None, target: str) -> None:
    secret = None
    try:
        made = subscriber.renew(subscription, target) if subscription else None
    except MessageGone:
        made = None
    if made is None:
        secret = secrets.token_urlsafe(32)
        made = subscriber.subscribe(target, secret)
    now = context.now()
    half = max((made.expires_at - now) / 2, timedelta(minutes=1))
    # Often enough that a day without us loses no subscription, and daily at least, as Google wants it.
    again = now + min(half, timedelta(days=1)) * context.chance.uniform(1 - schedule.JITTER, 1)
    with writing(context.engine) as connection:
        doorbells.hung(connection, inbox_id, made.id, secret, made.expires_at, again)


def _failed(context: Context, inbox_id: str, error: Exception) -> None:
    is_known = isinstance(error, ConnectorError)
    problem = str(error) if is_known else f"The worker itself failed ({type(error).__name__}); see its log."
    log.warning(
        "doorbell.failed",
        extra={"inbox": inbox_id, "error": type(error).__name__},
        exc_info=None if is_known else error,
    )
    now = context.now()
    with writing(context.engine) as connection:
        bell = doorbells.of_inbox(connection, inbox_id)
        again = schedule.after_failure(now, bell.failures if bell else 0, error, context.chance)
        doorbells.failed(connection, inbox_id, problem, again)


def graph_called(context: Context, calls: Collection[Call]) -> int:
    """Make inboxes due whose subscriptions Graph names with the secret they were made with; return how many."""
    now = context.now()
    # Anybody may call: who proves nothing must not keep those waiting who write.
    with reading(context.engine) as connection:
        right = doorbells.rung(connection, {(call.subscription, call.secret) for call in calls})
    if not right:
        return 0
    with writing(context.engine) as connection:
        for call in calls:
            inbox_id = right.get((call.subscription, call.secret))
            if inbox_id is None:
                continue
            if call.lifecycle in ("subscriptionRemoved", "reauthorizationRequired"):
                doorbells.ask_anew(connection, inbox_id, now, gone=call.lifecycle == "subscriptionRemoved")
            inboxes.make_due(connection, inbox_id, now)  # after "missed" and the others, too: mail may have come
    return len(set(right.values()))


def gmail_called(context: Context, addresses: Iterable[str]) -> int:
    """Make the Gmail inboxes of these addresses due; return how many. The caller has verified who calls."""
    now = context.now()
    rung = 0
    with writing(context.engine) as connection:
        for address in addresses:
            for inbox_id in inboxes.of_address(connection, "gmail", address):
                inboxes.make_due(connection, inbox_id, now)
                rung += 1
    return rung
