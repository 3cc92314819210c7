"""What so many inboxes need: the schedule's own functions over a simulated week, times what was measured here.

    python -m tests.benchmarks.capacity [--inboxes 1000 100000 1000000] [--seed 1] [--json]

A sample of inboxes sends as salespeople do (office hours, some much, some seldom); each is polled when
`worker.schedule` says. Polls, notices and bytes follow; workers and schedulers follow from the figures under
`Measured`, which were taken on one machine (docs/scale.md says which).
"""

import argparse
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from random import Random
from typing import Final

from worker.schedule import Interval, after_success

SAMPLE: Final = 500
START: Final = datetime(2026, 11, 16, tzinfo=UTC)  # a Monday
WEEK: Final = timedelta(days=7)
MINUTE: Final = timedelta(minutes=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Figures of one machine; see docs/scale.md. Rates are of one process or connection, a second."""

    poll_seconds: float = 0.35
    """What an idle poll holds a worker process: to a server 50 ms away, five round trips, and our own work."""
    attached: float = 650
    dispatched: float = 3_000
    registered: float = 8_000
    bytes_a_send: float = 640
    bytes_a_bounce: float = 16_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Habits:
    """How people send: shares of inboxes by emails a working day, and how much of it comes back."""

    emails: tuple[tuple[float, float], ...] = ((0.5, 5.0), (0.3, 40.0), (0.05, 200.0), (0.15, 0.0))
    bounced: float = 0.02
    office_hours: tuple[int, int] = (8, 18)


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """What a deployment of so many inboxes needs, at the busiest minute of a week."""

    inboxes: int
    polls_a_second: float
    mean_interval_minutes: float
    worker_processes: int
    schedulers: int
    redis_messages_a_second: float
    sends_a_second: float
    bounces_a_second: float
    graph_requests_a_second: float
    gmail_units_a_minute: float
    database_gb_a_month: float


@lru_cache
def simulate(habits: Habits, seed: int, every: Interval) -> tuple[Counter[int], Counter[int]]:
    """Return polls and emails of a sample of inboxes, by the minute of a week."""
    chance = Random(seed)
    polls: Counter[int] = Counter()
    emails: Counter[int] = Counter()
    for _ in range(SAMPLE):
        rate = chance.choices([each for _, each in habits.emails], [share for share, _ in habits.emails])[0]
        last = START - timedelta(days=chance.uniform(0, 3) if rate else 30)
        sent = list(_emails(rate, habits, chance))
        for moment in sent:
            emails[_minute(moment)] += 1
        due = START + every.shortest * chance.random()
        waiting = iter([*sent, START + 2 * WEEK])
        coming = next(waiting)
        while due < START + WEEK:
            while coming <= due:
                last, coming = coming, next(waiting)
            polls[_minute(due)] += 1
            planned = after_success(due, every.after(due - last), chance)
            # A send brings the next poll forward.
            due = min(planned, max(coming, due) + every.shortest) if coming < planned else planned
    return polls, emails


def _emails(rate: float, habits: Habits, chance: Random) -> Iterator[datetime]:
    first, last = habits.office_hours
    moment = START
    while rate and moment < START + WEEK:
        moment += timedelta(hours=chance.expovariate(rate / (last - first)))
        if moment.weekday() < 5 and first <= moment.hour < last and moment < START + WEEK:
            yield moment


def _minute(moment: datetime) -> int:
    return (moment - START) // MINUTE


def need(inboxes: int, measured: Measured, habits: Habits, seed: int, interval: Interval) -> Need:
    """Return what so many inboxes need."""
    polls, emails = simulate(habits, seed, interval)
    times = inboxes / SAMPLE
    busiest = max(polls.values()) * times / 60
    sends = max(emails.values()) * times / 60
    month = 30 / 7 * sum(emails.values()) * times
    bounces = sends * habits.bounced
    return Need(
        inboxes=inboxes,
        polls_a_second=busiest,
        mean_interval_minutes=WEEK / MINUTE * SAMPLE / sum(polls.values()),
        worker_processes=_up(busiest * measured.poll_seconds + bounces / measured.attached),
        schedulers=_up(busiest / measured.dispatched),
        redis_messages_a_second=2 * (busiest + bounces),
        sends_a_second=sends,
        bounces_a_second=bounces,
        graph_requests_a_second=4 * busiest,
        gmail_units_a_minute=2 * busiest * 60,
        database_gb_a_month=month * (measured.bytes_a_send + habits.bounced * measured.bytes_a_bounce) / 1024**3,
    )


def _up(number: float) -> int:
    return max(1, -int(-number // 1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inboxes", type=int, nargs="+", default=[1_000, 100_000, 1_000_000])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--poll-seconds", type=int, default=120)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    interval = Interval(
        shortest=timedelta(seconds=given.poll_seconds),
        longest=max(timedelta(seconds=given.poll_seconds), Interval().longest),
    )
    found = [need(number, Measured(), Habits(), given.seed, interval) for number in given.inboxes]
    if given.json:
        print(json.dumps({"schema": 1, "measured": asdict(Measured()), "needs": [asdict(each) for each in found]}))
        return
    for name in Need.__slots__:
        values = [getattr(each, name) for each in found]
        print(f"{name.replace('_', ' '):<26}" + "".join(f"{value:>16,.1f}" for value in values))


if __name__ == "__main__":
    main()
