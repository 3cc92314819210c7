"""The memory of a worker: over 100,000 messages, with one of 50 MB, and of a child that reads IMAP only.

The first two are a process's resident size as it goes (VmRSS); the child's is its share (PSS) of what prefork shares.
"""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks.load import places
from tests.benchmarks.load.rows import Row, at_most
from tests.fakes.notices import ordinary
from tests.live.deployment import Deployment
from tests.live.mailstack import MailStack
from tests.live.servers import postgres_server, redis_server

MESSAGES = 100_000
NOTICES_IN = 100
"""One message of so many is a notice."""
LARGE = 50 * 1024 * 1024
MEGABYTE = 1024 * 1024
PARTS = 10


def measure(scale: float) -> Iterator[Row]:
    """Yield the rows."""
    with tempfile.TemporaryDirectory() as folder:
        yield from _many(Path(folder), int(MESSAGES * scale))
    yield from _child()


def _many(folder: Path, messages: int) -> Iterator[Row]:
    variables = places.environment(folder)
    command = [sys.executable, "-m", "tests.benchmarks.load.memory", str(folder), str(messages)]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=True)
    *sizes, large = [int(line) / MEGABYTE for line in done.stdout.split()]
    yield Row(what=f"memory after {messages // PARTS:,} messages", figure=sizes[0], unit="MB")
    beside = {"beside": f"that after {messages // PARTS:,}", "ratio": sizes[-1] / sizes[0]}
    yield Row(what=f"memory after {messages:,} messages", figure=sizes[-1], unit="MB", **beside)
    yield Row(what="the same after a notice of 50 MB", figure=large, unit="MB")


def _run(folder: Path, messages: int) -> None:
    """Read many messages in this process, each part of them in an inbox of its own, and print its size after each."""
    from worker import config, pipeline, wiring

    context = wiring.make_context(config.read())
    places.register(context, range(messages // NOTICES_IN))
    part = messages // PARTS
    for start in range(0, messages, part):
        mail = folder / f"mail-{start}"
        places.fill_maildir(mail, [])
        inbox = places.add_maildir_inbox(context, mail, f"inbox-{start}")
        for number in range(start, start + part):
            raw = places.notice(number // NOTICES_IN) if number % NOTICES_IN == 0 else ordinary(number)
            (mail / "new" / f"{1_700_000_000 + number}.mail").write_bytes(raw)
        for batch in pipeline.batches(places.poll_all(context, inbox)):
            pipeline.process(context, inbox.id, batch, "benchmark")
        print(_resident(), flush=True)
    head, _, tail = places.notice(0).partition(b"Your message could not be delivered.")
    with (mail / "new" / "1800000000.large").open("wb") as file:
        file.write(head.replace(b"notice-0@", b"notice-large@"))
        for _ in range(LARGE // MEGABYTE):
            file.write(b"x" * MEGABYTE)
        file.write(tail)
    for batch in pipeline.batches(places.poll_all(context, inbox)):
        pipeline.process(context, inbox.id, batch, "benchmark")
    print(_resident())


def _resident() -> int:
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) * 1024


def _child() -> Iterator[Row]:
    with (
        MailStack() as stack,
        redis_server() as redis,
        postgres_server() as postgres,
        postgres.fresh_database() as database,
        tempfile.TemporaryDirectory() as folder,
        Deployment(Path(folder), REDIS_URL=redis, DATABASE_URL=database, INBOX_PASSWORD=stack.password) as deployment,
    ):
        address = stack.fresh_inbox()
        deployment.command(
            *("inbox", "add", "alice", "--account", "acme", "--address", address, "--provider", "imap"),
            *("--host", stack.host, "--port", str(stack.ports.imaps), "--ca-file", str(stack.ca_file)),
            *("--password-env", "INBOX_PASSWORD", "--since", "2020-01-01"),
        )
        stack.deliver_all([places.notice(number) for number in range(200)], user=address)
        worker = deployment.start("worker", "--concurrency", "2")
        deployment.start("scheduler")
        deployment.until(
            lambda: sum(row["notices"].get("unmatched", 0) for row in deployment.rows("inbox", "list")) == 200,
            "all notices are read",
        )
        children = Path(f"/proc/{worker.pid}/task/{worker.pid}/children").read_text().split()
        shares = [_share(int(child)) for child in children]
    yield at_most("a worker's child that reads IMAP only (PSS)", max(shares) / MEGABYTE, "MB", 90)


def _share(process: int) -> int:
    rollup = Path(f"/proc/{process}/smaps_rollup").read_text()
    return int(rollup.partition("\nPss:")[2].split()[0]) * 1024


if __name__ == "__main__":
    _run(Path(sys.argv[1]), int(sys.argv[2]))
