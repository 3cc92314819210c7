"""Who is polled next: due inboxes are leased, within the limits, each with a fencing token."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from worker import schedule, signals
from worker.pipeline.context import Context
from worker.schedule import Place
from worker.store import hanging_hosts, inboxes, leases
from worker.store.database import one_at_a_time, retried, writing

AT_ONCE: Final = 100
"""Inboxes that one transaction claims."""
CLAIM_LOCK: Final = 0x636C61696D  # "claim"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Lot:
    """What one transaction took: (inbox, fencing token) each, and since when the next are due.

    `lapsed` polls never ended: their leases ran out.
    """

    taken: list[tuple[str, int]]
    since: datetime | None
    lapsed: int = 0


def claims(context: Context, room: int) -> Iterator[list[tuple[str, int]]]:
    """Take inboxes that are due, `room` at the most; yield (inbox, fencing token) in lots as they are taken.

    Where there is no room leases that ran out are dropped all the same: they are told of while workers are stuck.
    Each lot goes on in time where the one before ended, for at the front stand those that are being read.
    """
    since: datetime | None = None
    while True:
        lot = _claim_lot(context, max(min(room, AT_ONCE), 0), since)
        if lot.lapsed:
            context.tell(signals.LeaseExpired(inboxes=lot.lapsed))
        if not lot.taken:
            return
        yield lot.taken
        room -= len(lot.taken)
        since = lot.since
        if room <= 0:
            return


def claim_due(context: Context, limit: int = AT_ONCE) -> list[tuple[str, int]]:
    """Take inboxes that are due; return (inbox, fencing token)."""
    return [each for lot in claims(context, limit) for each in lot]


@retried
def _claim_lot(context: Context, limit: int, since: datetime | None) -> _Lot:
    """Take a lot of the inboxes that are due since a moment; the first lot also drops leases that ran out.

    What comes back empty says that no more may be taken: every other lot is full, or has used up some limit.
    """
    now = context.now()
    longest = schedule.latest_lease(now)
    with writing(context.engine) as connection:
        # The limits hold over all schedulers: they count and take one after the other.
        one_at_a_time(connection, CLAIM_LOCK)
        held = leases.held(connection, now, longest)
        lapsed = sum(each.lapsed for each in held) if since is None else 0
        if lapsed:
            leases.forget_over(connection, now, longest)
        load = schedule.load((Place(each.provider, each.account, each.host), each.number) for each in held)
        hanging = hanging_hosts.all_hanging(connection, now, now + schedule.LONGEST_HUNG + schedule.CLOCK_SKEW)
        full = schedule.full(load, context.limits, hanging)
        if schedule.ALL in full:
            return _Lot(taken=[], since=since, lapsed=lapsed)
        left_in_peace = {host for host, waits in hanging.items() if waits}
        without = {
            "provider": {name for kind, name in full if kind == "provider"},
            "account": {name for kind, name in full if kind == "account"},
            "host": {name for kind, name in full if kind in ("host", "service")} | left_in_peace,
        }
        found = inboxes.due(connection, now, longest, without, limit, since)
        places = {each.id: Place(each.provider, each.account, each.host) for each in found}
        chosen = schedule.choose(places, load, context.limits, hanging, limit)
        taken = inboxes.lease(connection, chosen, now + schedule.LEASE)
    return _Lot(taken=taken, since=found[-1].next_poll_at if found else since, lapsed=lapsed)


@retried
def claim(context: Context, inbox_id: str) -> int | None:
    """Take one inbox, due or not; return its fencing token, or None where somebody else holds it."""
    now = context.now()
    with writing(context.engine) as connection:
        if not inboxes.free(connection, inbox_id, now, schedule.latest_lease(now)):
            return None
        return inboxes.lease(connection, [inbox_id], now + schedule.LEASE)[0][1]
