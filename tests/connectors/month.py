"""A month in a mailbox's life, in some order that a seed decides, and a reader that reads it as the worker does.

The mailbox under test brings what can happen to it (`Lively`); the month decides when. Time is told by the month's own
clock: messages bear its dates, and polls, waits and re-readings go by it.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Protocol

from connectors import (
    AuthRequired,
    Connector,
    ConnectorError,
    Cursor,
    CursorExpired,
    Envelope,
    MessageGone,
    MessageRef,
    Throttled,
)
from tests.connectors.mailboxes import LONG_AGO, Mailbox, message
from tests.fakes.notices import dsn
from tests.fakes.wire import Cost, Wire
from tests.live.mailstack import message_id
from worker import schedule
from worker.pipeline.poll import PAGES_PER_POLL, REREAD
from worker.pipeline.process import FETCH_BYTES
from worker.screen import screen

DAYS = 30
STEP = timedelta(hours=2)
BURST = 250
REREAD_ON = (3, 13, 14)  # days; the last by losing the cursor


class Lively(Mailbox, Protocol):
    """A mailbox, and what can happen to it beyond mail that comes and goes."""

    wire: Wire | None  # where its connections are counted

    def move(self, raw: bytes, source: str, target: str) -> None: ...

    def troubles(self) -> Mapping[str, Callable[[Random], None]]:
        """Return what can go wrong, each as a function that begins it."""

    def mend(self) -> None:
        """End all trouble."""

    def renumber(self) -> None:
        """Make every message look new, or every cursor void, as after a restore."""


@dataclass
class Reader:
    """Polls, screens and fetches like worker/pipeline, with a cursor that is kept only with the page it covers."""

    mailbox: Lively
    since: datetime
    chance: Random
    cursor: Cursor | None = None
    caught_up: datetime | None = None
    due: datetime = LONG_AGO
    stopped: bool = False  # until a person reconnects the inbox
    failures: int = 0
    waiting: list[MessageRef] = field(default_factory=list)
    met: set[str] = field(default_factory=set)  # Message-IDs of what a page held
    read: Counter[str] = field(default_factory=Counter)  # and of what was fetched
    errors: Counter[str] = field(default_factory=Counter)
    rereadings: int = 0
    idle: list[Cost] = field(default_factory=list)
    busy: list[tuple[int, Cost]] = field(default_factory=list)

    def turn(self, now: datetime, between: Callable[[], None]) -> None:
        """Poll where it is time to, then fetch what waits; `between` happens between two pages."""
        if self.stopped or now < self.due:
            return
        try:
            self._poll(now, between)
            self._fetch()
        except ConnectorError as error:
            self._failed(now, error)
        else:
            self.failures = 0

    def _failed(self, now: datetime, error: ConnectorError) -> None:
        self.errors[type(error).__name__] += 1
        self.due = schedule.after_failure(now, self.failures, error, self.chance)
        if isinstance(error, Throttled):
            assert self.due >= now + error.retry_after
        self.failures += 1
        self.stopped = isinstance(error, AuthRequired)

    def _poll(self, now: datetime, between: Callable[[], None]) -> None:
        self._counted()
        count = pages = 0
        connector = self.mailbox.connector()
        try:
            page = self._first_page(connector)
            while True:
                pages += 1
                count += len(page.envelopes)
                self._keep(page.envelopes)
                self.cursor = page.cursor
                if not page.has_more:
                    self.caught_up = now
                if not page.has_more or pages == PAGES_PER_POLL:
                    break
                between()
                page = connector.poll(page.cursor)
        finally:
            connector.close()
        cost = self._counted()
        if count:
            self.busy.append((count, cost))
        else:
            self.idle.append(cost)

    def _first_page(self, connector: Connector):
        if self.cursor is None:
            return connector.poll(self.since)
        try:
            return connector.poll(self.cursor)
        except CursorExpired as expired:
            self.errors[type(expired).__name__] += 1
            self.rereadings += 1
            return connector.poll(max(self.since, (self.caught_up or self.since) - REREAD))

    def _keep(self, envelopes: Sequence[Envelope]) -> None:
        self.met |= {envelope.headers["message-id"] for envelope in envelopes if envelope.headers}
        self.waiting += [envelope.ref for envelope in envelopes if screen(envelope)]

    def _fetch(self) -> None:
        if not self.waiting:
            return
        connector = self.mailbox.connector()
        try:
            while self.waiting:
                try:
                    raw = connector.fetch(self.waiting[0], FETCH_BYTES).raw
                except MessageGone as gone:
                    self.errors[type(gone).__name__] += 1
                else:
                    self.read[message_id(raw)] += 1
                del self.waiting[0]
        finally:
            connector.close()

    def _counted(self) -> Cost:
        return self.mailbox.wire.take() if self.mailbox.wire else Cost()


@dataclass
class Month:
    """What happens, and what is known of it: `notices` and `ordinary` by Message-ID."""

    mailbox: Lively
    seed: int
    letters_a_step: float = 5.0
    notices_a_step: float = 1.0
    notices: dict[str, bytes] = field(default_factory=dict)
    ordinary: dict[str, bytes] = field(default_factory=dict)
    happened: Counter[str] = field(default_factory=Counter)
    _in: dict[str, str] = field(default_factory=dict)  # the folder of each message that is still there
    _trouble_ends: datetime | None = None
    _began: datetime = LONG_AGO
    _to_lose: tuple[int, ...] = REREAD_ON

    def live(self) -> Reader:
        """Play the month, then let a quiet week pass; return the reader."""
        chance = Random(self.seed)
        now = datetime.now(UTC) - timedelta(days=DAYS + 7)
        self._began = now
        reader = Reader(self.mailbox, since=now - timedelta(days=7), chance=chance)
        end = now + timedelta(days=DAYS)
        while now < end:
            self._troubles(chance, now, reader)
            self._lose_place(chance, now, reader)
            if self._trouble_ends is None or chance.random() < 0.8:
                self._happen(chance, now, reader)
            reader.turn(now, lambda now=now: self._between(chance, now, reader))
            now += STEP * chance.uniform(0.5, 1.5)
        self._mend(reader)
        for _ in range(4):
            now += timedelta(days=1)
            reader.turn(now, lambda: None)
        return reader

    def left(self) -> list[str]:
        """Return the Message-IDs of what lies in the folders that are read."""
        return list(self._in)

    def _happen(self, chance: Random, now: datetime, reader: Reader) -> None:
        burst = BURST if chance.random() < 1 / 40 else 0
        letters = [message(f"Letter of {now:%d %B}") for _ in range(_about(chance, self.letters_a_step) + burst)]
        notices = [self._notice() for _ in range(_about(chance, self.notices_a_step))]
        self._deliver(chance, letters, notices, now)
        if chance.random() < 1 / 5:
            self._move(chance)
        if chance.random() < 1 / 5:
            self._remove(chance, reader)

    def _lose_place(self, chance: Random, now: datetime, reader: Reader) -> None:
        """Make the reader read again, so seldom that what it skipped otherwise stays skipped."""
        if self._to_lose and now >= self._began + timedelta(days=self._to_lose[0]):
            self._to_lose = self._to_lose[1:]
            self._deliver(chance, [], [self._notice()], now - timedelta(days=3))  # the re-reading must reach that far
            if self._to_lose:
                self.mailbox.renumber()
            else:
                reader.cursor = Cursor("lost")

    def _between(self, chance: Random, now: datetime, reader: Reader) -> None:
        self._deliver(chance, [message()], [self._notice()], now)
        self._move(chance)
        self._remove(chance, reader)

    def _notice(self) -> bytes:
        number = len(self.notices)
        raw = dsn(f"send-{number}@crm.example", own_id=f"notice-{number}@mx.example")
        self.notices[message_id(raw)] = raw
        return raw

    def _deliver(self, chance: Random, letters: list[bytes], notices: list[bytes], now: datetime) -> None:
        self.ordinary |= {message_id(raw): raw for raw in letters}
        raws = [*letters, *notices]
        chance.shuffle(raws)
        cut = len(raws) // 10
        # An import or a slow server: some mail is older than its arrival.
        at = now - timedelta(days=chance.choice((0, 0, 0, 3)))
        for folder, lot in (("Junk", raws[:cut]), ("INBOX", raws[cut:])):
            if lot:
                self.mailbox.deliver_all(lot, folder, at)
                self._in |= {message_id(raw): folder for raw in lot}
        self.happened["delivered"] += len(raws)

    def _move(self, chance: Random) -> None:
        """A person or a filter moves a message between the two folders that are read, or an ordinary one away."""
        name = chance.choice(list(self._in)[-200:])
        source = self._in[name]
        target = "Junk" if source == "INBOX" else "INBOX"
        if name in self.ordinary and chance.random() < 0.5:
            target = "Archive"
        self.mailbox.move(self._raw(name), source, target)
        self._in[name] = target
        if target == "Archive":
            del self._in[name]
        self.happened["moved"] += 1

    def _remove(self, chance: Random, reader: Reader) -> None:
        """A person deletes a message; of notices only those that we have read."""
        name = chance.choice(list(self._in)[-200:])
        if self._in[name] == "INBOX" and (name in self.ordinary or reader.read[name]):
            self.mailbox.remove(self._raw(name))
            del self._in[name]
            self.happened["removed"] += 1

    def _raw(self, name: str) -> bytes:
        return self.notices.get(name) or self.ordinary[name]

    def _troubles(self, chance: Random, now: datetime, reader: Reader) -> None:
        if self._trouble_ends is not None:
            if now >= self._trouble_ends:
                self._mend(reader)
        elif chance.random() < 1 / 15:
            troubles = self.mailbox.troubles()
            name = min(troubles, key=lambda name: (self.happened[name], name))  # each comes
            troubles[name](chance)
            self.happened[name] += 1
            self._trouble_ends = now + chance.choice((1, 4, 20)) * STEP

    def _mend(self, reader: Reader) -> None:
        self.mailbox.mend()
        reader.stopped = False
        self._trouble_ends = None


def _about(chance: Random, mean: float) -> int:
    return round(chance.expovariate(1 / mean))


def check(month: Month, reader: Reader) -> None:
    """State what must be true at the end of every month, whatever the mailbox."""
    assert set(reader.read) == set(month.notices)  # each is there once, for its Message-ID is its key
    assert set(month.left()) - reader.met == set()
    assert not reader.waiting
    assert not reader.stopped
    assert len(month.ordinary) > 2_000
    assert len(month.notices) > 100
    # Nothing comes again but what was moved, or what a reading from further back brings.
    if not reader.rereadings:
        assert sum(reader.read.values()) <= len(month.notices) + month.happened["moved"]


def check_budget(reader: Reader, a_message: float, an_idle_poll: float) -> None:
    """State that polls cost no more than so many bytes, both ways, on average."""
    idle = sum(cost.sent + cost.received for cost in reader.idle) / len(reader.idle)
    count = sum(count for count, _ in reader.busy)
    busy = sum(cost.sent + cost.received for _, cost in reader.busy)
    assert idle <= an_idle_poll
    assert (busy - idle * len(reader.busy)) / count <= a_message
