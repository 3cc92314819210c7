"""From a notice's arrival in Dovecot to the contact's timeline: at rest and under load, by IDLE and by polling.

The clock starts when the server has taken the notice, and stops at the moment that the database recorded.
"""

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import psycopg

from tests.benchmarks.load import places
from tests.benchmarks.load.rows import Row, at_most, percentile
from tests.live.deployment import Deployment
from tests.live.mailstack import MailStack
from tests.live.servers import postgres_server, redis_server
from tests.web.api import send

INBOXES = 5
AT_REST = 20
LOADED = 1_500
A_SECOND = 50
POLL_SECONDS = 10


def measure(scale: float) -> Iterator[Row]:
    """Yield the rows."""
    for name, watched in (("IDLE", True), (f"polling every {POLL_SECONDS} s", False)):
        with _deployment(watched=watched) as (stack, database, addresses):
            rest = _deliver(stack, database, addresses, range(int(AT_REST * scale)), 1.0)
            load = _deliver(stack, database, addresses, range(10_000, 10_000 + int(LOADED * scale)), 1 / A_SECOND)
        yield Row(what=f"arrival to timeline by {name}, at rest, p50", figure=percentile(rest, 0.5), unit="s")
        yield Row(what=f"arrival to timeline by {name}, at rest, p99", figure=percentile(rest, 0.99), unit="s")
        yield Row(what=f"… {A_SECOND} notices a second, p50", figure=percentile(load, 0.5), unit="s")
        p99 = percentile(load, 0.99)
        what = f"… {A_SECOND} notices a second, p99"
        yield at_most(what, p99, "s", 5) if watched else Row(what=what, figure=p99, unit="s")


@contextmanager
def _deployment(*, watched: bool) -> Iterator[tuple[MailStack, str, list[str]]]:
    seconds = "3600" if watched else str(POLL_SECONDS)
    with (
        MailStack() as stack,
        redis_server() as redis,
        postgres_server(durable=True) as postgres,
        postgres.fresh_database() as database,
        tempfile.TemporaryDirectory() as folder,
        Deployment(
            Path(folder),
            REDIS_URL=redis,
            DATABASE_URL=database,
            INBOX_PASSWORD=stack.password,
            BOUNCE_WORKER_POLL_SECONDS=seconds,
        ) as deployment,
    ):
        addresses = [stack.fresh_inbox() for _ in range(INBOXES)]
        for number, address in enumerate(addresses):
            deployment.command(
                *("inbox", "add", f"i{number}", "--account", "acme", "--address", address, "--provider", "imap"),
                *("--host", stack.host, "--port", str(stack.ports.imaps), "--ca-file", str(stack.ca_file)),
                *("--password-env", "INBOX_PASSWORD"),
            )
        numbers = [*range(AT_REST), *range(10_000, 10_000 + LOADED)]
        deployment.register([_send(number) for number in numbers])
        deployment.start("worker", "--concurrency", "2")
        deployment.start("scheduler")
        if watched:
            deployment.start("watch")
            deployment.until(lambda: f"Watching {INBOXES} inboxes" in deployment.logs(), "all inboxes are watched")
        deployment.until(
            lambda: all(row["caught_up_at"] for row in deployment.rows("inbox", "list")), "every inbox was read once"
        )
        yield stack, database, addresses


def _send(number: int) -> dict[str, object]:
    to = [{"address": f"p{number}@customer.example", "contact_id": f"c-{number}"}]
    sent_at = datetime.now(UTC).isoformat()
    return send(number, account="acme", recipients=to, inbox=f"i{number % INBOXES}", sent_at=sent_at)


def _deliver(stack: MailStack, database: str, addresses: list[str], numbers: range, every: float) -> list[float]:
    """Deliver a notice every so many seconds; return how long each took to its timeline."""
    arrived: dict[str, datetime] = {}
    begun = time.monotonic()
    for place, number in enumerate(numbers):
        time.sleep(max(0.0, begun + place * every - time.monotonic()))
        stack.deliver_all([places.notice(number)], user=addresses[number % INBOXES])
        arrived[f"s-{number}"] = datetime.now(UTC)
    found: dict[str, datetime] = {}
    end = time.monotonic() + 120
    with psycopg.connect(database, autocommit=True) as connection:
        while not arrived.keys() <= found.keys():
            assert time.monotonic() < end, f"{len(arrived.keys() - found.keys())} never came"
            found = dict(connection.execute("SELECT send_id, recorded_at FROM bounces").fetchall())
            time.sleep(0.2)
    return [(found[name] - moment).total_seconds() for name, moment in arrived.items()]
