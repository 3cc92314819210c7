"""What Gmail's API charges, and a meter that keeps a mailbox within what it may use.

Quota is counted in units a minute (https://developers.google.com/workspace/gmail/api/reference/quota; the prices are
those since 1 May 2026). A mailbox may use 6,000; what reading leaves of them is for the mailbox's other programs.
"""

import math
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import Final

from connectors.errors import Misconfigured, Throttled

PROFILE: Final = "gmail.users.getProfile"
HISTORY: Final = "gmail.users.history.list"
LIST: Final = "gmail.users.messages.list"
GET: Final = "gmail.users.messages.get"
LABELS: Final = "gmail.users.labels.list"
LABEL: Final = "gmail.users.labels.get"

UNITS: Final[Mapping[str, int]] = MappingProxyType({PROFILE: 1, HISTORY: 2, LIST: 5, GET: 20, LABELS: 1, LABEL: 1})
"""What a call costs, by its id in the discovery document. A message costs the same in every format."""

MINUTE: Final = 60.0
MAILBOXES: Final = 10_000
"""How many mailboxes a process remembers the use of; one that is pushed out begins anew."""


class Meter:
    """Counts the units of the last minute. Several threads may share one."""

    def __init__(self, limit: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.limit = limit
        self._clock = clock
        self._lock = threading.Lock()
        self._spent: deque[tuple[float, int]] = deque()

    def spend(self, units: int) -> None:
        """Count units that are about to be used. Raises `Throttled` where they must wait."""
        with self._lock:
            if self._used() + units <= self.limit:
                self._spent.append((self._clock(), units))
                return
        self.refuse(units)

    def room(self) -> int:
        """Return how many units are left now."""
        with self._lock:
            return max(0, self.limit - self._used())

    def refuse(self, units: int) -> None:
        """Raise `Throttled` for as long as it takes until so many units are free, or all that there ever are."""
        if units > self.limit:
            raise Misconfigured(
                f"Gmail charges {units:,} units for what comes next and units_per_minute is {self.limit:,}: raise it."
            )
        wait = timedelta(seconds=max(1, math.ceil(self._wait(units))))
        raise Throttled(
            f"Reading keeps within {self.limit:,} units a minute of this mailbox's quota:"
            f" it goes on in {wait.seconds} s.",
            wait,
        )

    def _wait(self, units: int) -> float:
        with self._lock:
            left = self._used() + units - self.limit
            for moment, spent in self._spent:
                left -= spent
                if left <= 0:
                    return moment + MINUTE - self._clock()
        return 0.0

    def _used(self) -> int:
        start = self._clock() - MINUTE
        while self._spent and self._spent[0][0] <= start:
            self._spent.popleft()
        return sum(units for _, units in self._spent)


_meters: OrderedDict[tuple[str, str], Meter] = OrderedDict()
_lock: Final = threading.Lock()


def meter_of(api: str, address: str, limit: int) -> Meter:
    """Return this process's meter for a mailbox: a connector lives for one poll, its mailbox's quota for longer.

    Several processes may read a mailbox at the same time (one polls, one fetches); then Gmail itself may ask for
    patience, which is as well.
    """
    with _lock:
        meter = _meters.pop((api, address), None) or Meter(limit)
        meter.limit = limit
        _meters[api, address] = meter
        if len(_meters) > MAILBOXES:
            _meters.popitem(last=False)
        return meter
