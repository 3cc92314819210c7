"""Each fault at each request in turn: whatever goes wrong, and wherever, nothing is skipped afterwards."""

import pytest

from connectors import (
    AuthRequired,
    ConnectorError,
    CursorExpired,
    Misconfigured,
    Throttled,
    Unavailable,
    _graph_cursor,
    _graph_messages,
    office365,
)
from tests.connectors.mailboxes import ago, ids, ids_of, message, office365_connector
from tests.fakes.graph import faults
from tests.fakes.graph.server import FakeGraph

FAULTS = {
    "gone": (faults.error(410, "SyncStateNotFound"), CursorExpired),
    "state unknown": (faults.error(404, "SyncStateNotFound"), CursorExpired),
    "folder unknown": (faults.error(404, "ErrorItemNotFound"), ConnectorError),
    "throttled": (faults.error(429, "TooManyRequests", Retry_After="1"), Throttled),
    "concurrency": (faults.error(429, "ApplicationThrottled"), Throttled),
    "401": (faults.error(401, "InvalidAuthenticationToken"), AuthRequired),
    "403": (faults.error(403, "ErrorAccessDenied"), Misconfigured),
    "no mailbox": (faults.error(404, "MailboxNotEnabledForRESTAPI"), Misconfigured),
    "500": (faults.error(500, "InternalServerError"), Unavailable),
    "503 with a time": (faults.error(503, "ServiceUnavailable", Retry_After="7"), Throttled),
    "reset": (faults.drop, Unavailable),
    "cut": (faults.cut, Unavailable),
    "cut unannounced": (faults.cut_unannounced, Unavailable),
    "no answer": (faults.hang, Unavailable),
    "not JSON": (faults.text(b"<html>Sign in</html>"), Unavailable),
}
SILENT = {"reset", "folder unknown"}
"""urllib3 opens a kept connection again that was closed meanwhile; an archive that isn't there is looked for again."""
REQUESTS = 26
"""How many requests the story below takes without a fault."""


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Small pages and small queries, so that a short story has many of them."""
    for module in (office365, _graph_messages):
        monkeypatch.setattr(module, "PAGE", 10)
    monkeypatch.setattr(_graph_cursor, "NEARLY_ALL", 25)


@pytest.mark.parametrize("fault", FAULTS)
def test_nothing_is_skipped_wherever_it_strikes(fault):
    act, expected = FAULTS[fault]
    for index in range(REQUESTS):
        with FakeGraph() as fake:
            fake.faults[index] = act
            found, failed = story(fake, read_timeout=0.05 if act is faults.hang else 5.0)
            assert set(found) == set(fake.expected), f"at request {index}"
            assert all(isinstance(each, expected) for each in failed), f"at request {index}: {failed}"
            assert failed or fault in SILENT, f"at request {index}"
            assert len(failed) <= 1, f"at request {index}: {failed}"


def test_the_story_is_as_long_as_the_faults_think_and_lists_a_folder_too():
    with FakeGraph() as fake:
        found, failed = story(fake)
        assert (set(found), failed, fake.requests) == (set(fake.expected), [], REQUESTS)
        assert any("$orderby" in each for each in fake.targets)


def story(fake: FakeGraph, read_timeout: float = 5.0) -> tuple[list[str], list[ConnectorError]]:
    """Read a mailbox as the worker does, while mail comes and goes; return Message-IDs in order, and what failed."""
    store = fake.store
    store.filtered_limit = 30
    since = ago(days=4)
    for number in range(12):
        store.deliver(message(f"Old {number}"), at=ago(days=30))
    kept = [message(f"Kept {number}") for number in range(33)]
    items = [store.deliver(raw, at=ago(days=3, minutes=number)) for number, raw in enumerate(kept)]
    first = [message(f"New {number}") for number in range(12)]
    second = [message(f"Junk {number}") for number in range(3)]
    batches = [
        lambda: [store.delete(items[0]), *(store.deliver(raw) for raw in first)],
        lambda: [store.mark_read(items[5]), *(store.deliver(raw, "junkemail") for raw in second)],
        lambda: store.move(items[14], "archive"),
    ]
    fake.expected = ids_of(*kept, *first, *second)
    found: list[str] = []
    failed: list[ConnectorError] = []
    cursor = None
    while True:
        connector = office365_connector(fake, read_timeout=read_timeout)
        try:
            page = connector.poll(cursor or since)
        except CursorExpired as error:
            failed.append(error)
            cursor = None
            continue
        except ConnectorError as error:
            failed.append(error)
            assert len(failed) < 20
            continue
        finally:
            connector.close()
        cursor = page.cursor
        found += ids(page.envelopes)
        if not page.has_more:
            if not batches:
                return found, failed
            batches.pop(0)()
