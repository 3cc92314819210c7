"""A run: mail comes in, faults happen by plan, and when they are over everything must have come right.

The plan (which faults, in which order) is drawn from the seed, so that a run can be repeated; when each strikes, the
machine decides.
"""

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import cycle
from random import Random
from typing import Final

from tests.chaos import points
from tests.chaos.faults import FAULTS, RARE, Fault
from tests.chaos.feeder import STEPS, Feeder
from tests.chaos.letters import Author
from tests.chaos.oracle import judge
from tests.chaos.orders import Order, Who
from tests.chaos.world import World

AT_ONCE: Final = 8
"""Orders that wait for somebody to come by; some are for rare points, and hold up the others for a moment only."""
PATIENCE: Final = 1.0
WHO: Final = ((Who.SELF, 6), (Who.PARENT, 2), (Who.GROUP, 2), (Who.FREEZE, 1))
FROZEN_SECONDS: Final = 2.0
FOR_THE_REST: Final = 160
"""Notices that are kept back, of few at most two in five, for points that nobody has come past by plan."""
MISSED_SECONDS: Final = 120.0
"""How long after the plan a point is still waited for that nobody has come past."""
QUIET_SECONDS: Final = 180.0
"""How long after the last fault everything may take to come right."""
ON: Final = timedelta(minutes=10)
"""By how much the clock is put on while that is waited for, so that no backoff is."""


@dataclass(frozen=True, slots=True)
class Struck:
    """A fault that happened, `at` seconds after the run began."""

    at: float
    kind: str
    what: str


@dataclass(kw_only=True)
class Result:
    """What a run came to; `wrong` is empty where all is well."""

    seed: int
    notices: int
    bounces: int
    journal: list[Struck]
    killed_at: Counter[str]
    seconds: float
    quiet_after: float
    recoveries: list[float]
    calls: int
    events: int
    restarts: int
    wrong: list[str] = field(default_factory=list)


class Run:
    """One run over a world."""

    def __init__(self, world: World, seed: int, faults: int, notices: int, say: Callable[[str], None] = print) -> None:
        self._world = world
        self._seed = seed
        self._say = say
        self._chance = Random(seed)
        self._stories = list(Author(Random(seed)).stories(notices))
        self._plan = plan(Random(seed), faults)
        self._faults = faults
        self._by_plan = 1 - min(FOR_THE_REST / notices, 0.4)
        self._journal: list[Struck] = []
        self._killed_at: Counter[str] = Counter()
        self._given: dict[int, Order] = {}
        self._known: set[int] = set()
        self._grown: list[float] = []
        self._began = time.monotonic()
        self._over = threading.Event()

    def go(self) -> Result:
        outcomes = [outcome for story in self._stories for outcome in story.outcomes]
        feeder = Feeder(self._world, self._stories, Random(self._seed), self._by_plan)
        threads = [threading.Thread(target=each, daemon=True) for each in (feeder.run, self._look_on)]
        for thread in threads:
            thread.start()
        try:
            self._strike(feeder)
            missed = self._come_past_the_rest(feeder)
            feeder.finish()
            threads[0].join(QUIET_SECONDS)
            ended = self._elapsed()
            wrong = [*feeder.problems, *missed, *self._come_right(outcomes)]
        finally:
            self._over.set()
            feeder.finish()
        threads[1].join()
        heard = sum(len(receiver.events) for receiver in self._world.receivers.values())
        return Result(
            seed=self._seed,
            notices=sum(story.notices for story in self._stories),
            bounces=len(outcomes),
            journal=self._journal,
            killed_at=self._killed_at,
            seconds=self._elapsed(),
            quiet_after=self._elapsed() - ended,
            recoveries=self._recoveries(),
            calls=heard,
            events=len(self._world.seen().told),
            restarts=sum(self._world.fleet.ends.values()),
            wrong=wrong,
        )

    def _strike(self, feeder: Feeder) -> None:
        for number, fault in enumerate(self._plan):
            if isinstance(fault, Order):
                self._order(fault)
            else:
                self._harm(fault)
            feeder.go_to(self._by_plan * (number + 1) / len(self._plan))
            self._over.wait(self._chance.uniform(0.05, 0.5))
        # Orders that nobody came by to carry out are made up for.
        while len(self._journal) < self._faults:
            self._harm(self._chance.choices(FAULTS, [fault.weight for fault in FAULTS])[0])

    def _order(self, order: Order) -> None:
        """Give an order; where too many wait, somebody comes by soon, or they are for a rare point."""
        end = time.monotonic() + PATIENCE
        while len(self._world.orders.waiting()) >= AT_ONCE and time.monotonic() < end:
            self._over.wait(0.05)
        self._given[order.id] = order
        self._world.orders.give(order)

    def _harm(self, fault: Fault) -> None:
        at = self._elapsed()
        what = fault.harm(self._world, self._chance)
        self._journal.append(Struck(at, fault.name, what))

    def _come_past_the_rest(self, feeder: Feeder) -> list[str]:
        """Have somebody killed at each point where nobody was yet; return a sentence for those that remain."""
        end = time.monotonic() + MISSED_SECONDS
        share = self._by_plan
        step = (1 - share) / STEPS
        number = max(self._given, default=0)
        rare = cycle(RARE)
        while (missing := self._missing()) and time.monotonic() < end:
            for point in missing - self._world.orders.waiting():
                number += 1
                self._order(Order(id=number, point=point, who=Who.SELF))
            share = min(share + step, 1 - step)
            feeder.go_to(share)  # a point may need both: that something is on its way, and that it can't go on
            self._harm(next(rare))
            self._over.wait(1.0)
        self._world.orders.take_back()
        return [f"missed: nobody came past {point}" for point in sorted(self._missing())]

    def _missing(self) -> set[str]:
        return set(points.wanted() - self._killed_at.keys())

    def _look_on(self) -> None:
        """Note down orders that were carried out and timelines that grow, let the frozen go on, tell how it goes."""
        entries, told_at = 0, 0.0
        while not self._over.wait(0.1):
            self._note_deaths()
            with suppress(Exception):  # the database may be away
                if (now := self._world.observer.entries()) > entries:
                    entries = now
                    self._grown.append(self._elapsed())
            if self._elapsed() - told_at >= 10.0:
                told_at = self._elapsed()
                self._say(f"{told_at:5.0f} s: {len(self._journal)} faults, {entries} entries on timelines")

    def _note_deaths(self) -> None:
        for number, (point, pid) in self._world.orders.carried_out().items():
            if number in self._known:
                continue
            self._known.add(number)
            who = self._given[number].who
            self._killed_at[point] += who is not Who.FREEZE
            kind = f"{'frozen' if who is Who.FREEZE else 'SIGKILL'} at a fault point ({who})"
            self._journal.append(Struck(self._elapsed(), kind, f"{point}, process {pid}"))
            if who is Who.FREEZE:
                self._world.clock.jump(timedelta(minutes=7))
                threading.Timer(FROZEN_SECONDS, _let_go_on, (pid,)).start()

    def _come_right(self, outcomes: Sequence[object]) -> list[str]:
        """Wait until everything has; return what hasn't."""
        world = self._world
        for proxy in world.proxies.values():
            proxy.go_on()
        self._over.wait(FROZEN_SECONDS)
        for group in world.fleet.groups():
            world.fleet.let_go_on(group)
        began = world.clock.now()
        end = time.monotonic() + QUIET_SECONDS
        wrong = ["it never came to rest"]
        turn = 0
        while wrong and time.monotonic() < end:
            turn += 1
            if turn % 10 == 0:
                world.clock.jump(ON)
            self._over.wait(0.5)
            seen = world.seen()
            is_read = all(each.caught_up_at and each.caught_up_at > began for each in seen.inboxes)
            restless = world.observer.restless()
            wrong = judge(outcomes, seen)
            if restless or not is_read:
                wrong = [*wrong, f"it never came to rest: {restless or 'not every inbox was read again'}"]
        return wrong

    def _recoveries(self) -> list[float]:
        """Return, for each fault, after how many seconds the next bounce was on its timeline."""
        found = []
        for struck in self._journal:
            later = next((at for at in self._grown if at > struck.at), None)
            if later is not None:
                found.append(later - struck.at)
        return sorted(found)

    def _elapsed(self) -> float:
        return time.monotonic() - self._began


def plan(chance: Random, faults: int) -> list[Order | Fault]:
    """Draw a run's faults: each point once, each kind of fault once, and the rest by weight."""
    wanted = sorted(points.wanted())
    left = max(faults - len(wanted) - len(FAULTS), 0)
    at_points = [*wanted, *chance.choices(wanted, k=left // 2)]
    others = [*FAULTS, *chance.choices(FAULTS, [fault.weight for fault in FAULTS], k=left - left // 2)]
    once = len(wanted)
    orders: list[Order | Fault] = []
    for number, point in enumerate(at_points, 1):
        (who,) = chance.choices([who for who, _ in WHO], [weight for _, weight in WHO])
        # The first at each point is a death; later ones may come after some more passes, and may be a standstill.
        if number <= once:
            orders.append(Order(id=number, point=point, who=Who.SELF if who is Who.FREEZE else who))
        else:
            orders.append(Order(id=number, point=point, who=who, skip=chance.randrange(4)))
    mixed = orders + list(others)
    chance.shuffle(mixed)
    return mixed


def _let_go_on(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)
