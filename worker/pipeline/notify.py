"""notify: what the outbox holds, handed to the CRM after the commit that made it true."""

from datetime import timedelta

from worker import signals
from worker.pipeline.context import TURN, Context
from worker.store import outbox
from worker.store.database import reading, writing


def notify(context: Context, limit: int = 100) -> int:
    """Hand due events to the CRM, at least once and in order; return how many were handed over."""
    now = context.now()
    with reading(context.engine) as connection:
        if not outbox.any_to_hand_over(connection, now):
            return 0  # asked twice a second: without taking the write lock
    with writing(context.engine) as connection:
        if context.deliver is None:
            outbox.nobody_to_tell(connection, now)
            return 0
        rows = outbox.take_due(connection, now, now + TURN, limit)
    done: list[int] = []
    for row in rows:
        try:
            with context.span("notify", correlation_id=row.correlation_id, event=row.event_id):
                context.deliver(row.event_id, row.payload)
            context.tell(_handed_over(row))
        except Exception as error:  # noqa: BLE001 - whatever the CRM's side does, the event waits in the outbox
            context.tell(_handed_over(row, type(error).__name__))
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


def _handed_over(row: outbox.OutboxRow, error: str | None = None) -> signals.HandedOver:
    return signals.HandedOver(event_id=row.event_id, type=row.type, correlation_id=row.correlation_id, error=error)
