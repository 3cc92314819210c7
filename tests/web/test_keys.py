"""Who may call: a key proves itself, is bound to its account and its scopes, and ends when it should."""

from datetime import timedelta

import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient

from tests.fakes.world import World
from tests.web.api import make_client, send
from worker import access
from worker.admin import AdminProblem
from worker.config import read
from worker.keys import Scope
from worker.store import schema
from worker.store.database import reading
from worker.web import make_web
from worker.web.callers import BURST, Limiter


def client(world: World, key: str | None) -> TestClient:
    headers = {b"Authorization": f"Bearer {key}".encode("latin-1")} if key is not None else {}
    return TestClient(make_web(read({}), lambda: world.context), headers=headers)


def status(world: World, key: str | None) -> int:
    return client(world, key).get("/v1/inboxes").status_code


def test_without_a_key_that_counts_nothing_is_told(world: World):
    made = access.create(world.context, "acme", "crm", [Scope.READ])
    other = access.create(world.context, "acme", "crm", [Scope.READ])
    of_another = f"bw_{made.key.id}_{other.text.rpartition('_')[2]}"
    for wrong in (None, "", "nonsense", made.text[:-1], made.text[:-1] + "é", of_another, f"bw_{'0' * 16}_{'A' * 43}"):
        answer = client(world, wrong).get("/v1/inboxes")
        assert answer.status_code == 401, wrong
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert answer.json()["title"] == "No valid key"
    assert status(world, made.text) == 200


def test_a_key_ends_when_it_expires_and_when_it_is_revoked(world: World):
    short = access.create(world.context, "acme", "short", [Scope.READ], timedelta(hours=1))
    long = access.create(world.context, "acme", "long", [Scope.READ])
    assert (status(world, short.text), status(world, long.text)) == (200, 200)
    world.now += timedelta(hours=1)
    assert (status(world, short.text), status(world, long.text)) == (401, 200)
    access.revoke(world.context, long.key.id)
    assert status(world, long.text) == 401
    with pytest.raises(AdminProblem, match="revoked before"):
        access.revoke(world.context, long.key.id)
    assert {row["name"]: row["state"] for row in access.listed(world.context, "acme")} == {
        "short": "expired",
        "long": "revoked",
    }


def test_a_key_is_exchanged_without_a_gap(world: World):
    old = access.create(world.context, "acme", "crm", [Scope.READ], timedelta(days=90))
    new = access.rotate(world.context, old.key.id, timedelta(hours=24))
    assert (new.key.account, new.key.scopes) == (old.key.account, old.key.scopes)
    assert new.key.expires_at == world.now + timedelta(days=90)
    assert (status(world, old.text), status(world, new.text)) == (200, 200)
    world.now += timedelta(hours=24)
    assert (status(world, old.text), status(world, new.text)) == (401, 200)
    with pytest.raises(AdminProblem, match="has ended"):
        access.rotate(world.context, old.key.id, timedelta(hours=24))


def test_a_key_does_only_what_its_scopes_allow(world: World):
    reader = make_client(world, scopes=[Scope.READ])
    refused = reader.post("/v1/sends", json=[send()])
    assert refused.status_code == 403
    assert "lacks the scope send" in refused.json()["detail"]
    assert reader.post("/v1/unbounces", json={"address": "b@x.example", "why": "x"}).status_code == 403
    assert reader.post("/v1/global-lifts", json={"address": "b@x.example", "why": "x"}).status_code == 403
    sender = make_client(world, scopes=[Scope.SEND])
    assert sender.post("/v1/sends", json=[send()]).status_code == 200
    assert sender.get("/v1/bounces").status_code == 403


def test_only_a_key_of_no_account_may_reach_all(world: World):
    with pytest.raises(AdminProblem, match="only a key of no account"):
        access.create(world.context, "acme", "x", [Scope.OPERATE])
    world.inbox()
    operator = make_client(world, None, [Scope.READ, Scope.OPERATE])
    assert operator.get("/v1/inboxes").status_code == 400
    assert operator.get("/v1/inboxes", headers={"Bounce-Account": "nobody"}).status_code == 404
    rows = operator.get("/v1/inboxes", headers={"Bounce-Account": "acme"}).json()["data"]
    assert [row["name"] for row in rows] == ["alice"]
    own = make_client(world).get("/v1/inboxes", headers={"Bounce-Account": "other"}).json()["data"]
    assert [row["account"] for row in own] == ["acme"]


def test_a_stolen_database_holds_no_key(world: World):
    made = access.create(world.context, "acme", "crm", [Scope.READ])
    secret = made.text.rpartition("_")[2]
    with reading(world.context.engine) as connection:
        rows = [connection.execute(table.select()).all() for table in schema.metadata.sorted_tables]
        assert connection.execute(sa.select(schema.api_keys.c.id)).scalar_one() == made.key.id
    assert secret not in repr(rows)
    assert made.text not in repr(access.listed(world.context, None))


def test_last_use_is_noted_down_about_once_an_hour(world: World):
    made = access.create(world.context, "acme", "crm", [Scope.READ])

    def last_used() -> str | None:
        (row,) = access.listed(world.context, "acme")
        return row["last_used_at"]

    assert last_used() is None
    status(world, made.text)
    first = last_used()
    world.now += timedelta(minutes=59)
    status(world, made.text)
    assert last_used() == first == "2026-11-22T12:00:00+00:00"
    world.now += timedelta(minutes=1)
    status(world, made.text)
    assert last_used() == "2026-11-22T13:00:00+00:00"


def test_too_many_requests_are_put_off_for_each_key_alone(world: World):
    limiter = Limiter(lambda: 0.0)
    one, other = make_client(world, limiter=limiter), make_client(world, limiter=limiter)
    answers = [one.get("/v1/inboxes") for _ in range(BURST + 1)]
    assert [answer.status_code for answer in answers] == [200] * BURST + [429]
    assert int(answers[-1].headers["Retry-After"]) >= 1
    assert "Try again in" in answers[-1].json()["detail"]
    assert other.get("/v1/inboxes").status_code == 200


def test_the_limiter_gives_back_over_time_and_forgets_whom_it_must():
    now = 0.0
    limiter = Limiter(lambda: now)
    assert [limiter.wait("a") for _ in range(BURST)] == [0.0] * BURST
    wait = limiter.wait("a")
    assert wait == pytest.approx(0.05)
    now = wait
    assert limiter.wait("a") == pytest.approx(0.0, abs=1e-9)
    assert limiter.wait("a") > 0
    for number in range(20_000):
        limiter.wait(str(number))
    assert len(limiter._buckets) <= 10_000
