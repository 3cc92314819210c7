"""The API's routes, each as the CRM uses it, over a world in which Bob bounced and a notice is a matter of doubt."""

from dataclasses import replace
from datetime import timedelta

import pytest
from fastapi.testclient import TestClient

from tests.fakes.notices import dsn
from tests.fakes.world import World
from tests.pipeline.test_matching import separate_notice
from tests.web.api import make_client, send
from worker import admin
from worker.contract import Entry, ReviewEntry

BOB, CLEO = "bob@customer.example", "cleo@customer.example"


@pytest.fixture
def api(world: World) -> TestClient:
    world.inbox()
    client = make_client(world)
    to_ceo = {"recipients": [{"address": BOB, "contact_id": "c-ceo"}], "subject": "Quarterly offer"}
    client.post("/v1/sends", json=[send(1, subject="Offer"), send(2), send(3, **to_ceo), send(4, **to_ceo)])
    for number in (1, 2):
        world.deliver(dsn(f"send-{number}@crm.example", own_id=f"n-{number}@mx.example"))
    world.deliver(separate_notice("Quarterly offer"))
    world.work()
    return client


def ok(answer, status: int = 200):
    assert answer.status_code == status, answer.text
    return answer.json() if answer.content else None


def test_bounces_come_in_pages_without_gap_or_repeat(api: TestClient):
    everything = ok(api.get("/v1/bounces"))
    assert everything["next"] is None
    first = ok(api.get("/v1/bounces", params={"limit": 1}))
    second = ok(api.get("/v1/bounces", params={"limit": 1, "after": first["next"]}))
    assert first["data"] + second["data"] == everything["data"]
    assert second["next"] is None
    assert {each["send_id"] for each in everything["data"]} == {"s-1", "s-2"}
    for each in everything["data"]:
        assert set(each) == {field.alias or name for name, field in Entry.model_fields.items()}
        assert ok(api.get(f"/v1/bounces/{each['id']}")) == each
    assert api.get("/v1/bounces/nope").status_code == 404


@pytest.mark.parametrize("after", ["nonsense!", "bm9uc2Vuc2U", "MjAyNi0xMS0yMlQxMjowMDowMCB4", "9", "é"])
def test_a_position_that_nobody_gave_is_refused(api: TestClient, after: str):
    for path in ("/v1/bounces", "/v1/review", "/v1/events"):
        answer = api.get(path, params={"after": after})
        assert answer.status_code == 400, (path, answer.text)
        assert "`next` of an earlier answer" in answer.json()["detail"]


def test_bounces_whose_sends_have_become_too_old_are_shown_and_lifted(api: TestClient, world: World):
    before = ok(api.get("/v1/bounces"))
    world.context = replace(world.context, keep_sends=timedelta(days=30))
    world.now += timedelta(days=31)
    world.work()
    later = make_client(world)
    assert admin.all_sends(world.context, "acme") == []
    assert ok(later.get("/v1/bounces")) == before
    (entry,) = ok(later.get("/v1/contacts/c-1/timeline"))["data"]
    assert ok(later.get(f"/v1/bounces/{entry['id']}")) == entry
    ok(later.post("/v1/unbounces", json={"address": BOB, "by": "ann", "why": "he called"}), 201)
    assert ok(later.get(f"/v1/bounces/{entry['id']}"))["ended_by"] == "unbounced"


def test_a_contact_has_a_timeline_and_an_unknown_one_an_empty_one(api: TestClient):
    (entry,) = ok(api.get("/v1/contacts/c-1/timeline"))["data"]
    assert (entry["address"], entry["reason"], entry["fault"]) == (BOB, "unknown_user", "address")
    assert ok(api.get("/v1/contacts/nobody/timeline")) == {"schema": 1, "data": [], "next": None}


def test_email_status_answers_in_the_order_asked(api: TestClient):
    asked = ["new@customer.example", "BOB@customer.example", CLEO, "no address"]
    rows = ok(api.post("/v1/email-status", json={"addresses": asked}))["data"]
    assert [(row["address"], row["status"], row["may_email"]) for row in rows] == [
        ("new@customer.example", "ok", True),
        ("BOB@customer.example", "previously_bounced_in_account", False),
        (CLEO, "ok", True),
        ("no address", "ok", True),
    ]
    assert rows[1]["email_hard_bounce_reason"] == "unknown_user"
    assert api.post("/v1/email-status", json={"addresses": ["a@x.example"] * 1_001}).status_code == 422


def test_a_soft_bounce_is_told_and_excludes_nobody(api: TestClient, world: World):
    ok(api.post("/v1/sends", json=[send(9, recipients=[{"address": "sue@customer.example", "contact_id": "c-9"}])]))
    soft = [("sue@customer.example", "failed", "4.2.1", "smtp; 421 4.2.1 try later")]
    world.deliver(dsn("send-9@crm.example", soft, own_id="n-9@mx.example"))
    world.work()
    (row,) = ok(api.post("/v1/email-status", json={"addresses": ["sue@customer.example"]}))["data"]
    assert (row["status"], row["may_email"], row["excluded_by"]) == ("bounced", True, None)


def test_an_address_is_lifted_and_that_is_taken_back_and_the_trail_tells_who(api: TestClient, world: World):
    decision = ok(api.post("/v1/unbounces", json={"address": BOB, "why": "he called"}), 201)["decision"]
    (row,) = ok(api.post("/v1/email-status", json={"addresses": [BOB]}))["data"]
    assert row["status"] == "ok"
    again = api.post("/v1/unbounces", json={"address": BOB, "why": "again"})
    assert again.status_code == 409
    assert "nothing to lift" in again.json()["detail"]
    world.now += timedelta(minutes=1)
    ok(api.post(f"/v1/decisions/{decision}/undo", json={"why": "another Bob"}), 204)
    (row,) = ok(api.post("/v1/email-status", json={"addresses": [BOB]}))["data"]
    assert row["status"] == "previously_bounced_in_account"
    trail = ok(api.get("/v1/trail", params={"address": BOB}))["data"]
    assert [(each["kind"], each["why"]) for each in trail][2:] == [
        ("unbounced", "he called"),
        ("undone", "another Bob"),
    ]
    assert trail[2]["by"].startswith("API key crm (")
    assert api.post("/v1/decisions/nope/undo", json={"why": "x"}).status_code == 404
    assert api.post("/v1/unbounces", json={"address": BOB}).status_code == 422


def test_a_bounce_is_rejected(api: TestClient):
    (entry,) = ok(api.get("/v1/contacts/c-2/timeline"))["data"]
    ok(api.post(f"/v1/bounces/{entry['id']}/reject", json={"why": "a newsletter"}), 201)
    (entry,) = ok(api.get("/v1/contacts/c-2/timeline"))["data"]
    assert entry["ended_by"] == "rejected"
    assert api.post("/v1/bounces/nope/reject", json={"why": "x"}).status_code == 404


def test_what_waits_is_accepted_or_rejected(api: TestClient):
    waiting = ok(api.get("/v1/review"))
    (entry,) = waiting["data"]
    assert set(entry) == {field.alias or name for name, field in ReviewEntry.model_fields.items()}
    assert (entry["send_id"] in {"s-3", "s-4"}, entry["contact_id"]) == (True, "c-ceo")
    assert ok(api.get("/v1/contacts/c-ceo/timeline"))["data"] == []
    bounce = ok(api.post(f"/v1/review/{entry['id']}/accept", json={}), 201)["bounce_id"]
    (attached,) = ok(api.get("/v1/contacts/c-ceo/timeline"))["data"]
    assert attached["id"] == bounce
    assert ok(api.get("/v1/review"))["data"] == []
    assert api.post(f"/v1/review/{entry['id']}/reject", json={"why": "no"}).status_code == 404


def test_inboxes_are_connected_paused_resumed_and_removed(api: TestClient, world: World):
    new = {"name": "ines", "address": "ines@acme.example", "provider": "imap", "secret": "s3cret"}
    made = ok(api.post("/v1/inboxes", json=new | {"settings": {"host": "imap.acme.example", "username": "ines"}}), 201)
    assert (made["name"], made["state"]) == ("ines", "active")
    assert "s3cret" not in str(made)
    again = api.post("/v1/inboxes", json=new | {"settings": {"host": "imap.acme.example", "username": "ines"}})
    assert again.status_code == 422
    assert "already has an inbox" in again.json()["detail"]
    ok(api.post("/v1/inboxes/ines/pause"), 204)
    assert ok(api.get("/v1/inboxes/ines"))["state"] == "paused"
    ok(api.post("/v1/inboxes/ines/resume"), 204)
    assert [row["name"] for row in ok(api.get("/v1/inboxes"))["data"]] == ["alice", "ines"]
    ok(api.delete("/v1/inboxes/ines"), 204)
    assert api.get("/v1/inboxes/ines").status_code == 404


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"provider": "pop3"}, "provider"),
        ({"provider": "maildir", "settings": {"path": "/etc"}}, "Only the operator may connect a folder"),
        (
            {"settings": {"host": "h.example", "username": "i", "ca_file": "/etc/shadow"}},
            "Only the operator may choose",
        ),
        ({"settings": {"host": "h.example", "username": "i", "read_timeout": 9e9}}, "Only the operator may choose"),
        ({"settings": {"host": ["h"], "username": "i"}}, "host can't be"),
        ({"settings": {"host": "h.example", "username": "i", "port": "993"}}, "port can't be"),
        ({"settings": {"host": "h.example", "username": "i", "folders": 7}}, "folders can't be"),
        ({"settings": {"username": "i"}}, "needs host"),
        ({"settings": {"hots": "x"}}, "no setting named hots"),
        ({"address": "nobody"}, "address"),
    ],
)
def test_an_inbox_that_cannot_be_says_why(api: TestClient, change, why):
    new = {"name": "ines", "address": "ines@acme.example", "provider": "imap", "settings": {}} | change
    answer = api.post("/v1/inboxes", json=new)
    assert answer.status_code == 422
    assert why in answer.json()["detail"]


def test_health_needs_no_key_and_tells_nothing(world: World, api: TestClient):
    assert ok(api.get("/v1/health", headers={"Authorization": ""})) == {"status": "ok"}
    broken = make_client(world)
    world.context.engine.dispose()
    assert ok(broken.get("/v1/health")) == {"status": "ok"}


def test_every_problem_is_told_as_problem_details(api: TestClient):
    big = {"address": BOB, "why": "x" * 2_000_000}
    for answer, status in (
        (api.get("/v1/nowhere"), 404),
        (api.put("/v1/sends"), 405),
        (api.get("/v1/bounces", params={"limit": 0}), 422),
        (api.post("/v1/unbounces", content="{", headers={"Content-Type": "application/json"}), 400),
        (api.post("/v1/unbounces", json=big), 413),
    ):
        assert answer.status_code == status, answer.text
        assert answer.headers["Content-Type"] == "application/problem+json"
        told = answer.json()
        assert told["status"] == status
        assert told["detail"].endswith(".")
