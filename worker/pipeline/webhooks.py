"""Events on their way to webhooks: each at least once, those about a contact in order; no receiver delays another."""

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Final

from worker.notify.webhook import Outcome, Result, body_of, call, headers_of, next_attempt
from worker.pipeline.context import Context
from worker.store import outbox, webhooks
from worker.store.database import reading, writing
from worker.store.webhooks import Delivery, DeliveryState, Webhook, WebhookState

log = logging.getLogger(__name__)

AT_ONCE: Final = 20
"""Calls that one turn makes, each in a thread: a receiver that hangs must not hold up the others."""
LEASE: Final = timedelta(minutes=2)
"""How long a taken delivery is left alone: longer than a call may take."""


def number_events(context: Context, limit: int = 1_000) -> int:
    """Give committed events their positions in the feed, and make their deliveries; return how many."""
    with writing(context.engine) as connection:
        numbered = outbox.number(connection, limit)
        if numbered:
            webhooks.fan_out(connection, numbered, context.now())
    return len(numbered)


def call_webhooks(context: Context) -> int:
    """Make due calls; return how many were made."""
    now = context.now()
    with writing(context.engine) as connection:
        due = webhooks.take_due(connection, now, now + LEASE, AT_ONCE)
        ids = sorted({delivery.webhook_id for delivery in due})
        targets = {
            name: (webhooks.get(connection, name), webhooks.secrets(connection, context.ring, name)) for name in ids
        }
    if not due:
        return 0
    with ThreadPoolExecutor(max_workers=len(due), thread_name_prefix="webhook") as pool:
        results = list(pool.map(lambda each: _call(context, each, *targets[each.webhook_id]), due))
    _settle(context, due, results)
    return len(due)


def _call(context: Context, delivery: Delivery, target: Webhook | None, secrets: Sequence[str]) -> Result:
    if target is None:
        return Result(outcome=Outcome.GONE)
    body = body_of(delivery.payload)
    headers = headers_of(delivery.event_id, body, secrets, context.now())
    return call(target.url, headers, body, context.webhook_dial(target.trusted), plain=target.trusted)


def _settle(context: Context, due: Sequence[Delivery], results: Sequence[Result]) -> None:
    now = context.now()
    with writing(context.engine) as connection:
        for delivery, result in zip(due, results, strict=True):
            match result.outcome:
                case Outcome.TAKEN:
                    webhooks.settle(connection, delivery, DeliveryState.DELIVERED, now)
                case Outcome.GONE:
                    webhooks.settle(connection, delivery, DeliveryState.DEAD, now, problem=result.problem)
                    disabled = {"state": WebhookState.DISABLED, "problem": result.problem}
                    webhooks.change(connection, delivery.webhook_id, **disabled)
                case Outcome.FAILED:
                    again = next_attempt(delivery.attempts, now, context.chance)
                    state = DeliveryState.WAITING if again else DeliveryState.DEAD
                    webhooks.settle(connection, delivery, state, now, next_attempt_at=again, problem=result.problem)
                    webhooks.change(connection, delivery.webhook_id, problem=result.problem)
            if result.outcome is not Outcome.TAKEN:
                log.warning("webhook.failed", extra={"webhook": delivery.webhook_id, "event": delivery.event_id})


def test_webhook(context: Context, webhook_id: str) -> Result:
    """Call a webhook now with an event that says it is a test."""
    with reading(context.engine) as connection:
        target = webhooks.get(connection, webhook_id)
        secrets = webhooks.secrets(connection, context.ring, webhook_id)
    payload = {"schema": 1, "id": f"test-{webhook_id}", "type": "test", "account": target.account if target else None}
    delivery = Delivery(webhook_id=webhook_id, position=0, event_id=f"test-{webhook_id}", payload=payload, attempts=1)
    return _call(context, delivery, target, secrets)
