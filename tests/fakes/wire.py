"""A `Dial` that counts what passes, and that can break: what a poll costs, and what it does when the line goes dead.

A round trip is a wait for the server: one to connect (a greeting comes with it), then one for each question or lot of
questions that is sent at once. Plain connections only: TLS takes a socket over, and then nothing would be counted.
"""

import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self

from connectors import dial


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What was asked of a server; bytes without those of TCP and IP. `units` are of a quota, where one counts so."""

    round_trips: int = 0
    sent: int = 0
    received: int = 0
    units: int = 0

    def __add__(self, other: Self) -> "Cost":
        return Cost(
            round_trips=self.round_trips + other.round_trips,
            sent=self.sent + other.sent,
            received=self.received + other.received,
            units=self.units + other.units,
        )


@dataclass
class Wire:
    """Counts over all its connections. `questions` are the first lines of what was sent.

    `cut_at` breaks the line in the middle of that round trip, counted from here on, once, after `keep` bytes of the
    answer. `refuse` is asked before each connection and may raise what a network raises. `farewell` is all that a
    server says to whoever connects.
    """

    cut_at: int | None = None
    keep: int = 0
    refuse: Callable[[], None] | None = None
    farewell: bytes | None = None
    questions: list[str] = field(default_factory=list)
    total: Cost = Cost()

    def __call__(self, host: str, port: int, timeout: float) -> socket.socket:
        if self.refuse:
            self.refuse()
        opened = dial(host, port, timeout) if self.farewell is None else _hung_up(self.farewell)
        counted = _Counted(fileno=opened.detach())
        counted.settimeout(timeout)
        counted.wire = self
        self.add(round_trips=1)
        counted.left = self.waits()
        return counted

    def add(self, **figures: int) -> None:
        self.total += Cost(**figures)

    def waits(self) -> int | None:
        """Count down to the cut; return how many bytes still come where this is the round trip that breaks."""
        if self.cut_at is None:
            return None
        self.cut_at -= 1
        if self.cut_at > 0:
            return None
        self.cut_at = None
        return self.keep

    def take(self) -> Cost:
        """Return what has been counted since last time."""
        cost, self.total = self.total, Cost()
        self.questions.clear()
        return cost


def _hung_up(farewell: bytes) -> socket.socket:
    ours, theirs = socket.socketpair()
    with theirs:
        theirs.sendall(farewell)
    return ours


class _Counted(socket.socket):
    wire: Wire
    left: int | None = None  # bytes until the line is dead
    asked = False

    def sendall(self, data, flags=0) -> None:
        self._ask(bytes(data))
        super().sendall(data, flags)

    def send(self, data, flags=0) -> int:
        self._ask(bytes(data))
        return super().send(data, flags)

    def recv_into(self, buffer, nbytes=0, flags=0) -> int:
        self._wait()
        if self.left is not None:
            nbytes = min(nbytes or len(buffer), self.left)
            if not nbytes:
                return 0
        count = super().recv_into(buffer, nbytes, flags)
        self._came(count)
        return count

    def recv(self, bufsize, flags=0) -> bytes:
        self._wait()
        data = super().recv(bufsize if self.left is None else min(bufsize, self.left), flags)
        self._came(len(data))
        return data

    def detach(self) -> int:
        raise AssertionError("Nothing is counted once TLS has taken the socket over: use a plain port.")

    def _ask(self, data: bytes) -> None:
        if self.left is not None:
            raise BrokenPipeError(32, "Broken pipe")
        self.asked = True
        self.wire.questions.append(data.partition(b"\r\n")[0].decode("ascii", errors="replace"))
        self.wire.add(sent=len(data))

    def _wait(self) -> None:
        if self.asked:
            self.asked = False
            self.wire.add(round_trips=1)
            self.left = self.wire.waits()

    def _came(self, count: int) -> None:
        self.wire.add(received=count)
        if self.left is not None:
            self.left -= count
