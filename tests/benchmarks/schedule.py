"""What claiming and enqueueing due inboxes costs, on a PostgreSQL that writes to disk and a real Redis.

    schedule.py [--json] [--rows 10000 100000 1000000]

A row a number of inboxes: how long a claim of 100 takes, how many inboxes a second one scheduler hands to the queue,
and how many it claims a second after each has been claimed and saved some times over (dead rows and all).
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event

import sqlalchemy as sa

from tests.live.servers import postgres_server, redis_server
from worker import config, pipeline, tasks
from worker.app import make_app
from worker.classify import default_rule_paths, load_rules
from worker.pipeline import Context
from worker.schedule import Limits
from worker.store.database import migrate, open_engine, writing
from worker.store.keyring import KeyRing, load_digester, new_key

ROWS = (10_000, 100_000, 1_000_000)
CLAIMS = 200
ACCOUNTS = 500
NO_LIMITS = Limits(total=10**9, provider=10**9, account=10**9, host=10**9)
CURSOR_BYTES = 600
"""A cursor of IMAP has some 100 bytes, the delta links of Graph have some thousands."""


INBOXES = """
INSERT INTO inboxes (id, account, name, address, provider, settings, state, cursor, since, failures, next_poll_at,
    lease_token, created_at, host)
SELECT md5(n::text), 'account-' || n % :accounts, 'inbox-' || n, 'inbox-' || n || '@acme.example', 'imap',
    repeat('s', 300), 'active', (SELECT string_agg(md5(n::text || i::text), '') FROM generate_series(1, :blocks) i),
    now(), 0, now() - interval '1 day' + n * interval '1 ms', 0, now(), 'imap-' || n % 5000 || '.example'
FROM generate_series(1, :rows) n
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Times in milliseconds, rates in inboxes a second."""

    rows: int
    claim_ms: float
    claim_ms_p99: float
    limited_ms: float
    dispatched: float
    polls: float
    claim_ms_worn: float


def fill(context: Context, rows: int) -> None:
    """Connect `rows` inboxes that are due one after the other."""
    with writing(context.engine) as connection:
        connection.execute(sa.text("TRUNCATE inboxes, leases CASCADE"))
        connection.execute(
            sa.text(
                "INSERT INTO accounts (name, policy, unenroll_on, created_at) SELECT 'account-' || n, 'hubspot', '[]',"
                " now() FROM generate_series(0, :last) n ON CONFLICT DO NOTHING"
            ),
            {"last": ACCOUNTS - 1},
        )
        values = {"rows": rows, "blocks": CURSOR_BYTES // 32, "accounts": ACCOUNTS}
        connection.execute(sa.text(INBOXES), values)
    with context.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sa.text("SET statement_timeout = 0"))
        connection.execute(sa.text("VACUUM ANALYZE inboxes"))


def claims(context: Context, number: int) -> list[float]:
    """Claim batch after batch, each saved as its polls would; return the milliseconds of each claim."""
    spent = []
    for _ in range(number):
        start = time.perf_counter()
        taken = pipeline.claim_due(context)
        spent.append((time.perf_counter() - start) * 1_000)
        assert len(taken) == pipeline.AT_ONCE
        release(context, [inbox for inbox, _ in taken])
    return spent


def release(context: Context, ids: list[str]) -> None:
    """Have inboxes due again after all others, their cursor moved on: all of them in one transaction."""
    with writing(context.engine) as connection:
        connection.execute(
            sa.text(
                "UPDATE inboxes SET lease_until = NULL, next_poll_at = next_poll_at + interval '15 min',"
                " last_poll_at = now(), cursor = md5(random()::text) || substr(cursor, 33) WHERE id = ANY(:ids)"
            ),
            {"ids": ids},
        )
        connection.execute(sa.text("DELETE FROM leases WHERE inbox_id = ANY(:ids)"), {"ids": ids})


def dispatched(context: Context, redis_url: str, number: int) -> float:
    """Return how many inboxes a second are claimed and enqueued."""
    environment = {"REDIS_URL": redis_url, "DATABASE_URL": "postgresql://nowhere/x"}
    app = make_app(config.read(environment))
    tasks._dispatch(app, context, pipeline.AT_ONCE, Event())
    start = time.perf_counter()
    sent = tasks._dispatch(app, context, number, Event())
    spent = time.perf_counter() - start
    assert sent == number
    return sent / spent


def measure(context: Context, redis_url: str, rows: int) -> Measured:
    fill(context, rows)
    claims(context, 10)
    fresh = claims(context, CLAIMS)
    # As much in flight as the limits let there be, so that counting it is part of the claim.
    limited = replace(context, limits=replace(NO_LIMITS, total=5_000))
    rate = dispatched(limited, redis_url, 2_900)
    counting = claims(limited, CLAIMS // 4)
    with writing(context.engine) as connection:
        held = connection.execute(sa.text("SELECT inbox_id FROM leases")).scalars().all()
    release(context, list(held))
    start = time.perf_counter()
    worn = claims(context, 5 * CLAIMS)
    polls = 5 * CLAIMS * pipeline.AT_ONCE / (time.perf_counter() - start)
    return Measured(
        rows=rows,
        claim_ms=statistics.median(fresh),
        claim_ms_p99=statistics.quantiles(fresh, n=100)[98],
        limited_ms=statistics.median(counting),
        dispatched=rate,
        polls=polls,
        claim_ms_worn=statistics.median(worn[-CLAIMS:]),
    )


@contextmanager
def world() -> Iterator[tuple[Context, str]]:
    ring = KeyRing.parse([new_key()])
    with postgres_server(durable=True) as server, server.fresh_database() as url, redis_server() as redis_url:
        engine = open_engine(url)
        migrate(engine)
        with writing(engine) as connection:
            digest = load_digester(connection, ring)
        yield (
            Context(
                engine=engine,
                ring=ring,
                digest=digest,
                rules=load_rules(default_rule_paths()),
                connect=lambda _: None,
                limits=NO_LIMITS,
                now=lambda: datetime.now(UTC) + timedelta(hours=1),
            ),
            redis_url,
        )
        engine.dispose()


def show(measured: Measured) -> str:
    return (
        f"| {measured.rows:,} | {measured.claim_ms:.1f} | {measured.claim_ms_p99:.1f} | {measured.limited_ms:.1f} |"
        f" {measured.claim_ms_worn:.1f} | {measured.dispatched:,.0f} | {measured.polls:,.0f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=Path(__file__).name)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rows", type=int, nargs="+", default=ROWS)
    arguments = parser.parse_args()
    if not arguments.json:
        print(
            "| inboxes | claim of 100, ms | p99 | with 3,000 held | after wear | dispatched/s | claimed and saved/s |"
        )
        print("| ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    with world() as (context, redis_url):
        for rows in arguments.rows:
            measured = measure(context, redis_url, rows)
            print(json.dumps(asdict(measured)) if arguments.json else show(measured))
            sys.stdout.flush()


if __name__ == "__main__":
    main()
