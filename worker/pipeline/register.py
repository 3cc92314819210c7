"""What the CRM sent, and what no queue knows of any more."""

from collections.abc import Sequence

from worker.domain import SentEmail
from worker.pipeline.context import TURN, Context, batches
from worker.store import inboxes, incidents, ledger, lookups, notices, outbox, raw, retention, sends
from worker.store.database import reading, writing


def register(context: Context, batch: Sequence[SentEmail]) -> int:
    """Keep what the CRM has sent; return how many unmatched notices that makes pending again."""
    now = context.now()
    with writing(context.engine) as connection:
        sends.register(connection, batch, context.digest, now)
        lookups.want(connection, [send for send in batch if send.message_id is None], now)
        return notices.requeue_for(connection, batch, context.digest, now)


def sweep(context: Context, limit: int = 1_000) -> dict[str, list[list[int]]]:
    """Find what no queue knows of any more; return batches of notice ids by inbox."""
    now = context.now()
    with writing(context.engine) as connection:
        notices.forget_expired(connection, now)
        lookups.forget_expired(connection, now)
        raw.forget_expired(connection, now)
        retention.drop_old(connection, now)
        ledger.give_up_overdue(connection, context.digest, now, limit)
        incidents.close_those_over(connection, now)
        notices.requeue_known(connection, now)
        due = notices.take_due(connection, now, now + TURN, limit)
    by_inbox: dict[str, list[int]] = {}
    for inbox_id, notice_id in sorted(due):
        by_inbox.setdefault(inbox_id, []).append(notice_id)
    return {inbox_id: batches(ids) for inbox_id, ids in by_inbox.items()}


def idle(context: Context) -> bool:
    """Whether nothing is due: no inbox to poll, no notice to work off, no event to hand over."""
    now = context.now()
    with reading(context.engine) as connection:
        return not (inboxes.any_due(connection, now) or notices.any_pending(connection) or outbox.any_due(connection))
