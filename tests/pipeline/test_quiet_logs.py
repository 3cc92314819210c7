"""What goes wrong is logged, and nobody's words with it: not of mail, nor of exceptions, nor of a database."""

import io
import json
import logging
import sys
from collections.abc import Iterator
from dataclasses import replace

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from connectors import AuthRequired
from tests.fakes.notices import dsn
from tests.fakes.sends import sent
from tests.fakes.world import World
from worker import pipeline
from worker.store import ledger
from worker.store.database import writing
from worker.store.schema import meta
from worker.telemetry import logs

WORDS = ("customer.example", "acme.example", "canary", "Offer", "Undelivered")


@pytest.fixture
def lines(world: World) -> Iterator[io.StringIO]:
    root = logging.getLogger()
    before = root.handlers[:], root.level
    out = io.StringIO()
    logs.configure("test", as_json=True, level=logging.INFO, stream=out)
    world.context = replace(world.context, tell=logs.tell)
    world.inbox()
    pipeline.register(world.context, [sent(1)])
    world.deliver(dsn())
    yield out
    root.handlers[:], level = before
    root.setLevel(level)
    for name in logs.OURS:
        logging.getLogger(name).setLevel(logging.NOTSET)


def raising(error: Exception):
    def fail(*_: object, **__: object) -> None:
        raise error

    return fail


def told(lines: io.StringIO) -> list[str]:
    """Return the names of what was logged; nobody's words may be among it."""
    text = lines.getvalue()
    assert not [word for word in WORDS if word in text]
    return [json.loads(line)["event"] for line in text.splitlines()]


def test_a_notice_that_breaks_the_reader(world: World, lines: io.StringIO, monkeypatch: pytest.MonkeyPatch):
    # By its full name: `pipeline.process` is the function.
    monkeypatch.setattr(
        sys.modules["worker.pipeline.process"], "detect", raising(ValueError("canary bob@customer.example"))
    )
    assert world.work() == {"quarantined": 1}
    assert "notice.unreadable" in told(lines)


def test_a_batch_that_fails(world: World, lines: io.StringIO, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ledger, "settle", raising(RuntimeError("canary <b@customer.example>")))
    world.work()
    assert "batch.failed" in told(lines)


def test_an_inbox_whose_server_quotes_us(world: World, lines: io.StringIO):
    world.mailboxes["acme/alice"].broken = lambda: AuthRequired("canary: alice@acme.example is locked")
    world.work()
    assert "inbox.polled" in told(lines)


def test_a_fault_of_ours_while_polling(world: World, lines: io.StringIO):
    world.mailboxes["acme/alice"].broken = lambda: KeyError("canary bob@customer.example")
    world.work()
    assert "inbox.poll_broken" in told(lines)


def test_a_crm_that_can_not_be_told(world: World, lines: io.StringIO):
    world.context = replace(world.context, deliver=raising(ConnectionError("canary bob@customer.example")))
    world.work()
    assert "event.handed_over" in told(lines)


def test_a_database_that_quotes_rows(world: World, lines: io.StringIO):
    row = {"key": "canary bob@customer.example", "value": b"canary"}
    with writing(world.context.engine) as connection:
        connection.execute(meta.insert().values(row))
    with pytest.raises(IntegrityError) as raised, writing(world.context.engine) as connection:
        connection.execute(meta.insert().values(row))
    logging.getLogger("worker.tasks").error("scheduler.tick_failed", exc_info=raised.value)
    assert told(lines) == ["scheduler.tick_failed"]
    (line,) = map(json.loads, lines.getvalue().splitlines())
    assert line["error"].endswith("IntegrityError")
    assert line["stack"]


def test_sqlalchemys_own_log_shows_no_rows(world: World, lines: io.StringIO):
    logging.getLogger("sqlalchemy.engine").setLevel(logging.INFO)
    try:
        with writing(world.context.engine) as connection:
            connection.execute(sa.select(meta).where(meta.c.key == "canary bob@customer.example"))
    finally:
        logging.getLogger("sqlalchemy.engine").setLevel(logging.NOTSET)
    told(lines)
