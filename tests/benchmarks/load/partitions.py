"""What partitions by month would bring: a copy of the three tables, made here only.

A key of a partitioned table must hold the month's column, so the copies of recipients and keys carry `sent_at` too. And
nothing keeps one id from standing in two months: the product would have to.
"""

import hashlib
import time
from collections.abc import Iterator
from random import Random

import psycopg

from tests.benchmarks.load import places
from tests.benchmarks.load.rows import Row, percentile
from tests.live.servers import postgres_server
from worker.pipeline import Context
from worker.store import retention
from worker.store.database import writing

MONTHS = 13
A_MONTH = 50_000
LOOKUPS = 1_000
KEYS = 40
"""What a batch of twenty notices may name."""
ACCOUNTS = 100
MONTH = "timestamptz '2020-01-01' + interval '{} month'"
MEGABYTE = 1024**2

NUMBERED = f"""
    WITH numbered AS (
        SELECT n, 'account-' || n %% {ACCOUNTS} AS account, 's-' || n AS id, 'p' || n || '@customer.example' AS address,
            timestamptz '2020-01-01' + interval '1 month' * (n / %(month)s)
                + interval '27 days' * (n %% %(month)s) / %(month)s AS at
        FROM generate_series(0, %(sends)s - 1) AS n
    )
"""
FILL = (
    """
    INSERT INTO sends (account, id, inbox, kind, sent_at, message_id, registered_at)
    SELECT account, id, 'alice', 'one_to_one', at, 'send-' || n || '@crm.example', at FROM numbered
    """,
    """
    INSERT INTO send_recipients (account, send_id, address_key, address, contact_id, role)
    SELECT account, id, address, address, 'c-' || n, 'to' FROM numbered
    """,
    "INSERT INTO send_keys (account, digest, send_id) SELECT account, decode(md5(n::text), 'hex'), id FROM numbered",
)
COPIES = (
    "CREATE TABLE month_sends (LIKE sends) PARTITION BY RANGE (sent_at)",
    "CREATE TABLE month_send_recipients (LIKE send_recipients, sent_at timestamptz) PARTITION BY RANGE (sent_at)",
    "CREATE TABLE month_send_keys (LIKE send_keys, sent_at timestamptz) PARTITION BY RANGE (sent_at)",
    "ALTER TABLE month_sends ADD PRIMARY KEY (account, id, sent_at)",
    "CREATE INDEX ON month_sends (account, inbox, sent_at)",
    "ALTER TABLE month_send_recipients ADD PRIMARY KEY (account, send_id, address_key, sent_at)",
    "CREATE INDEX ON month_send_recipients (account, address_key)",
    "ALTER TABLE month_send_keys ADD PRIMARY KEY (account, digest, send_id, sent_at)",
)
COPY = (
    "INSERT INTO month_sends SELECT * FROM sends",
    """
    INSERT INTO month_send_recipients
    SELECT r.*, s.sent_at FROM send_recipients r JOIN sends s ON s.account = r.account AND s.id = r.send_id
    """,
    """
    INSERT INTO month_send_keys
    SELECT k.*, s.sent_at FROM send_keys k JOIN sends s ON s.account = k.account AND s.id = k.send_id
    """,
)
TABLES = ("sends", "send_recipients", "send_keys")
SIZE = "SELECT sum(pg_total_relation_size(oid)) FROM pg_class WHERE relkind = 'r' AND relname ~ %s"
WHOLE, PARTED = "^send(s|_recipients|_keys)$", "^month_send(s|_recipients|_keys)_"


def measure(scale: float) -> Iterator[Row]:
    """Yield the rows."""
    month = int(A_MONTH * scale)
    with (
        postgres_server(durable=True) as postgres,
        postgres.fresh_database() as url,
        places.deployment(DATABASE_URL=url) as (_, context),
        psycopg.connect(url, autocommit=True) as connection,
    ):
        _make(connection, month)
        yield from _looked_up(connection, month)
        sizes = {which: _size(connection, which) for which in (WHOLE, PARTED)}
        yield Row(what=f"{MONTHS} months of {month:,} sends, one table each", figure=sizes[WHOLE] / MEGABYTE, unit="MB")
        parted = {"beside": "one table each", "ratio": sizes[PARTED] / sizes[WHOLE]}
        yield Row(what="the same by month", figure=sizes[PARTED] / MEGABYTE, unit="MB", **parted)
        started = time.perf_counter()
        with connection.transaction():
            for table in TABLES:
                connection.execute(f"DROP TABLE month_{table}_0")
        dropped = time.perf_counter() - started
        gone = (sizes[PARTED] - _size(connection, PARTED)) / MEGABYTE
        deleted = _delete_oldest(context, connection, month)
        back = (sizes[WHOLE] - _size(connection, WHOLE)) / MEGABYTE
        yield Row(
            what="a month dropped as partitions", figure=dropped, unit="s", beside="deleted", ratio=dropped / deleted
        )
        yield Row(what="a month deleted in lots, and vacuumed", figure=deleted, unit="s")
        yield Row(what="given back to the disk by dropping partitions", figure=gone, unit="MB")
        yield Row(what="given back to the disk by deleting (the rest is used again)", figure=back, unit="MB")


def _make(connection: psycopg.Connection, month: int) -> None:
    """Fill the product's own tables, and the copies."""
    for statement in FILL:
        connection.execute(NUMBERED + statement, {"month": month, "sends": month * MONTHS})
    for statement in COPIES:
        connection.execute(statement)
    for number in range(MONTHS):
        for table in TABLES:
            ((first, last),) = connection.execute(f"SELECT {MONTH.format(number)}, {MONTH.format(number + 1)}")
            connection.execute(
                f"CREATE TABLE month_{table}_{number} PARTITION OF month_{table}"
                f" FOR VALUES FROM ('{first}') TO ('{last}')"
            )
    for statement in COPY:
        connection.execute(statement)
    connection.execute("VACUUM ANALYZE")


def _looked_up(connection: psycopg.Connection, month: int) -> Iterator[Row]:
    """Yield what a look-up by key costs, once its pages are warm: which month it is in, the key doesn't say."""
    whole = percentile(_look_up(connection, "send_keys", month), 0.5)
    parted = percentile(_look_up(connection, "month_send_keys", month), 0.5)
    yield Row(what=f"look-up of {KEYS} keys in one table, p50", figure=whole, unit="ms")
    beside = {"beside": "in one table", "ratio": parted / whole}
    yield Row(what=f"look-up of {KEYS} keys over {MONTHS} partitions, p50", figure=parted, unit="ms", **beside)


def _look_up(connection: psycopg.Connection, table: str, month: int) -> list[float]:
    query = f"SELECT send_id FROM {table} WHERE account = %s AND digest = ANY (%s)"
    took: list[float] = []
    for _ in range(2):
        chance = Random(7)
        took = []
        for _ in range(LOOKUPS):
            account = chance.randrange(ACCOUNTS)
            numbers = chance.sample(range(account, month * MONTHS, ACCOUNTS), KEYS)
            digests = [hashlib.md5(str(number).encode(), usedforsecurity=False).digest() for number in numbers]
            started = time.perf_counter()
            found = connection.execute(query, (f"account-{account}", digests), prepare=True).fetchall()
            took.append(1_000 * (time.perf_counter() - started))
            assert {name for (name,) in found} == {f"s-{number}" for number in numbers}
    return took


def _delete_oldest(context: Context, connection: psycopg.Connection, month: int) -> float:
    """Delete the oldest month as the product does; return how many seconds that and a vacuum took."""
    started = time.perf_counter()
    gone = 0
    while gone < month:
        with writing(context.engine) as own:
            gone += retention.drop_sends(own, places.LONG_AGO.replace(month=2))
    for table in TABLES:
        connection.execute(f"VACUUM {table}")
    return time.perf_counter() - started


def _size(connection: psycopg.Connection, names: str) -> int:
    ((size,),) = connection.execute(SIZE, (names,))
    return int(size)
