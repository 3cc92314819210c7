"""When an inbox is polled next, and which of those that are due go first. Pure: clock and chance are handed in."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import Final
from zlib import crc32

from connectors import Throttled

FIRST_BACKOFF: Final = timedelta(seconds=30)
LONGEST_BACKOFF: Final = timedelta(hours=1)
JITTER: Final = 0.15
"""Share of an interval by which it is shortened or lengthened, so that inboxes don't march in step."""
SPREAD: Final = timedelta(minutes=1)
"""How far inboxes are spread that a server has asked for patience, so that they don't come back at one stroke."""

LEASE: Final = timedelta(minutes=6)
"""How long a poll may hold an inbox: longer than a task may run (see `worker.app`)."""
ENOUGH_LEASE: Final = timedelta(minutes=4)
"""What must be left of a lease when its poll begins: as long as a task may run. A queue may have eaten the rest."""
CLOCK_SKEW: Final = timedelta(minutes=5)
"""How far clocks of machines may differ. A moment that lies further ahead than any that we set was set by another
clock: ours has been put back since."""

HOT: Final = timedelta(hours=1)
"""For so long after an email most of its bounces come."""
WARM: Final = timedelta(hours=72)
"""Until then servers report delays and give up (RFC 5321, 4.5.4.1 asks for four to five days, most give up sooner)."""
COLD: Final = timedelta(days=14)
"""From then on nothing is expected any more."""
WARM_INTERVAL: Final = timedelta(minutes=5)

LEAST_DEPTH: Final = 50
"""Tasks that a queue may always hold."""

HANG: Final = timedelta(seconds=10)
"""A server that took longer than this to fail has held a worker up, not merely refused it."""
HANGS: Final = 3
"""After so many hangs in a row, with no inbox of the host read in between, its other inboxes wait."""
FIRST_HUNG: Final = timedelta(minutes=1)
LONGEST_HUNG: Final = timedelta(minutes=10)


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """How often an inbox is polled: `shortest` while bounces are likely, `longest` where nothing was sent for weeks."""

    shortest: timedelta = timedelta(minutes=2)
    longest: timedelta = timedelta(minutes=15)

    def after(self, quiet: timedelta) -> timedelta:
        """Return the interval of an inbox through which nothing was sent, and no notice came, for `quiet`."""
        warm = min(max(WARM_INTERVAL, self.shortest), self.longest)
        if quiet <= HOT:
            return self.shortest
        if quiet <= WARM:
            return self.shortest + (warm - self.shortest) * ((quiet - HOT) / (WARM - HOT))
        if quiet <= COLD:
            return warm + (self.longest - warm) * ((quiet - WARM) / (COLD - WARM))
        return self.longest

    @property
    def furthest(self) -> timedelta:
        """Return how far ahead the next poll of an inbox that works can lie."""
        return self.longest * (1 + JITTER)


def phase(inbox_id: str) -> float:
    """Return an inbox's own place within any interval, from 0 up to 1."""
    return crc32(inbox_id.encode()) / 2**32


def after_success(now: datetime, every: timedelta, chance: Random) -> datetime:
    """Return when an inbox that was read to its end is due again."""
    return now + every * chance.uniform(1 - JITTER, 1 + JITTER)


def after_standstill(now: datetime, every: timedelta, inbox_id: str) -> datetime:
    """Return when an inbox is due that was polled for the first time or far too late, as many others were.

    They come back spread over the interval, each at its own phase, or they would all come back together.
    """
    return now + every * (JITTER + (1 - JITTER) * phase(inbox_id))


def latest_lease(now: datetime) -> datetime:
    """Return after when no lease can end, unless a clock has been put back."""
    return now + LEASE + CLOCK_SKEW


def after_failure(now: datetime, failures: int, error: Exception, chance: Random) -> datetime:
    """Return when to try again after `failures` failures in a row: never before a server that asks for patience."""
    backoff = min(FIRST_BACKOFF * 2 ** min(failures, 10), LONGEST_BACKOFF)
    wait: timedelta = backoff * chance.uniform(1 - JITTER, 1 + JITTER)
    if isinstance(error, Throttled):
        wait = max(wait, error.retry_after + SPREAD * chance.random())
    return now + wait


def hung_until(now: datetime, hangs: int) -> datetime | None:
    """Return until when a host is left in peace that has hung so often in a row; None for not yet."""
    if hangs < HANGS:
        return None
    wait: timedelta = min(FIRST_HUNG * 2 ** min(hangs - HANGS, 10), LONGEST_HUNG)
    return now + wait


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How many inboxes may be held at once: in all, and of one provider, account and host.

    `host` is for servers that customers name; Google's and Microsoft's are many machines under one name.
    """

    total: int = 2_000
    provider: int = 1_000
    account: int = 200
    host: int = 50


Key = tuple[str, str]
"""What a limit is about: ("provider", "imap"), ("account", "acme"), ("host", "imap.acme.example"), or all."""
ALL: Final[Key] = ("all", "")
HOSTED: Final = frozenset({"gmail", "office365"})
"""Providers whose one host name stands for as many machines as it takes."""


@dataclass(frozen=True, slots=True)
class Place:
    """Whose an inbox is and where it lies; `host` is None where that isn't known yet, or there is none."""

    provider: str
    account: str
    host: str | None

    @property
    def keys(self) -> tuple[Key, ...]:
        """What holding it counts against."""
        keys = ALL, ("provider", self.provider), ("account", self.account)
        if self.host is None:
            return keys
        return *keys, ("service" if self.provider in HOSTED else "host", self.host)


def load(held: Iterable[tuple[Place, int]]) -> Counter[Key]:
    """Return how many inboxes are held by key; given is how many are held of each place."""
    total: Counter[Key] = Counter()
    for place, number in held:
        for key in place.keys:
            total[key] += number
    return total


def full(load: Mapping[Key, int], limits: Limits, hanging: Collection[str]) -> set[Key]:
    """Return the keys of which no more may be taken; `hanging` are hosts that hung when they were last asked."""
    return {key for key, number in load.items() if number >= _limit(key, limits, hanging)}


def choose(
    due: Mapping[str, Place], load: Mapping[Key, int], limits: Limits, hanging: Collection[str], most: int
) -> list[str]:
    """Return the first inboxes of those that are due, in order, that the limits allow, `most` at the most."""
    taken = Counter(load)
    chosen: list[str] = []
    for inbox_id, place in due.items():
        if len(chosen) == most:
            break
        if all(taken[key] < _limit(key, limits, hanging) for key in place.keys):
            taken.update(place.keys)
            chosen.append(inbox_id)
    return chosen


def _limit(key: Key, limits: Limits, hanging: Collection[str]) -> int:
    kind, name = key
    if kind in ("host", "service") and name in hanging:
        return 1  # one goes and finds out whether it's well again
    return {
        "all": limits.total,
        "provider": limits.provider,
        "account": limits.account,
        "host": limits.host,
        "service": limits.provider,
    }[kind]


def depth(before: int, left: int) -> int:
    """Return how many tasks a queue should hold that held `before` and of which `left` are left after a tick.

    Twice what was worked off: enough for workers that get faster, and soon little for workers that are gone. What isn't
    in the queue is still chosen by due time and limits; what is there only waits.
    """
    return max(LEAST_DEPTH, 2 * max(before - left, 0))
