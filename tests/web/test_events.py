"""The feed: everything that happened, in order, without gap; and each event fits its schema."""

import json
import threading
from datetime import timedelta

import jsonschema_rs
import pytest
from fastapi.testclient import TestClient

from connectors import AuthRequired
from tests.fakes.notices import dsn
from tests.fakes.sends import sent
from tests.fakes.world import World
from tests.web.api import make_client
from worker import decisions, pipeline
from worker.contract import ANY_EVENT, EVENTS, json_schema
from worker.domain import SendKind
from worker.web.api import events as route


@pytest.fixture
def api(world: World) -> TestClient:
    world.inbox()
    return make_client(world)


def bounce(world: World, number: int, status: str = "5.1.1", words: str = "550 5.1.1 User unknown", **more) -> None:
    address = f"p{number}@d{number % 3}.example"
    pipeline.register(world.context, [sent(number, address, **more)])
    raw = dsn(f"send-{number}@crm.example", [(address, "failed", status, f"smtp; {words}")], own_id=f"n{number}@mx.x")
    world.deliver(raw)
    world.work()


def number_all(world: World) -> None:
    while pipeline.number_events(world.context):
        pass


def feed(api: TestClient, **params) -> dict:
    answer = api.get("/v1/events", params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_the_feed_is_read_in_steps_and_goes_on_where_it_was_left(api: TestClient, world: World):
    empty = feed(api)
    assert empty["data"] == []
    for number in (1, 2, 3):
        bounce(world, number)
    number_all(world)
    everything = feed(api)
    assert [each["id"] for each in everything["data"]] == [name for _, name in world.events()]
    read: list[dict] = []
    after = empty["next"]
    while step := feed(api, after=after, limit=2)["data"]:
        read += step
        after = feed(api, after=after, limit=2)["next"]
    assert read == everything["data"]
    assert feed(api, after=after) == {"schema": 1, "data": [], "next": after}


def test_who_waits_is_answered_as_soon_as_something_happens(api: TestClient, world: World, monkeypatch):
    """The second look finds what happened after the first."""
    looks = threading.Event()
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        if not looks.is_set():
            looks.set()
            bounce(world, 1)
            number_all(world)

    monkeypatch.setattr(route.asyncio, "sleep", sleep)
    assert len(feed(api, wait=30)["data"]) == 2
    assert slept == [route.LOOK_EVERY]
    assert feed(api, after=feed(api)["next"], wait=2)["data"] == []
    assert len(slept) == 1 + 2 / route.LOOK_EVERY - 1


def everything_that_may_happen(world: World) -> None:
    """A bounce, an exclusion, a sequence's end, an un-bounce, a healing, an incident, a broken inbox, bad sends."""
    bounce(world, 1, kind=SendKind.SEQUENCE, sequence_id="q-1", enrollment_id="e-1")
    decisions.unbounce(world.context, "acme", "p1@d1.example", "ann", "he called")
    delayed = [("sue@x.example", "delayed", "4.4.1", "smtp; 451 4.4.1 try later")]
    pipeline.register(world.context, [sent(50, "sue@x.example")])
    world.deliver(dsn("send-50@crm.example", delayed, own_id="n50@mx.x"))
    world.work()
    relayed = [("sue@x.example", "delivered", "2.0.0", "smtp; 250 2.0.0 ok")]
    world.deliver(dsn("send-50@crm.example", relayed, own_id="n51@mx.x", date="Sun, 22 Nov 2026 11:30:00 +0000"))
    world.work()
    words = "550 5.7.26 Unauthenticated email from acme.example is not accepted due to domain's DMARC policy"
    for number in range(10, 16):
        bounce(world, number, "5.7.26", words)
    world.now += timedelta(days=8)
    world.work()
    world.mailboxes["acme/alice"].broken = lambda: AuthRequired("The password was refused: sign in again.")
    world.work()
    pipeline.take_message(world.context, [{"account": "acme", "id": "s-99"}], "task-1")
    number_all(world)


def test_every_event_fits_its_schema_and_the_client_reads_it(api: TestClient, world: World):
    everything_that_may_happen(world)
    told = feed(api, limit=1_000)["data"]
    assert {each["type"] for each in told} == {*EVENTS} - {"test"}
    for each in told:
        jsonschema_rs.validator_for(json_schema(each["type"]), validate_formats=True).validate(each)
        event = ANY_EVENT.validate_python(each)
        assert json.loads(ANY_EVENT.dump_json(event, by_alias=True)).keys() == each.keys()
    unenroll = next(each for each in told if each["type"] == "sequence.unenroll")
    assert (unenroll["sequence_id"], unenroll["enrollment_id"]) == ("q-1", "e-1")
    inbox = next(each for each in told if each["type"] == "inbox.needs_attention")
    assert (inbox["inbox"], inbox["state"]) == ("alice", "needs_attention")
    assert "sign in again" in inbox["attention"]


def test_an_inbox_is_complained_of_once(api: TestClient, world: World):
    world.mailboxes["acme/alice"].broken = lambda: AuthRequired("The password was refused: sign in again.")
    world.work()
    world.work()
    number_all(world)
    assert [each["type"] for each in feed(api)["data"]] == ["inbox.needs_attention"]


def test_schemas_are_served(api: TestClient):
    for name in EVENTS:
        schema = api.get(f"/v1/event-schemas/{name}").json()
        jsonschema_rs.meta.validate(schema)
        assert schema["properties"]["type"] == {"const": name}
    assert "there are bounce.attached" in api.get("/v1/event-schemas/nope").json()["detail"]
