"""Sends registered a second, and look-ups among many: by id, as a notice names one, on PostgreSQL.

The many are made by the server, as registering them one by one would take most of the time; their keys are no keys of
ours, except for those that are looked up. The look-ups are the pipeline's own.
"""

import time
from collections.abc import Collection, Iterator
from random import Random

import psycopg

from tests.benchmarks.load import places
from tests.benchmarks.load.rows import Row, at_most, percentile
from tests.live.servers import postgres_server
from worker.pipeline import Context
from worker.store import sends
from worker.store.database import reading
from worker.store.keyring import DIGEST_BYTES

REGISTERED = 50_000
SIZES = (100_000, 1_000_000, 10_000_000)
LOOKUPS = 2_000
ACCOUNTS = 100

SENDS = """
INSERT INTO sends (account, id, inbox, kind, sent_at, message_id, registered_at)
SELECT concat('account-', n %% %(accounts)s), 'many-' || n, 'alice', 'one_to_one', %(at)s,
    'many-' || n || '@crm.example', %(at)s
FROM generate_series(%(first)s::int, %(last)s::int) n
"""
RECIPIENTS = """
INSERT INTO send_recipients (account, send_id, address_key, address, contact_id, role)
SELECT concat('account-', n %% %(accounts)s), 'many-' || n, address, address, 'c-' || n, 'to'
FROM generate_series(%(first)s::int, %(last)s::int) n, concat('p', n, '@customer.example') address
"""
KEYS = """
INSERT INTO send_keys (account, digest, send_id)
SELECT concat('account-', n %% %(accounts)s), substr(sha256(n::text::bytea), 1, %(bytes)s), 'many-' || n
FROM generate_series(%(first)s::int, %(last)s::int) n
"""


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
    chance = Random(7)
    for size in sizes:
        wanted = [chance.randrange(size) for _ in range(LOOKUPS)]
        _fill(context, url, range(written, size), wanted)
        written = size
        took = _look_up(context, wanted)
        p50, p99 = percentile(took, 0.5), percentile(took, 0.99)
        first = first or p50
        beside = {"beside": f"that among {sizes[0]:,}", "ratio": p50 / first}
        yield Row(what=f"look-up by Message-ID among {size:,} sends, p50", figure=p50, unit="ms", **beside)
        yield at_most(f"look-up by Message-ID among {size:,} sends, p99", p99, "ms", 0.5)


def _fill(context: Context, url: str, numbers: range, wanted: Collection[int]) -> None:
    """Write sends of many accounts, with their recipients and keys; `wanted` get the keys that look-ups ask for."""
    values = {"first": numbers.start, "last": numbers.stop - 1, "accounts": ACCOUNTS, "at": places.LONG_AGO}
    values["bytes"] = DIGEST_BYTES
    keys = [(_account(number), _digest(context, number), _id(number)) for number in set(wanted)]
    with psycopg.connect(url, autocommit=True) as connection, connection.cursor() as cursor:
        for statement in (SENDS, RECIPIENTS, KEYS):
            cursor.execute(statement, values)
        cursor.executemany("INSERT INTO send_keys VALUES (%s, %s, %s) ON CONFLICT DO NOTHING", keys)
        cursor.execute("VACUUM ANALYZE")


def _account(number: int) -> str:
    return f"account-{number % ACCOUNTS}"


def _id(number: int) -> str:
    return f"many-{number}"


def _digest(context: Context, number: int) -> bytes:
    return context.digest(_account(number), "message_id", f"{_id(number)}@crm.example")


def _look_up(context: Context, wanted: Collection[int]) -> list[float]:
    """Return how long each look-up took, in milliseconds, once the pages that they touch are warm."""
    took: list[float] = []
    for turn in range(2):
        took = []
        with reading(context.engine) as connection:
            for number in wanted:
                digest = _digest(context, number)
                started = time.perf_counter()
                found = sends.ids_by_digest(connection, _account(number), [digest])
                took.append(1_000 * (time.perf_counter() - started))
                assert [each.send_id for each in found] == [_id(number)], turn
    return took
