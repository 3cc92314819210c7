"""Accounts are strictly apart: every route, asked with another account's key about everything that this one has."""

import re
from itertools import product

import pytest
from fastapi.testclient import TestClient

from tests.fakes.notices import dsn
from tests.fakes.world import World
from tests.pipeline.test_matching import separate_notice
from tests.web.api import ALL, make_client, send
from worker import access, hooks
from worker.keys import Scope

SECRETS = ("bob@customer.example", "ceo@customer.example", "c-bob", "c-ceo", "s-1", "s-2", "alice@acme.example", "acme")


@pytest.fixture
def acme(world: World) -> TestClient:
    """An account with one of everything: inbox, send, bounce, decision, review, event, webhook, key."""
    world.inbox()
    client = make_client(world)
    ceo = {"recipients": [{"address": "ceo@customer.example", "contact_id": "c-ceo"}], "subject": "Quarterly offer"}
    bob = {"recipients": [{"address": "bob@customer.example", "contact_id": "c-bob"}]}
    client.post("/v1/sends", json=[send(1, **bob), send(2, **ceo), send(3, **ceo)])
    world.deliver(dsn("send-1@crm.example"))
    world.deliver(separate_notice("Quarterly offer"))
    world.work()
    hooks.add(world.context, "acme", "https://crm.example/bounces")
    client.post("/v1/unbounces", json={"address": "bob@customer.example", "why": "he called"})
    world.work()
    return client


def names_of(acme: TestClient) -> dict[str, list[str]]:
    """Return, by path parameter, everything that acme has by such a name."""
    trail = acme.get("/v1/trail", params={"address": "bob@customer.example"}).json()["data"]
    return {
        "bounce_id": [row["id"] for row in acme.get("/v1/bounces").json()["data"]],
        "contact_id": ["c-bob", "c-ceo"],
        "review_id": [row["id"] for row in acme.get("/v1/review").json()["data"]],
        "decision": [row["id"] for row in trail],
        "webhook_id": [row["id"] for row in acme.get("/v1/webhooks").json()["data"]],
        "name": ["alice"],
        "event_type": ["bounce.attached"],
    }


def bodies(acme: TestClient) -> dict[str, object]:
    """Return a body for each route that wants one, speaking of what acme has."""
    return {
        "/v1/sends": [send(1) | {"account": "acme"}],
        "/v1/unbounces": {"address": "ceo@customer.example", "why": "x"},
        "/v1/email-status": {"addresses": ["bob@customer.example", "ceo@customer.example"]},
        "/v1/inboxes": {"name": "x", "address": "alice@acme.example", "provider": "pop3", "settings": {}},
        "/v1/webhooks": {"url": "https://other.example/"},
        "/v1/bounces/{bounce_id}/reject": {"why": "x"},
        "/v1/decisions/{decision}/undo": {"why": "x"},
        "/v1/review/{review_id}/accept": {"send_id": "s-2", "contact_id": "c-ceo"},
        "/v1/review/{review_id}/reject": {"why": "x"},
        "/v1/webhooks/{webhook_id}/replay": {},
        "/v1/global-lifts": {"address": "bob@customer.example", "why": "x"},
    }


def everything(acme: TestClient) -> str:
    """Return all that acme sees of itself."""
    paths = ("inboxes", "bounces", "review", "incidents", "events", "webhooks", "trail?address=bob@customer.example")
    return "\n".join(acme.get(f"/v1/{path}").text for path in paths)


def routes(client: TestClient) -> list[tuple[str, str]]:
    described = client.get("/v1/openapi.json").json()["paths"]
    return [(method, path) for path, methods in sorted(described.items()) for method in methods]


def test_another_accounts_key_reads_nothing_and_changes_nothing(world: World, acme: TestClient):
    names, given, before = names_of(acme), bodies(acme), everything(acme)
    assert all(names.values()), names
    other = make_client(world, "other")
    asked = 0
    for method, path in routes(other):
        wanted = re.findall(r"{(\w+)}", path)
        for chosen in product(*(names[name] for name in wanted)):
            where = path.format(**dict(zip(wanted, chosen, strict=True)))
            params = {"address": "bob@customer.example"} if path == "/v1/trail" else {}
            answer = other.request(method, where, json=given.get(path) if method == "post" else None, params=params)
            asked += 1
            if wanted and wanted not in (["contact_id"], ["event_type"]):
                assert answer.status_code == 404, (method, where, answer.text)
            assert answer.status_code < 500
            told = answer.text
            for named in (*chosen, *(params.values()), *re.findall(r"[\w.-]+@[\w.-]+", str(given.get(path)))):
                told = told.replace(named, "")  # what the caller said is no news to them
            if path not in ("/v1/sends", "/v1/event-schemas/{event_type}"):
                assert not [secret for secret in SECRETS if secret in told], (method, where, told)
    assert asked >= len(routes(other)) >= 25
    assert everything(acme) == before


def test_the_other_accounts_name_in_a_send_is_refused(world: World, acme: TestClient):
    other = make_client(world, "other")
    (refused,) = other.post("/v1/sends", json=[send(9) | {"account": "acme"}]).json()["refused"]
    assert "the key is of 'other'" in refused["why"]


def test_every_route_but_health_wants_a_key(world: World, acme: TestClient):
    stranger = make_client(world)
    stranger.headers.pop("Authorization")
    for method, path in routes(stranger):
        where = re.sub(r"{\w+}", "x", path)
        body = bodies(acme).get(path) if method == "post" else None
        answer = stranger.request(method, where, json=body, params={"address": "x"})
        assert answer.status_code == (200 if path == "/v1/health" else 401), (method, path)


def test_every_route_names_the_scope_that_it_wants(world: World, acme: TestClient):
    for scope in ALL:
        limited = make_client(world, scopes=[scope])
        for method, path in routes(limited):
            where = re.sub(r"{\w+}", "x", path)
            body = bodies(acme).get(path) if method == "post" else None
            answer = limited.request(method, where, json=body, params={"address": "x"})
            if method != "get" and scope is Scope.READ and path != "/v1/email-status":
                assert answer.status_code == 403, (method, path)
            if path == "/v1/global-lifts":
                assert answer.status_code == 403


def test_keys_are_listed_by_account(world: World, acme: TestClient):
    make_client(world, "other")
    assert {row["account"] for row in access.listed(world.context, "other")} == {"other"}
