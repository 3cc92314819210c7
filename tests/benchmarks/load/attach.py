"""Bounces a second from pending to attached: by worker processes on PostgreSQL and Redis, and embedded on SQLite.

Two floors in the same run: the very same SQL, recorded and replayed by plain psycopg; and Celery tasks that do nothing.
"""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import psycopg
import sqlalchemy as sa

from tests.benchmarks.load import places
from tests.benchmarks.load.rows import Row, at_least
from tests.live.servers import Postgres, postgres_server, redis_server
from worker import config, pipeline, tasks
from worker.app import make_app
from worker.pipeline import Context
from worker.store import schema
from worker.store.database import reading
from worker.store.inboxes import Inbox

NOTICES = 8_000
EMBEDDED = 4_000
BACKGROUND = 50_000
"""Sends that nothing comes back about, so that no table is tiny."""

WARM = 1_000
"""Bounces that are there before: PostgreSQL plans for the tables as they are, and empty ones mislead it."""

Statement = tuple[str, Any, bool]


def measure(scale: float) -> Iterator[Row]:
    """Yield the rows."""
    yield from _embedded(int(EMBEDDED * scale))
    with postgres_server(durable=True) as postgres, redis_server() as redis:
        yield from _distributed(postgres, redis, int(NOTICES * scale), int(BACKGROUND * scale))


def _embedded(number: int) -> Iterator[Row]:
    with places.deployment() as (variables, context):
        inbox, ids = _pending(context, Path(variables["HOME"]) / "mail", number)
        started = time.perf_counter()
        for batch in pipeline.batches(ids):
            pipeline.process(context, inbox.id, batch, "benchmark")
        rate = number / (time.perf_counter() - started)
        assert _left(context) == 0
    yield at_least("attached, embedded (SQLite, one process)", rate, "bounces/s", 500)


def _pending(context: Context, folder: Path, number: int) -> tuple[Inbox, list[int]]:
    places.register(context, range(number))
    places.fill_maildir(folder, range(number))
    inbox = places.add_maildir_inbox(context, folder)
    return inbox, places.poll_all(context, inbox)


def _left(context: Context) -> int:
    query = sa.select(sa.func.count()).select_from(schema.notices).where(schema.notices.c.state == "pending")
    with reading(context.engine) as connection:
        return connection.execute(query).scalar_one()


def _distributed(postgres: Postgres, redis: str, number: int, background: int) -> Iterator[Row]:
    with postgres.fresh_database() as template, places.deployment(DATABASE_URL=template) as (variables, context):
        places.register(context, range(1_000_000, 1_000_000 + background))
        inbox, ids = _pending(context, Path(variables["HOME"]) / "mail", number + WARM)
        for batch in pipeline.batches(ids[:WARM]):
            pipeline.process(context, inbox.id, batch, "benchmark")
        ids = ids[WARM:]
        with context.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(sa.text("ANALYZE"))
        context.engine.dispose()
        floors: dict[int, float] = {}
        with postgres.fresh_database(template) as url:
            recorded = _record(variables | {"DATABASE_URL": url}, inbox, ids)
        for workers in (1, 2):
            with postgres.fresh_database(template) as url:
                floors[workers] = number / _replay(url, recorded, workers)
            yield Row(
                what=f"floor: the same SQL by plain psycopg, {workers} connections",
                figure=floors[workers],
                unit="bounces/s",
            )
        for workers in (1, 2):
            with postgres.fresh_database(template) as url:
                rate = _work(variables | {"DATABASE_URL": url, "REDIS_URL": redis}, inbox, ids, workers)
            ratio = {"beside": "the same SQL by plain psycopg", "ratio": rate / floors[workers]}
            what = f"attached, PostgreSQL + Redis, {workers} prefork workers"
            if workers == 2:
                yield at_least(what, rate, "bounces/s", 1_000, **ratio)
            else:
                yield Row(what=what, figure=rate, unit="bounces/s", **ratio)


def _record(variables: dict[str, str], inbox: Inbox, ids: list[int]) -> list[list[Statement]]:
    """Attach everything in this process; return the SQL of each batch."""
    from worker import wiring

    context = wiring.make_context(config.read(variables))
    batches: list[list[Statement]] = []

    def noted(*, many: bool):
        def note(_cursor, statement, parameters, _context) -> None:
            if batches:
                batches[-1].append((statement, parameters, many))

        return note

    sa.event.listen(context.engine, "do_execute", noted(many=False))
    sa.event.listen(context.engine, "do_executemany", noted(many=True))

    for batch in pipeline.batches(ids):
        batches.append([])
        pipeline.process(context, inbox.id, batch, "benchmark")
    assert _left(context) == 0
    context.engine.dispose()
    return batches


def _replay(url: str, batches: list[list[Statement]], connections: int) -> float:
    """Run recorded SQL by so many processes; return the seconds that the slowest took."""
    context = get_context("fork")
    queue = context.Queue()
    go = context.Event()
    runners = [
        context.Process(target=_run, args=(url, batches[start::connections], go, queue), daemon=True)
        for start in range(connections)
    ]
    for runner in runners:
        runner.start()
    for _ in runners:
        queue.get(timeout=60)  # connected
    go.set()
    took = max(queue.get(timeout=600) for _ in runners)
    for runner in runners:
        runner.join()
    return took


def _run(url: str, batches: list[list[Statement]], go: Any, queue: Any) -> None:
    with psycopg.connect(url, autocommit=False) as connection, connection.cursor() as cursor:
        queue.put("connected")
        go.wait()
        started = time.perf_counter()
        for batch in batches:
            for statement, parameters, many in batch:
                if many:
                    cursor.executemany(statement, parameters)
                else:
                    cursor.execute(statement, parameters)
                    if cursor.description:
                        cursor.fetchall()
            connection.commit()
        queue.put(time.perf_counter() - started)


def _work(variables: dict[str, str], inbox: Inbox, ids: list[int], workers: int) -> float:
    """Have a worker attach everything; return the rate between its first batch and its last."""
    settings = config.read(variables)
    app = make_app(settings)
    engine = sa.create_engine(settings.database_url, isolation_level="AUTOCOMMIT")
    for batch in pipeline.batches(ids):
        app.send_task(tasks.PROCESS, args=[inbox.id, batch])
    count = sa.select(sa.func.count()).select_from(schema.notices).where(schema.notices.c.state == "pending")
    with _process(variables, "worker", "--concurrency", str(workers)), engine.connect() as connection:
        left = len(ids)
        while connection.execute(count).scalar_one() == left:
            time.sleep(0.01)
        first, started = connection.execute(count).scalar_one(), time.perf_counter()
        while connection.execute(count).scalar_one():
            time.sleep(0.01)
        took = time.perf_counter() - started
    engine.dispose()
    return first / took


@contextmanager
def _process(variables: dict[str, str], *arguments: str) -> Iterator[None]:
    command = [sys.executable, "-m", "worker.cli", *arguments]
    with subprocess.Popen(command, env=variables, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield
        finally:
            process.terminate()
            process.wait(60)
