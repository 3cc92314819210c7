"""What retention brings: how fast old sends go, and whether the database stops growing.

A window of four quarters slides: the oldest is dropped, VACUUM does what autovacuum does, another is registered.
"""

import time
from collections.abc import Iterator
from datetime import timedelta

import psycopg

from tests.benchmarks.load import places
from tests.benchmarks.load.rows import Row, at_least, at_most
from tests.fakes.sends import sent
from tests.live.servers import postgres_server
from worker import pipeline
from worker.pipeline import Context
from worker.pipeline.retention import LOTS
from worker.store import retention
from worker.store.database import writing
from worker.tasks import SWEEP_SECONDS

QUARTER = 50_000
STEPS = 8
"""Two whole turns of the window."""
APART = timedelta(seconds=1)
GIGABYTE = 1024**3
SIZE = """
    SELECT sum(pg_total_relation_size(oid)) FROM pg_class
    WHERE relname IN ('sends', 'send_recipients', 'send_keys') AND relnamespace = 'public'::regnamespace
"""
INDEXES = {"sends_age": "sends (sent_at)", "send_keys_send": "send_keys (account, send_id)"}


def measure(scale: float) -> Iterator[Row]:
    """Yield the rows."""
    quarter = int(QUARTER * scale)
    with (
        postgres_server(durable=True) as postgres,
        postgres.fresh_database() as url,
        places.deployment(DATABASE_URL=url) as (_, context),
    ):
        for number in range(4):
            _register(context, number, quarter)
        million = 1_000_000 / (4 * quarter)
        first = _size(url) * million / GIGABYTE
        yield Row(what="sends, their recipients and keys, a million sends", figure=first, unit="GB")
        yield from _indexes(url, million, first)
        turned: list[float] = []
        lots: list[float] = []
        for step in range(1, STEPS + 1):
            took = list(_drop(context, step, quarter))
            lots += took
            _vacuum(url)
            _register(context, step + 3, quarter)
            turned.append(_size(url) * million / GIGABYTE)
        once, twice = turned[3], turned[7]
        yield Row(
            what="the same, all dropped and registered anew", figure=once, unit="GB", beside="first", ratio=once / first
        )
        beside = {"beside": "first", "ratio": twice / first}
        yield at_most("the same, all anew once more", twice, "GB", 1.02 * once, **beside)
        walk = {"beside": "the first", "ratio": _mean(took[-5:]) / _mean(took[:5])}
        yield Row(what=f"a lot after {quarter:,} that no vacuum took", figure=_mean(took[-5:]), unit="ms", **walk)
        rate = 1_000 * retention.AT_ONCE / _mean(lots)
        yield Row(what=f"sends dropped ({retention.AT_ONCE:,} a transaction)", figure=rate, unit="sends/s")
        a_day = 86_400 / SWEEP_SECONDS * min(LOTS * retention.AT_ONCE, rate * SWEEP_SECONDS)
        yield at_least("sends that one scheduler's sweeps drop a day at the most", a_day, "sends", 1_000_000)


def _indexes(url: str, million: float, beside: float) -> Iterator[Row]:
    """Yield how large the two indexes are that dropping needs, and how long building them stops who registers."""
    with psycopg.connect(url, autocommit=True) as connection:
        for name, columns in INDEXES.items():
            connection.execute(f"DROP INDEX {name}")
            started = time.perf_counter()
            connection.execute(f"CREATE INDEX {name} ON {columns}")
            took = (time.perf_counter() - started) * million
            ((size,),) = connection.execute("SELECT pg_relation_size(%s::regclass)", (name,))
            share = {"beside": "all of that", "ratio": size * million / GIGABYTE / beside}
            yield Row(what=f"the index {name}", figure=size * million / GIGABYTE, unit="GB", **share)
            yield Row(what=f"building {name}, a million sends", figure=took, unit="s")


def _register(context: Context, number: int, quarter: int) -> None:
    for start in range(number * quarter, (number + 1) * quarter, 10_000):
        stop = min(start + 10_000, (number + 1) * quarter)
        batch = [sent(n, f"p{n}@customer.example", sent_at=places.LONG_AGO + n * APART) for n in range(start, stop)]
        pipeline.register(context, batch)


def _drop(context: Context, step: int, quarter: int) -> Iterator[float]:
    """Drop all quarters before a step's; yield how many milliseconds each full lot took."""
    before = places.LONG_AGO + step * quarter * APART
    dropped = retention.AT_ONCE
    while dropped == retention.AT_ONCE:
        started = time.perf_counter()
        with writing(context.engine) as connection:
            dropped = retention.drop_sends(connection, before)
        if dropped == retention.AT_ONCE:
            yield 1_000 * (time.perf_counter() - started)


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def _size(url: str) -> int:
    _vacuum(url)
    with psycopg.connect(url) as connection:
        ((size,),) = connection.execute(SIZE)
    return int(size)


def _vacuum(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")
