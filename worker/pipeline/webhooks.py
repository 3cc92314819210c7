"""Events on their way to webhooks: each at least once, those about a contact in order; no receiver delays another."""

from collections import Counter
from collections.abc import Collection, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from worker import signals
from worker.notify.webhook import Outcome, Result, body_of, call, headers_of, next_attempt
from worker.pipeline.context import LONG_ENOUGH, Context
from worker.pipeline.notify import notify
from worker.store import outbox, webhooks
from worker.store.database import reading, retried, writing
from worker.store.webhooks import Delivery, DeliveryState, Webhook, WebhookState

AT_ONCE: Final = 20
"""Calls under way in one task, each in a thread."""
OF_ONE: Final = 5
"""Of these to one receiver; to one whose last call failed, a single one: one that hangs holds up no other."""
LEASE: Final = timedelta(minutes=2)
"""How long a taken delivery is left alone: longer than a call may take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A delivery that is taken, and whom to call."""

    delivery: Delivery
    webhook: Webhook
    secrets: Sequence[str]


@retried
def number_events(context: Context, limit: int = 1_000) -> int:
    """Give committed events their positions in the feed, and make their deliveries; return how many."""
    with reading(context.engine) as connection:
        if not outbox.any_unnumbered(connection):
            return 0  # asked twice a second: without taking the write lock
    with writing(context.engine) as connection:
        numbered = outbox.number(connection, limit)
        if numbered:
            webhooks.fan_out(connection, numbered, context.now())
    return len(numbered)


def carry(context: Context) -> int:
    """Carry what happened to the CRM's queue, into the feed and to webhooks; return how many events its queue got."""
    told = 0
    while number := notify(context):
        told += number
    while number_events(context):
        pass
    call_webhooks(context)
    return told


def call_webhooks(context: Context) -> int:
    """Make due calls until none is left or a task's time is over; return how many were made."""
    leave_at = context.now() + LONG_ENOUGH
    under_way: dict[Future[Result], Call] = {}
    made = 0
    with ThreadPoolExecutor(max_workers=AT_ONCE, thread_name_prefix="webhook") as pool:
        while True:
            if context.now() <= leave_at:
                for each in _take(context, under_way.values()):
                    under_way[pool.submit(_call, context, each)] = each
            if not under_way:
                return made
            done, _ = wait(under_way, return_when=FIRST_COMPLETED)
            _settle(context, [(under_way.pop(future), future.result()) for future in done])
            made += len(done)


def _take(context: Context, under_way: Collection[Call]) -> list[Call]:
    busy = Counter(each.webhook.id for each in under_way)
    free = AT_ONCE - len(under_way)
    now = context.now()
    with reading(context.engine) as connection:
        if not webhooks.any_due(connection, now):
            return []
    taken: list[Call] = []
    with writing(context.engine) as connection:
        for webhook in webhooks.with_due(connection, now, [name for name in busy if busy[name] >= OF_ONE], free):
            slots = min(free - len(taken), (1 if webhook.problem else OF_ONE) - busy[webhook.id])
            if slots <= 0:
                continue
            secrets = webhooks.secrets(connection, context.ring, webhook.id)
            due = webhooks.take_due(connection, webhook.id, now, now + LEASE, slots)
            taken += [Call(delivery=each, webhook=webhook, secrets=secrets) for each in due]
    return taken


def _call(context: Context, each: Call) -> Result:
    body = body_of(each.delivery.payload)
    headers = headers_of(each.delivery.event_id, body, each.secrets, context.now())
    dial = context.webhook_dial(each.webhook.trusted)
    delivery = each.delivery
    with context.span("webhook", correlation_id=delivery.correlation_id, event=delivery.event_id):
        return call(each.webhook.url, headers, body, dial, plain=each.webhook.trusted, ca_file=context.webhook_ca)


def _settle(context: Context, results: Sequence[tuple[Call, Result]]) -> None:
    now = context.now()
    with writing(context.engine) as connection:
        for each, result in results:
            delivery, name = each.delivery, each.webhook.id
            match result.outcome:
                case Outcome.TAKEN:
                    webhooks.settle(connection, delivery, DeliveryState.DELIVERED, now)
                    if each.webhook.problem:
                        webhooks.change(connection, name, problem=None)
                case Outcome.GONE:
                    webhooks.settle(connection, delivery, DeliveryState.DEAD, now, problem=result.problem)
                    webhooks.change(connection, name, state=WebhookState.DISABLED, problem=result.problem)
                case Outcome.FAILED:
                    again = next_attempt(delivery.attempts, now, context.chance)
                    state = DeliveryState.WAITING if again else DeliveryState.DEAD
                    webhooks.settle(connection, delivery, state, now, next_attempt_at=again, problem=result.problem)
                    webhooks.change(connection, name, problem=result.problem)
    for each, result in results:
        context.tell(_called(each, result))


def _called(each: Call, result: Result) -> signals.Called:
    return signals.Called(
        webhook=each.webhook.id,
        event_id=each.delivery.event_id,
        type=str(each.delivery.payload.get("type")),
        correlation_id=each.delivery.correlation_id,
        outcome=result.outcome.name.lower(),
        attempt=each.delivery.attempts,
    )


def test_webhook(context: Context, webhook: Webhook) -> Result:
    """Call a webhook now with an event that says it is a test."""
    with reading(context.engine) as connection:
        secrets = webhooks.secrets(connection, context.ring, webhook.id)
    event_id = f"test-{webhook.id}"
    payload = {"schema": 1, "id": event_id, "type": "test", "account": webhook.account, "at": context.now().isoformat()}
    delivery = Delivery(webhook_id=webhook.id, position=0, event_id=event_id, payload=payload, attempts=1)
    return _call(context, Call(delivery=delivery, webhook=webhook, secrets=secrets))
