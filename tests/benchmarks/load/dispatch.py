"""Claiming and enqueueing due inboxes: how long a claim of 100 takes, and how many one scheduler dispatches a second.

On a PostgreSQL that writes to disk and a real Redis. As the table grows the claim should stay what it is.
"""

import statistics
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from threading import Event

import psycopg
import sqlalchemy as sa

from tests.benchmarks.load import places
from tests.benchmarks.load.rows import Row, at_least, at_most
from tests.live.servers import postgres_server, redis_server
from worker import config, pipeline, tasks
from worker.app import make_app
from worker.pipeline import Context
from worker.schedule import Limits
from worker.store.database import writing

SIZES = (1_000, 100_000, 1_000_000)
HELD_TO = 100_000
"""The size that the goals are about."""
CLAIMS = 200
WARM = 10
DISPATCHED = 2_900
ACCOUNTS = 500
NO_LIMITS = Limits(total=10**9, provider=10**9, account=10**9, host=10**9)
CURSOR_BLOCKS = 18
"""Of 32 bytes. A cursor of IMAP has some 100 bytes, the delta links of Graph have some thousands."""

INBOXES = """
INSERT INTO inboxes (id, account, name, address, provider, settings, state, cursor, since, failures, next_poll_at,
    lease_token, created_at, host)
SELECT md5(n::text), concat('account-', n %% %(accounts)s), 'inbox-' || n, concat('inbox-', n, '@acme.example'), 'imap',
    repeat('s', 300), 'active', repeat(md5(n::text), %(blocks)s), now(), 0,
    now() - interval '1 day' + n * interval '1 ms', 0, now(), concat('imap-', n %% 5000, '.example')
FROM generate_series(1, %(rows)s) n
"""
OWNERS = """
INSERT INTO accounts (name, policy, unenroll_on, created_at)
SELECT 'account-' || n, 'hubspot', '[]', now() FROM generate_series(0, %(accounts)s - 1) n ON CONFLICT DO NOTHING
"""
AGAIN = """
UPDATE inboxes SET lease_until = NULL, next_poll_at = next_poll_at + interval '15 min', last_poll_at = now(),
    cursor = md5(random()::text) || substr(cursor, 33)
WHERE id = ANY(:ids)
"""


def measure(scale: float) -> Iterator[Row]:
    """Yield the rows."""
    with (
        postgres_server(durable=True) as postgres,
        redis_server() as redis,
        postgres.fresh_database() as url,
        places.deployment(DATABASE_URL=url) as (_, made),
    ):
        context = replace(made, limits=NO_LIMITS, now=lambda: datetime.now(UTC) + timedelta(hours=1))
        for size in SIZES:
            yield from _among(context, url, redis, int(size * scale), held_to=size == HELD_TO)


def _among(context: Context, url: str, redis: str, rows: int, *, held_to: bool) -> Iterator[Row]:
    """Yield the figures of so many inboxes; fewer are dispatched where there are no more."""
    _fill(url, rows)
    _claims(context, WARM)
    took = statistics.median(_claims(context, CLAIMS))
    what = f"claim of {pipeline.AT_ONCE} among {rows:,} inboxes, median"
    yield at_most(what, took, "ms", 5) if held_to else Row(what=what, figure=took, unit="ms")
    rate = _dispatched(context, redis, min(DISPATCHED, rows - pipeline.AT_ONCE))
    what = f"dispatched by one scheduler among {rows:,} inboxes"
    yield at_least(what, rate, "inboxes/s", 2_000) if held_to else Row(what=what, figure=rate, unit="inboxes/s")


def _fill(url: str, rows: int) -> None:
    """Connect so many inboxes that are due one after the other."""
    values = {"rows": rows, "blocks": CURSOR_BLOCKS, "accounts": ACCOUNTS}
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("TRUNCATE inboxes, leases CASCADE")
        connection.execute(OWNERS, values)
        connection.execute(INBOXES, values)
        connection.execute("VACUUM ANALYZE inboxes")


def _claims(context: Context, number: int) -> list[float]:
    """Claim lot after lot, each saved as its polls would; return the milliseconds of each claim."""
    spent = []
    for _ in range(number):
        started = time.perf_counter()
        taken = pipeline.claim_due(context)
        spent.append(1_000 * (time.perf_counter() - started))
        assert len(taken) == pipeline.AT_ONCE
        _release(context, [inbox for inbox, _ in taken])
    return spent


def _release(context: Context, ids: list[str]) -> None:
    """Have inboxes due again after all others, their cursor moved on: all of them in one transaction."""
    with writing(context.engine) as connection:
        connection.execute(sa.text(AGAIN), {"ids": ids})
        connection.execute(sa.text("DELETE FROM leases WHERE inbox_id = ANY(:ids)"), {"ids": ids})


def _dispatched(context: Context, redis: str, number: int) -> float:
    """Return how many inboxes a second are claimed and enqueued, while the limits have those in flight counted."""
    limited = replace(context, limits=replace(NO_LIMITS, total=5_000))
    app = make_app(config.read({"REDIS_URL": redis, "DATABASE_URL": "postgresql://nowhere/x"}))
    tasks._dispatch(app, limited, pipeline.AT_ONCE, Event())
    started = time.perf_counter()
    sent = tasks._dispatch(app, limited, number, Event())
    spent = time.perf_counter() - started
    assert sent == number
    return sent / spent
