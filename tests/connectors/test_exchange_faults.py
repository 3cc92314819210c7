"""Each fault at each request in turn: whatever goes wrong, and wherever, nothing is skipped afterwards."""

from datetime import timedelta

import pytest

from connectors import AuthRequired, ConnectorError, CursorExpired, Throttled, Unavailable, exchange
from tests.connectors.mailboxes import ago, exchange_connector, ids, ids_of, message
from tests.fakes.ews import faults
from tests.fakes.ews.server import FakeExchange

FAULTS = {
    "sync state unknown": (faults.error("ErrorInvalidSyncStateData"), ConnectorError),
    "folder unknown": (faults.error("ErrorSyncFolderNotFound"), ConnectorError),
    "busy": (faults.busy(297_749), Throttled),
    "busy inside": (faults.error("ErrorServerBusy", back_off=1_500), Throttled),
    "401": (faults.status(401, WWW_Authenticate="Basic"), AuthRequired),
    "503": (faults.status(503), Unavailable),
    "503 with a time": (faults.status(503, Retry_After="7"), Throttled),
    "reset": (faults.drop, Unavailable),
    "cut": (faults.cut, Unavailable),
    "cut unannounced": (faults.cut_unannounced, Unavailable),
    "no answer": (faults.hang, Unavailable),
    "internal": (faults.error("ErrorInternalServerError"), Unavailable),
    "mailbox moves": (faults.error("ErrorMailboxMoveInProgress"), Unavailable),
    "not SOAP": (faults.text(b"<html>Sign in</html>"), Unavailable),
    "empty": (faults.text(b""), Unavailable),
}
SILENT = {"reset", "sync state unknown", "folder unknown"}
REQUESTS = 20
"""How many requests the story below takes without a fault."""


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Small pages, so that a short story has many."""
    monkeypatch.setattr(exchange, "PAGE", 10)
    monkeypatch.setattr(exchange, "WALK", 16)
    monkeypatch.setattr(exchange, "WALK_PAGES", 2)
    monkeypatch.setattr(exchange, "OVERLAP", 4)


@pytest.mark.parametrize("fault", FAULTS)
def test_nothing_is_skipped_wherever_it_strikes(fault):
    act, expected = FAULTS[fault]
    for index in range(REQUESTS):
        with FakeExchange(is_validating=False) as fake:
            fake.faults[index] = act
            found, failed = story(fake, read_timeout=0.1 if act is faults.hang else 5.0)
            assert set(found) == set(fake.expected), f"at request {index}"
            assert all(isinstance(each, expected) for each in failed), f"at request {index}: {failed}"
            # A kept connection that was lost is opened again, a junk folder that isn't there is looked for again.
            assert failed or fault in SILENT, f"at request {index}"
            if not any(isinstance(each, CursorExpired) for each in failed):
                assert sorted(found) == sorted(fake.expected), f"at request {index}"


def test_the_story_is_as_long_as_the_faults_think():
    with FakeExchange() as fake:
        found, failed = story(fake)
        assert (sorted(found), failed, fake.requests) == (sorted(fake.expected), [], REQUESTS)


def test_the_time_to_wait_is_exactly_what_the_server_said():
    waits = {
        faults.busy(297_749): timedelta(milliseconds=297_749),
        faults.error("ErrorServerBusy", back_off=1_500): timedelta(milliseconds=1_500),
        faults.status(503, Retry_After="7"): timedelta(seconds=7),
        faults.status(429, Retry_After="3600"): timedelta(hours=1),
    }
    for act, wait in waits.items():
        with FakeExchange(always=act) as fake, pytest.raises(Throttled) as caught:
            exchange_connector(fake).poll(ago(days=1))
        assert caught.value.retry_after == wait


def story(fake: FakeExchange, read_timeout: float = 5.0) -> tuple[list[str], list[ConnectorError]]:
    """Read a mailbox as the worker does, while mail comes and goes; return Message-IDs in order, and what failed."""
    since = ago(days=2)
    for number in range(12):
        fake.store.deliver(message(f"Old {number}"), at=ago(days=30))
    kept = [message(f"Kept {number}") for number in range(15)]
    items = [fake.store.deliver(raw, at=ago(hours=20)) for raw in kept]
    batches = [
        lambda: [fake.store.delete(items[0]), *(fake.store.deliver(raw) for raw in first)],
        lambda: [fake.store.mark_read(items[5]), *(fake.store.deliver(raw, "junkemail") for raw in second)],
        lambda: fake.store.move(items[14], "junkemail"),
    ]
    first = [message(f"New {number}") for number in range(12)]
    second = [message(f"Junk {number}") for number in range(3)]
    fake.expected = ids_of(*kept, *first, *second, kept[14])
    found: list[str] = []
    failed: list[ConnectorError] = []
    cursor = None
    while True:
        connector = exchange_connector(fake, read_timeout=read_timeout)
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
