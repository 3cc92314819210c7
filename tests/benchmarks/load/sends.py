"""Sends registered a second, and look-ups among many: by id, as a notice names one, on PostgreSQL.

The many are written by COPY, as registering them one by one would take most of the time; the look-ups are the
pipeline's own.
"""

import time
from collections.abc import Iterator
from random import Random

import psycopg
import sqlalchemy as sa

from tests.benchmarks.load import places
from tests.benchmarks.load.rows import Row, at_most, percentile
from tests.live.servers import postgres_server
from worker.match import Key
from worker.pipeline import Context
from worker.store import sends
from worker.store.database import reading

REGISTERED = 50_000
SIZES = (100_000, 1_000_000, 10_000_000)
LOOKUPS = 2_000
ACCOUNTS = 100


def measure(scale: float) -> Iterator[Row]:
    """Yield the rows."""
    with (
        postgres_server(durable=True) as postgres,
        postgres.fresh_database() as url,
        places.deployment(DATABASE_URL=url) as (_, context),
    ):
        number = int(REGISTERED * scale)
        started = time.perf_counter()
        places.register(context, range(number))
        rate = number / (time.perf_counter() - started)
        yield Row(what="sends registered (1,000 a transaction, one connection)", figure=rate, unit="sends/s")
        yield from _lookups(context, url, [int(size * scale) for size in SIZES])


def _lookups(context: Context, url: str, sizes: list[int]) -> Iterator[Row]:
    first: float | None = None
    written = 0
    for size in sizes:
        _fill(context, url, range(written, size))
        written = size
        took = _look_up(context, size)
        p50, p99 = percentile(took, 0.5), percentile(took, 0.99)
        first = first or p50
        beside = {"beside": f"that among {sizes[0]:,}", "ratio": p50 / first}
        yield Row(what=f"look-up by Message-ID among {size:,} sends, p50", figure=p50, unit="ms", **beside)
        yield at_most(f"look-up by Message-ID among {size:,} sends, p99", p99, "ms", 0.5)


def _fill(context: Context, url: str, numbers: range) -> None:
    """Write sends of many accounts, with their recipients and keys."""
    with psycopg.connect(url) as connection, connection.cursor() as cursor:
        for table, columns, row in (
            ("sends", "account, id, inbox, kind, sent_at, message_id, registered_at", _send),
            ("send_recipients", "account, send_id, address_key, address, contact_id, role", _recipient),
        ):
            with cursor.copy(f"COPY {table} ({columns}) FROM STDIN") as copy:
                for number in numbers:
                    copy.write_row(row(number))
        with cursor.copy("COPY send_keys (account, digest, send_id) FROM STDIN") as copy:
            for number in numbers:
                account = _account(number)
                digest = context.digest(account, "message_id", f"many-{number}@crm.example")
                copy.write_row((account, digest, f"many-{number}"))
    with context.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sa.text("VACUUM ANALYZE"))


def _account(number: int) -> str:
    return f"account-{number % ACCOUNTS}"


def _send(number: int) -> tuple[object, ...]:
    at = places.LONG_AGO
    return _account(number), f"many-{number}", "alice", "one_to_one", at, f"many-{number}@crm.example", at


def _recipient(number: int) -> tuple[object, ...]:
    address = f"p{number}@customer.example"
    return _account(number), f"many-{number}", address, address, f"c-{number}", "to"


def _look_up(context: Context, size: int) -> list[float]:
    """Return how long each look-up took, in milliseconds, once the pages that they touch are warm."""
    chance = Random(7)
    wanted = [chance.randrange(size) for _ in range(LOOKUPS)]
    took: list[float] = []
    for turn in range(2):
        took = []
        with reading(context.engine) as connection:
            for number in wanted:
                key = Key("message_id", f"many-{number}@crm.example")
                digest = context.digest(_account(number), key.name, key.value)
                started = time.perf_counter()
                found = sends.ids_by_digest(connection, _account(number), [digest])
                took.append(1_000 * (time.perf_counter() - started))
                assert [each.send_id for each in found] == [f"many-{number}"], turn
    return took
