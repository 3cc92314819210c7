"""Logs: one event a line, and nobody's words in them."""

import ast
import io
import json
import logging
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import fields
from pathlib import Path

import pytest

from worker import signals
from worker.telemetry import logs

ROOT = Path(__file__).resolve().parents[1]
CANARY = "bob@customer.example"
FIELDS = {
    *("inbox", "notice", "correlation_id", "report", "event_id", "webhook", "task", "refused", "error", "seconds"),
    *("provider", "outcome", "messages", "found", "inboxes", "state", "kind", "detector", "type", "reason", "fault"),
    *("matched_by", "rule", "attempt", "work", "calls", "sends"),
}
"""Every field that a log line of ours may have: ids, names of states and of our own rules, and figures."""
ALL_SIGNALS = signals.Signal.__subclasses__()


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """What is logged while a test runs, as JSON."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    out = io.StringIO()
    logs.configure("test", as_json=True, level=logging.INFO, stream=out)
    yield out
    root.handlers[:], level = before
    root.setLevel(level)
    for name in logs.OURS:
        logging.getLogger(name).setLevel(logging.NOTSET)


def told(lines: io.StringIO) -> list[dict]:
    return [json.loads(line) for line in lines.getvalue().splitlines()]


def log_calls() -> Iterator[tuple[str, ast.Call]]:
    for path in sorted([*(ROOT / "worker").rglob("*.py"), *(ROOT / "connectors").rglob("*.py")]):
        for node in ast.walk(ast.parse(path.read_text())):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr in ("debug", "info", "warning", "error", "exception", "critical")
                and isinstance(node.func.value, ast.Name)
                and node.func.value.id in ("log", "_log")
            ):
                yield f"{path.relative_to(ROOT)}:{node.lineno}", node


def test_every_log_call_names_an_event_and_known_fields():
    found = list(log_calls())
    assert len(found) > 10
    for where, call in found:
        assert len(call.args) == 1, f"{where}: nothing is filled into an event's name"
        name = call.args[0]
        assert isinstance(name, ast.Constant), f"{where}: an event's name is a literal"
        assert str(name.value).count(".") == 1, f"{where}: an event is named thing.what_happened"
        for keyword in call.keywords:
            if keyword.arg == "extra" and isinstance(keyword.value, ast.Dict):
                names = {key.value for key in keyword.value.keys if isinstance(key, ast.Constant)}
                assert names <= FIELDS, f"{where}: {names - FIELDS}"


@pytest.mark.parametrize("signal", ALL_SIGNALS, ids=lambda each: each.__name__)
def test_signals_have_known_fields_only(signal: type[signals.Signal]):
    assert {each.name for each in fields(signal)} <= FIELDS
    assert signal.event.count(".") == 1


def test_a_signal_is_a_line(lines: io.StringIO):
    logs.tell(signals.Found(inbox="i-1", notice=7, correlation_id="c" * 32))
    (line,) = told(lines)
    assert (line["event"], line["level"], line["notice"]) == ("notice.found", "info", 7)
    assert line["process"].startswith("test-")
    assert line["time"].endswith("+00:00")


def test_a_poll_that_finds_nothing_is_no_news(lines: io.StringIO):
    polled = signals.Polled(
        inbox="i", provider="imap", outcome=signals.PollOutcome.OK, seconds=0.1, messages=3, found=0
    )
    logs.tell(polled)
    assert told(lines) == []


def test_an_exceptions_words_are_not_told_but_where_it_came_from_is(lines: io.StringIO):
    try:
        try:
            int(CANARY)
        except ValueError as error:
            raise RuntimeError(f"Key (address)=({CANARY}) already exists") from error
    except RuntimeError:
        logging.getLogger("worker.pipeline").exception("batch.failed", extra={"inbox": "i-1"})
    (line,) = told(lines)
    assert (line["error"], line["causes"]) == ("RuntimeError", ["ValueError"])
    assert "test_logs.py" in line["stack"][-1]
    assert CANARY not in lines.getvalue()


@pytest.mark.parametrize(
    ("template", "args", "printed"),
    [
        ("Task %s raised: %r", ("bounce.notify", ValueError(CANARY)), "Task %s raised: %r"),
        ("a constant", (), "a constant"),
        (f"filled in: {CANARY}", (), __file__),
    ],
    ids=["template", "literal", "filled in by the library"],
)
def test_of_others_only_the_template_is_told(lines: io.StringIO, template: str, args: tuple, printed: str):
    logging.getLogger("celery.app.trace").error(template, *args)
    if template == "a constant":
        lines.truncate(0)
        lines.seek(0)
        logging.getLogger("celery.app.trace").error("a constant")
    (line,) = told(lines)
    assert line["event"].startswith(printed)
    assert CANARY not in lines.getvalue()


def test_the_databases_own_code_of_an_error_is_told(lines: io.StringIO):
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("PRAGMA max_page_count=1")
        try:
            connection.execute("CREATE TABLE canary (words)")
        except sqlite3.OperationalError:
            logging.getLogger("worker.pipeline").exception("poll.broken")
    (line,) = told(lines)
    assert line["codes"] == ["SQLITE_FULL"]
    assert "canary" not in lines.getvalue()


def test_at_debug_the_words_are_there():
    out = io.StringIO()
    line = logs.Lines("test", is_json=True, with_words=True)
    record = logging.makeLogRecord({"name": "celery", "msg": "said %s", "args": (CANARY,)})
    out.write(line.format(record))
    assert json.loads(out.getvalue())["event"] == f"said {CANARY}"


def test_what_is_bound_is_on_every_line_until_it_ends(lines: io.StringIO):
    log = logging.getLogger("worker.test")
    with logs.bound(task="bounce.notify"):
        log.warning("a.b")
    log.warning("a.c")
    first, second = told(lines)
    assert first["task"] == "bounce.notify"
    assert "task" not in second


def test_a_person_reads_a_line_as_text():
    line = logs.Lines("test", is_json=False, with_words=False)
    record = logging.makeLogRecord(
        {"name": "worker.x", "msg": "inbox.polled", "levelname": "INFO", "inbox": "i-1", "error": "two words"}
    )
    text = line.format(record)
    assert text.endswith('INFO    inbox.polled inbox=i-1 error="two words"')


def test_the_correlation_id_is_that_of_a_trace_and_of_one_place():
    one = signals.correlation_id("inbox", "INBOX;1;7")
    assert one == signals.correlation_id("inbox", "INBOX;1;7")
    assert one != signals.correlation_id("inbox", "INBOX;1;8")
    assert len(bytes.fromhex(one)) == 16
