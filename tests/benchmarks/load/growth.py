"""How large the database grows: by table, for a million sends of which two in a hundred bounce."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg

from tests.benchmarks.load import places
from tests.benchmarks.load.rows import Row
from tests.live.servers import postgres_server
from worker import pipeline

SENDS = 100_000
BOUNCES_IN = 50
GIGABYTE = 1024**3
SIZES = """
    SELECT relname, pg_total_relation_size(oid) FROM pg_class
    WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
"""


def measure(scale: float) -> Iterator[Row]:
    """Yield the rows."""
    sends = int(SENDS * scale)
    with (
        postgres_server(durable=True) as postgres,
        postgres.fresh_database() as url,
        places.deployment(DATABASE_URL=url) as (_, context),
        tempfile.TemporaryDirectory() as folder,
    ):
        before = _sizes(url)
        places.register(context, range(sends))
        places.fill_maildir(Path(folder), range(0, sends, BOUNCES_IN))
        inbox = places.add_maildir_inbox(context, Path(folder))
        for batch in pipeline.batches(places.poll_all(context, inbox)):
            pipeline.process(context, inbox.id, batch, "benchmark")
        pipeline.carry(context)
        grown = {name: size - before.get(name, 0) for name, size in _sizes(url).items()}
    of_sends = {"sends", "send_recipients", "send_keys"}
    times = 1_000_000 / sends / GIGABYTE
    for name, size in sorted(grown.items(), key=lambda item: -item[1])[:8]:
        yield Row(what=f"table {name}, a million sends", figure=size * times, unit="GB")
    kept = sum(size for name, size in grown.items() if name in of_sends)
    yield Row(what="sends, their recipients and keys, a million sends", figure=kept * times, unit="GB")
    rest = sum(grown.values()) - kept
    yield Row(what=f"all else, 1 bounce in {BOUNCES_IN}", figure=rest * times, unit="GB")


def _sizes(url: str) -> dict[str, int]:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")
        return dict(connection.execute(SIZES).fetchall())
