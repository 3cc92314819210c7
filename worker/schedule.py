"""When an inbox is polled next. Pure: the clock and chance are handed in."""

from datetime import datetime, timedelta
from random import Random
from typing import Final

from connectors import Throttled

FIRST_BACKOFF: Final = timedelta(seconds=30)
LONGEST_BACKOFF: Final = timedelta(hours=1)
JITTER: Final = 0.15
"""Share of an interval by which it is shortened or lengthened, so that inboxes don't march in step."""
SPREAD: Final = timedelta(minutes=1)
"""How far inboxes are spread that a server has asked for patience, so that they don't come back at one stroke."""

LEASE: Final = timedelta(minutes=6)
"""How long a poll may hold an inbox: longer than a task may run (see `worker.app`)."""


def after_success(now: datetime, every: timedelta, chance: Random) -> datetime:
    """Return when an inbox that was read to its end is due again."""
    return now + every * chance.uniform(1 - JITTER, 1 + JITTER)


def after_failure(now: datetime, failures: int, error: Exception, chance: Random) -> datetime:
    """Return when to try again after `failures` failures in a row: never before a server that asks for patience."""
    backoff = min(FIRST_BACKOFF * 2 ** min(failures, 10), LONGEST_BACKOFF)
    wait: timedelta = backoff * chance.uniform(1 - JITTER, 1 + JITTER)
    if isinstance(error, Throttled):
        wait = max(wait, error.retry_after + SPREAD * chance.random())
    return now + wait
