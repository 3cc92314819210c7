"""What retention brings: how fast old sends go, and whether the database stops growing.

A window of four quarters slides: the oldest is dropped, VACUUM does what autovacuum does, another is registered.
"""

import time
from collections.abc import Iterator
from datetime import timedelta

import psycopg

from tests.benchmarks.load import places
from tests.benchmarks.load.rows import Row, at_most
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
INDEXES = """
    SELECT indexrelid::regclass::text, pg_relation_size(indexrelid) FROM pg_index
    WHERE indexrelid::regclass::text IN ('sends_age', 'send_keys_send')
"""


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
        first = _size(url)
        million = 1_000_000 / (4 * quarter) / GIGABYTE
        yield Row(what="sends, their recipients and keys, a million sends", figure=first * million, unit="GB")
        for name, size in _ask(url, INDEXES):
            share = {"beside": "all of that", "ratio": size / first}
            yield Row(what=f"of that the index {name}", figure=size * million, unit="GB", **share)
        lots: list[float] = []
        for step in range(1, STEPS + 1):
            took = list(_drop(context, step, quarter))
            _size(url)
            _register(context, step + 3, quarter)
            size = _size(url)
            lots += took
            if step == 1:
                walk = {"beside": "the first", "ratio": _mean(took[-5:]) / _mean(took[:5])}
                yield Row(
                    what=f"a lot after {quarter:,} that no vacuum took", figure=_mean(took[-5:]), unit="ms", **walk
                )
            beside = {"beside": "the first", "ratio": size / first}
            if step % 4:
                yield Row(what=f"the same after {step} of 4 quarters anew", figure=size * million, unit="GB", **beside)
            else:
                yield at_most(
                    f"the same, {step // 4} times all anew", size * million, "GB", 1.1 * first * million, **beside
                )
        rate = 1_000 * retention.AT_ONCE / _mean(lots)
        yield Row(
            what=f"sends dropped ({retention.AT_ONCE:,} a transaction, one connection)", figure=rate, unit="sends/s"
        )
        turns = 86_400 / SWEEP_SECONDS
        yield Row(
            what="sends that one scheduler's sweeps can drop a day",
            figure=turns * LOTS * retention.AT_ONCE,
            unit="sends",
        )


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
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")
    ((size,),) = _ask(url, SIZE)
    return int(size)


def _ask(url: str, query: str) -> list[tuple]:
    with psycopg.connect(url) as connection:
        return connection.execute(query).fetchall()
