"""Who is polled next: due inboxes are leased, within the limits, each with a fencing token."""

from datetime import datetime
from typing import Final

from worker import schedule
from worker.pipeline.context import Context
from worker.schedule import Place
from worker.store import hanging_hosts, inboxes
from worker.store.database import one_at_a_time, retried, writing

AT_ONCE: Final = 100
"""Inboxes that one transaction claims."""
CLAIM_LOCK: Final = 0x636C61696D  # "claim"


@retried
def claim_due(context: Context, limit: int = AT_ONCE) -> list[tuple[str, int]]:
    """Take inboxes that are due; return (inbox, fencing token). Fewer than `limit` may come though more are due.

    Each claim that doesn't come back empty uses up a limit or takes `limit`, so asking again goes on to others.
    """
    now = context.now()
    longest = latest_lease(now)
    with writing(context.engine) as connection:
        # The limits hold over all schedulers: they count and take one after the other.
        one_at_a_time(connection, CLAIM_LOCK)
        load = schedule.load(
            (Place(provider, account, host), number)
            for provider, account, host, number in inboxes.held(connection, now, longest)
        )
        hanging = hanging_hosts.all_hanging(connection, now, now + schedule.LONGEST_HUNG + schedule.CLOCK_SKEW)
        full = schedule.full(load, context.limits, hanging)
        if schedule.ALL in full:
            return []
        left_in_peace = {host for host, waits in hanging.items() if waits}
        without = {
            "provider": {name for kind, name in full if kind == "provider"},
            "account": {name for kind, name in full if kind == "account"},
            "host": {name for kind, name in full if kind in ("host", "service")} | left_in_peace,
        }
        found = [
            (inbox_id, Place(provider, account, host))
            for inbox_id, provider, account, host in inboxes.due(connection, now, longest, without, limit)
        ]
        chosen = schedule.choose(found, load, context.limits, hanging, limit)
        return inboxes.lease(connection, chosen, now + schedule.LEASE)


@retried
def claim(context: Context, inbox_id: str) -> int | None:
    """Take one inbox, due or not; return its fencing token, or None where somebody else holds it."""
    now = context.now()
    with writing(context.engine) as connection:
        if not inboxes.free(connection, inbox_id, now, latest_lease(now)):
            return None
        return inboxes.lease(connection, [inbox_id], now + schedule.LEASE)[0][1]


def latest_lease(now: datetime) -> datetime:
    """Return after when no lease can end, unless a clock has been put back."""
    return now + schedule.LEASE + schedule.CLOCK_SKEW
