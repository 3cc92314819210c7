"""Sends by HTTP: what is right is kept, and of the rest it is said which rows and why."""

import json

import pytest
from fastapi.testclient import TestClient

from tests.fakes.world import World
from tests.web.api import make_client, send
from worker import admin

NDJSON = {"Content-Type": "application/x-ndjson"}


@pytest.fixture
def api(world: World) -> TestClient:
    world.inbox()
    return make_client(world)


def register(api: TestClient, *sends: object) -> dict:
    lines = "\n".join(each if isinstance(each, str) else json.dumps(each) for each in sends)
    answer = api.post("/v1/sends", content=lines.encode("utf-8", "surrogatepass"), headers=NDJSON)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_sends_are_registered_line_by_line_or_as_an_array(api: TestClient, world: World):
    assert register(api, send(1), send(2))["registered"] == 2
    assert api.post("/v1/sends", json=[send(3)]).json()["registered"] == 1
    assert {each.id for each in admin.all_sends(world.context, "acme")} == {"s-1", "s-2", "s-3"}


def test_a_repeat_is_harmless_and_adds_what_was_missing(api: TestClient, world: World):
    assert register(api, send(1, message_id=None), send(1, subject="Hello"), send(1))["refused"] == []
    (kept,) = admin.all_sends(world.context, "acme")
    assert (kept.message_id, kept.subject) == ("send-1@crm.example", "Hello")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"message_id": "<other@crm.example>"}, "message_id"),
        ({"recipients": [{"address": "eve@customer.example"}]}, "recipients"),
        ({"recipients": [{"address": "bob@customer.example", "contact_id": "c-9"}]}, "recipients"),
        ({"sent_at": "2026-11-22T09:00:01Z"}, "sent_at"),
        ({"from": "other@acme.example"}, "from"),
        ({"inbox": "bob"}, "inbox"),
    ],
)
def test_a_repeat_that_contradicts_is_refused_whether_now_or_later(api: TestClient, world: World, change, field):
    first = send(1) | {"from": "alice@acme.example"}
    answer = register(api, first, first | change, send(2))
    assert answer["registered"] == 2
    (refused,) = answer["refused"]
    assert (refused["row"], refused["id"]) == (1, "s-1")
    assert field in refused["why"]
    (later,) = register(api, first | change)["refused"]
    assert field in later["why"]


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ({"id": None}, "lacks id"),
        ({"account": "other"}, "the key is of 'acme'"),
        ({"recipients": [{"address": "no address"}]}, "without a proper address"),
        ({"recipients": "bob@customer.example"}, "not a list"),
        ({"recipients": [{"address": f"{n}@x.example"} for n in range(1_001)]}, "1,001 recipients"),
        ({"sent_at": "yesterday"}, "use ISO 8601"),
        ({"sent_at": "2026-11-22T09:00:00"}, "use ISO 8601"),
        ({"sent_at": "0001-01-01T00:00:00+14:00"}, "use ISO 8601"),
        ({"sent_at": "2031-01-01T00:00:00Z"}, "ahead of our clock"),
        ({"kind": "newsletter"}, "use one_to_one or sequence"),
        ({"id": "x" * 256}, "256 characters"),
        ({"message_id": "<" + "x" * 1_000 + "@x>"}, "characters"),
        ({"thread_id": True}, "not text"),
        ("nonsense", "not JSON"),
        ("[1]", "must be a JSON object"),
        ("[" * 200_000, "not JSON"),
        (json.dumps({"pad": "x" * (2 * 1024 * 1024)}), "more than 2,097,152 bytes"),
    ],
)
def test_a_row_that_is_wrong_is_named_and_the_others_kept(api: TestClient, world: World, row, why):
    answer = register(api, send(1), row if isinstance(row, str) else send(2) | row, send(3))
    assert answer["registered"] == 2
    (refused,) = answer["refused"]
    assert refused["row"] == 1
    assert why in refused["why"]
    assert {each.id for each in admin.all_sends(world.context, "acme")} == {"s-1", "s-3"}


def test_a_subject_of_a_megabyte_is_cut_and_text_that_no_database_takes_is_cleaned(api: TestClient, world: World):
    answer = register(api, send(1, subject="x" * 1_048_576), send(2, subject="a\0b\ud800c", id="s-\0 2"))
    assert (answer["registered"], answer["refused"]) == (2, [])
    kept = {each.id: each.subject for each in admin.all_sends(world.context, "acme")}
    assert len(kept["s-1"] or "") == 2_000
    assert kept["s- 2"] == "ab?c"
    assert register(api, send(2, subject="a\0b\ud800c", id="s-\0 2"))["refused"] == []


def test_names_of_inboxes_that_nobody_has_connected_are_told(api: TestClient):
    assert register(api, send(1), send(2, inbox="alcie"))["unknown_inboxes"] == ["alcie"]


def test_more_than_ten_thousand_are_too_many_but_the_first_are_kept(api: TestClient, world: World):
    line = json.dumps(send(1))
    answer = api.post("/v1/sends", content="\n".join([line] * 10_001), headers=NDJSON)
    assert answer.status_code == 413
    assert answer.json()["registered"] == 10_000
    assert len(admin.all_sends(world.context, "acme")) == 1


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        ("{}", "application/json", 422),
        ("nonsense", "application/json", 422),
        ("x", "text/plain", 415),
        ("", "application/x-ndjson", 200),
        ("[]", "application/json", 200),
    ],
)
def test_bodies_that_are_no_sends(api: TestClient, body, kind, status):
    answer = api.post("/v1/sends", content=body, headers={"Content-Type": kind})
    assert answer.status_code == status
    if status != 200:
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert answer.json()["status"] == status


def test_a_send_that_is_too_old_is_refused_and_the_others_are_kept(api: TestClient):
    answer = register(api, send(1), send(2, sent_at="2021-01-01T00:00:00Z"))
    assert answer["registered"] == 1
    (refused,) = answer["refused"]
    assert (refused["row"], refused["id"]) == (1, "s-2")
    assert "sends are kept for 400 days" in refused["why"]
