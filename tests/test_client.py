"""The client against the API as it is served, and against servers that refuse, falter and talk nonsense."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from standardwebhooks import Webhook

from tests.fakes.answers import CUT, Answer, Answers
from tests.fakes.notices import NOW, dsn
from tests.fakes.world import World
from tests.live.processes import free_ports
from tests.pipeline.conftest import world
from tests.web.api import ALL
from worker import access, client, pipeline
from worker.cli.serve import Server
from worker.client import ApiProblem, BounceEvent, BounceWorker, InvalidEvent, OtherEvent, Send, TestEvent, To, verify
from worker.config import read
from worker.keys import Scope
from worker.pipeline import Context

__all__ = ["world"]

BOB = "bob@customer.example"
KEY = "bw_some_key"
SECRET = "whsec_" + "A" * 43 + "="
NOTHING = {"schema": 1, "registered": 0, "refused": [], "unknown_inboxes": [], "notices_looked_at_again": 0}


def email(number: int, **more) -> Send:
    common = {
        "inbox": "alice",
        "kind": "one_to_one",
        "sent_at": NOW - timedelta(hours=3),
        "message_id": f"<send-{number}@crm.example>",
        "recipients": [To(address=BOB, contact_id="c-1")],
    }
    return Send(id=f"s-{number}", **common | more)


@contextmanager
def served(world: World) -> Iterator[str]:
    """Serve the API as `bounce-worker web` does; yields its address."""
    server = Server(read({}), lambda: world.context, "127.0.0.1", 0)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield server.url
    finally:
        server.stop()
        thread.join()


@pytest.fixture
def worker(world: World) -> Iterator[BounceWorker]:
    world.inbox()
    key = access.create(world.context, "acme", "crm", ALL).text
    with served(world) as url, BounceWorker(url, f"{key}\n") as worker:
        yield worker


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long the client has waited between tries; no time passes."""
    waited: list[float] = []
    monkeypatch.setattr(client.time, "sleep", waited.append)
    return waited


def test_a_bounce_from_its_send_to_its_end(worker: BounceWorker, world: World):
    assert worker.email_status([BOB])[BOB].may_email
    assert worker.register(email(1)).registered == 1
    world.deliver(dsn())
    world.work()
    pipeline.number_events(world.context)

    (entry,) = worker.timeline("c-1")
    assert (entry.type, entry.reason, entry.fault, entry.smtp_code) == ("hard", "unknown_user", "address", "550")
    assert list(worker.bounces()) == [entry]
    assert list(worker.timeline("c-2/../c-1")) == []
    status = worker.email_status([BOB, "cleo@customer.example", BOB])
    assert {name: one.may_email for name, one in status.items()} == {BOB: False, "cleo@customer.example": True}
    (events, position) = next(worker.events())
    assert [event.type for event in events] == ["bounce.attached", "contact.excluded"]
    assert isinstance(events[0], BounceEvent)
    assert events[0].bounce == entry

    decision = worker.unbounce(BOB, "he called")
    pipeline.number_events(world.context)
    assert worker.email_status([BOB])[BOB].may_email
    events, position = next(worker.events(position))
    assert [event.type for event in events] == ["bounce.updated", "contact.unbounced"]
    worker.undo(decision, "it was another Bob")
    assert not worker.email_status([BOB])[BOB].may_email
    (inbox,) = worker.inboxes()
    assert (inbox.name, inbox.state) == ("alice", "active")


@pytest.mark.parametrize("contact", ["gid://crm/Contact/7", "a b?c#d%2F", "ÅÄÖ", "x/timeline", "'; --"])
def test_a_contact_is_called_as_the_crm_likes(worker: BounceWorker, world: World, contact: str):
    worker.register(email(1, recipients=[To(address=BOB, contact_id=contact)]))
    world.deliver(dsn())
    world.work()
    assert [entry.contact_id for entry in worker.timeline(contact)] == [contact]


def test_what_is_refused_is_said_with_its_row_over_all_requests(worker: BounceWorker, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(client, "AT_ONCE", 2)
    sends = [email(number) for number in range(7)]
    sends[3] = email(3, account="another")
    sends[6] = email(5, message_id="<another@crm.example>")
    done = worker.register_all(iter(sends))
    assert (done.registered, [(each.row, each.id) for each in done.refused]) == (5, [(3, "s-3"), (6, "s-5")])
    assert worker.register_all([]).registered == 0


def test_a_problem_is_told_in_its_own_words(worker: BounceWorker, world: World):
    with pytest.raises(ApiProblem, match="nothing to lift") as problem:
        worker.unbounce(BOB, "he called")
    assert problem.value.status == 409
    key = access.create(world.context, "acme", "reader", [Scope.READ]).text
    with BounceWorker(worker._url, key) as reader, pytest.raises(ApiProblem, match="lacks the scope send") as problem:
        reader.register(email(1))
    assert problem.value.status == 403
    with BounceWorker(worker._url, KEY) as stranger, pytest.raises(ApiProblem, match="Send a key") as problem:
        stranger.inboxes()
    assert problem.value.status == 401


def test_an_operators_key_names_the_account(worker: BounceWorker, world: World):
    key = access.create(world.context, None, "operator", ALL).text
    with BounceWorker(worker._url, key, account="acme") as operator:
        assert [inbox.account for inbox in operator.inboxes()] == ["acme"]
    with BounceWorker(worker._url, key) as operator, pytest.raises(ApiProblem, match="Bounce-Account"):
        operator.inboxes()


def test_whoever_waits_for_events_holds_up_no_end(world: World):
    """The feed is asked for half a minute; its server, told to end, answers at once and asks nobody to be patient."""
    world.inbox()
    key = access.create(world.context, "acme", "crm", ALL).text
    looked = threading.Event()

    def context() -> Context:
        looked.set()
        return world.context

    server = Server(read({}), context, "127.0.0.1", 0)
    serving = threading.Thread(target=server.run)
    serving.start()
    with BounceWorker(server.url, key) as crm, ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(crm._ask, "GET", "/v1/events?wait=30")
        assert looked.wait(30)
        server.stop()
        assert waiting.result(timeout=25)["data"] == []
    serving.join(25)
    assert not serving.is_alive()


def test_threads_share_it(worker: BounceWorker):
    worker.register(email(1))
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda number: worker.email_status([f"p{number}@x.example"]), range(40)))
    assert [list(answer) for answer in answers] == [[f"p{number}@x.example"] for number in range(40)]


def test_a_time_without_a_zone_is_refused_at_once():
    with pytest.raises(ValidationError, match="timezone"):
        email(1, sent_at=datetime(2026, 11, 22, 9, 0))  # noqa: DTZ001 - the fault under test


@pytest.mark.parametrize("status", client.NOT_NOW)
def test_not_now_is_asked_again(waits: list[float], status: int):
    with Answers(Answer(status), Answer(status), Answer(body=NOTHING)) as server, BounceWorker(server.url, KEY) as crm:
        assert crm.register(email(1)).refused == []
    assert len({body for _, _, body in server.asked}) == 1
    assert (len(server.asked), waits) == (3, [1.0, 2.0])


@pytest.mark.parametrize(
    ("asked", "waited"),
    [("7", 7.0), ("0", 0.0), ("86400", client.LONGEST_WAIT), ("Mon, 23 Nov 2026 12:00:00 GMT", 1.0), ("-5", 1.0)],
)
def test_the_server_says_how_long_within_reason(waits: list[float], asked: str, waited: float):
    with (
        Answers(Answer(429, headers={"Retry-After": asked}), Answer(body={"data": []})) as server,
        BounceWorker(server.url, KEY) as crm,
    ):
        assert crm.inboxes() == []
    assert waits == [waited]


def test_a_server_that_never_can_is_given_up(waits: list[float]):
    answer = Answer(503, {"detail": "The database can't be reached."})
    with (
        Answers(answer) as server,
        BounceWorker(server.url, KEY) as crm,
        pytest.raises(ApiProblem, match="database") as problem,
    ):
        crm.email_status([BOB])
    assert (problem.value.status, len(server.asked), len(waits)) == (503, client.TRIES, client.TRIES - 1)


def test_what_may_have_been_done_is_not_asked_twice(waits: list[float]):
    with (
        Answers(CUT) as server,
        BounceWorker(server.url, KEY) as crm,
        pytest.raises(ApiProblem, match="can't be reached") as problem,
    ):
        crm.unbounce(BOB, "he called")
    assert (problem.value.status, len(server.asked), waits) == (None, 1, [])


def test_a_connection_that_breaks_is_made_again(waits: list[float]):
    with Answers(CUT, Answer(body=NOTHING)) as server, BounceWorker(server.url, KEY) as crm:
        assert crm.register(email(1)).registered == 0
    assert (len(server.asked), waits) == (2, [1.0])


def test_nobody_there_is_said(waits: list[float]):
    (port,) = free_ports(1)
    with BounceWorker(f"http://127.0.0.1:{port}", KEY) as crm, pytest.raises(ApiProblem, match="can't be reached"):
        crm.inboxes()
    assert len(waits) == client.TRIES - 1


@pytest.mark.parametrize("body", ["<html>Welcome to the hotel's network</html>", "[]", "null", '"ok"'])
def test_another_server_is_noticed(body: str):
    with (
        Answers(Answer(body=body)) as server,
        BounceWorker(server.url, KEY) as crm,
        pytest.raises(ApiProblem, match="isn't bounce-worker's API"),
    ):
        crm.inboxes()


@pytest.mark.parametrize("body", ["", "<h1>Bad gateway</h1>", "[]", '{"detail": null}', "null"])
def test_a_problem_without_words_is_told_by_its_status(body: str):
    with (
        Answers(Answer(500, body)) as server,
        BounceWorker(server.url, KEY) as crm,
        pytest.raises(ApiProblem, match=r"The API answered 500\."),
    ):
        crm.inboxes()


def test_a_key_follows_no_redirect():
    with Answers(Answer(body={"data": []})) as elsewhere:
        moved = Answer(302, headers={"Location": f"{elsewhere.url}/v1/inboxes"})
        with Answers(moved) as server, BounceWorker(server.url, KEY) as crm, pytest.raises(ApiProblem, match="302"):
            crm.inboxes()
    assert elsewhere.asked == []


def test_pages_are_followed_to_the_last():
    entry = dict.fromkeys(client.Entry.model_fields) | {
        "schema": 1, "id": "b-1", "bounce_id": "b-1", "report_ids": ["r"], "account": "acme", "address": BOB,
        "send_id": "s-1", "inbox": "alice", "type": "hard", "reason": "other", "fault": "address", "rule": "r",
        "confidence": 0.99, "matched_by": "thread", "policy": "hubspot", "evidence": [], "a_later_field": 1,
        "occurred_at": NOW.isoformat(), "recorded_at": NOW.isoformat(),
    }  # fmt: skip
    del entry["schema_"]
    first, last = Answer(body={"data": [entry], "next": "p&2"}), Answer(body={"data": [entry], "next": None})
    with Answers(first, last) as server, BounceWorker(server.url, KEY) as crm:
        assert [each.id for each in crm.bounces()] == ["b-1", "b-1"]
    assert [asked for asked, _, _ in server.asked] == [
        "GET /v1/bounces?limit=1000",
        "GET /v1/bounces?limit=1000&after=p%262",
    ]


def event(**more) -> dict:
    return {"schema": 1, "id": "e-1", "type": "test", "account": "acme", "at": "2026-11-22T12:00:00Z", **more}


def test_the_feed_passes_on_what_it_does_not_know_and_keeps_its_place():
    empty, some = (
        Answer(body={"data": [], "next": "1"}),
        Answer(body={"data": [event(type="x.y"), event()], "next": "3"}),
    )
    with Answers(empty, some) as server, BounceWorker(server.url, KEY) as crm:
        events, position = next(crm.events(wait=0))
    assert [(type(each), each.type) for each in events] == [(OtherEvent, "x.y"), (TestEvent, "test")]
    assert position == "3"
    assert [asked for asked, _, _ in server.asked] == ["GET /v1/events?wait=0", "GET /v1/events?wait=0&after=1"]


def call(body: str, secret: str = SECRET, at: datetime | None = None) -> dict[str, str]:
    """Return the headers of a webhook's call."""
    now = at or datetime.now(UTC)
    signature = Webhook(secret).sign("e-1", now, body)
    return {"Webhook-Id": "e-1", "Webhook-Timestamp": str(int(now.timestamp())), "Webhook-Signature": signature}


TEST = '{"schema":1,"id":"e-1","type":"test","account":"acme","at":"2026-11-22T12:00:00Z","new":"field"}'
OLD = SECRET.replace("A", "B")


def test_a_call_of_ours_is_believed():
    at = datetime(2026, 11, 22, 12, tzinfo=UTC)
    assert verify(SECRET, call(TEST), TEST.encode()) == TestEvent(id="e-1", type="test", account="acme", at=at)
    assert verify([OLD, SECRET], call(TEST), TEST).id == "e-1"
    assert verify([SECRET, OLD], call(TEST), TEST).id == "e-1"
    both = call(TEST)
    both["Webhook-Signature"] += " " + call(TEST, OLD)["Webhook-Signature"] + " v2,abc"
    assert verify(OLD, both, TEST).id == "e-1"


def test_a_type_that_comes_later_is_no_error():
    body = TEST.replace('"test"', '"contact.merged"')
    told = verify(SECRET, call(body), body)
    assert isinstance(told, OtherEvent)
    assert (told.type, told.id) == ("contact.merged", "e-1")


MINUTES = timedelta(minutes=6)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda: (call(TEST, OLD), TEST), "signature"),
        (lambda: (call(TEST), TEST.replace("acme", "evil")), "signature"),
        (lambda: (call(TEST, at=datetime.now(UTC) - MINUTES), TEST), "signature"),
        (lambda: (call(TEST, at=datetime.now(UTC) + MINUTES), TEST), "signature"),
        (lambda: ({}, TEST), "signature"),
        (lambda: (call(TEST) | {"Webhook-Signature": "v1"}, TEST), "signature"),
        (lambda: (call(TEST) | {"Webhook-Signature": "v1,%%%"}, TEST), "signature"),
        (lambda: (call(TEST), b"\xff"), "signature"),
        (lambda: (call("no JSON"), "no JSON"), "signature"),
        (lambda: (call("[]"), "[]"), "can't be read"),
        (lambda: (call("{}"), "{}"), "can't be read"),
        (lambda: (call('{"type": "test"}'), '{"type": "test"}'), "can't be read"),
        (lambda: (call('{"type": 7}'), '{"type": 7}'), "can't be read"),
    ],
)  # fmt: skip
def test_any_other_call_is_not(change: Callable[[], tuple[dict[str, str], str | bytes]], why: str):
    headers, body = change()
    with pytest.raises(InvalidEvent, match=why):
        verify(SECRET, headers, body)


TEXTS = st.text(max_size=30)


@given(headers=st.fixed_dictionaries(dict.fromkeys(call(TEST), TEXTS)), body=TEXTS | st.binary(max_size=30))
def test_nothing_that_a_stranger_sends_is_an_error_of_ours(headers: dict[str, str], body: str | bytes):
    with pytest.raises(InvalidEvent):
        verify(SECRET, headers, body)


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_é"])
def test_a_secret_that_is_none_is_said_to_the_developer(secret: str):
    with pytest.raises(ValueError, match="no webhook's secret"):
        verify([SECRET, secret], call(TEST), TEST)
