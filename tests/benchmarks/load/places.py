"""Databases and mailboxes of the size that a measurement needs."""

import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from connectors import MaildirSettings
from tests.fakes.notices import dsn
from tests.fakes.sends import sent
from worker import admin, config, pipeline, wiring
from worker.pipeline import Context
from worker.store.inboxes import Inbox
from worker.store.keyring import new_key

KEY = os.environ["BOUNCE_WORKER_KEYS"] = new_key()  # the key ring is read from the environment alone
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


def environment(folder: Path, **more: str) -> dict[str, str]:
    """Return the environment of a deployment in `folder`."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "PYTHONPATH": str(Path(__file__).resolve().parents[3]),
        "BOUNCE_WORKER_DATA": str(folder / "data"),
        "BOUNCE_WORKER_KEYS": KEY,
        "BOUNCE_WORKER_SENDS_DAYS": "0",  # what is measured has fixed dates
        **more,
    }


@contextmanager
def deployment(**more: str) -> Iterator[tuple[dict[str, str], Context]]:
    """Yields a deployment's environment, and its context in this process."""
    with tempfile.TemporaryDirectory() as folder:
        variables = environment(Path(folder), **more)
        context = wiring.make_context(config.read(variables))
        try:
            yield variables, context
        finally:
            context.engine.dispose()


def fill_maildir(folder: Path, numbers: Iterable[int]) -> None:
    """Write a notice for each number."""
    for name in ("new", "cur", "tmp"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for number in numbers:
        (folder / "new" / f"{1_700_000_000 + number}.notice").write_bytes(notice(number))


def notice(number: int) -> bytes:
    """Return the notice about send `number`."""
    failed = [(f"p{number}@customer.example", "failed", "5.1.1", "smtp; 550 5.1.1 User unknown")]
    return dsn(f"send-{number}@crm.example", failed, own_id=f"notice-{number}@mx.example")


def register(context: Context, numbers: range) -> None:
    """Register sends by number."""
    for start in range(numbers.start, numbers.stop, 10_000):
        batch = [sent(n, f"p{n}@customer.example") for n in range(start, min(start + 10_000, numbers.stop))]
        pipeline.register(context, batch)


def add_maildir_inbox(context: Context, folder: Path, name: str = "alice") -> Inbox:
    """Connect a Maildir."""
    request = admin.InboxRequest(
        account="acme",
        name=name,
        address=f"{name}@acme.example",
        settings=MaildirSettings(path=str(folder)),
        since=LONG_AGO,
        trusted=True,
    )
    return admin.add_inbox(context, request)


def poll_all(context: Context, inbox: Inbox) -> list[int]:
    """Poll an inbox to its end; return its notices, pending."""
    found: list[int] = []
    while True:
        token = pipeline.claim(context, inbox.id)
        assert token is not None
        polled = pipeline.poll(context, inbox.id, token)
        assert polled.error is None, polled.error
        found += polled.notice_ids
        if not polled.has_more:
            return found
