"""Where a browser comes back to after signing in: the right inbox gets the grant, once, and nobody else's does."""

import json
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
import sqlalchemy as sa
from fastapi import FastAPI
from fastapi.testclient import TestClient

from connectors import ImapSettings, SignIn
from connectors.oauth import IMAP
from tests.connectors.test_sign_in import google_client, microsoft_answer, microsoft_client
from tests.fakes.notices import NOW
from tests.fakes.tokens import FakeTokens, ok, refused
from tests.fakes.world import World
from worker import admin
from worker.store import credentials, schema
from worker.store.database import reading
from worker.store.inboxes import InboxState
from worker.web import sign_in

BACK = "https://bounces.acme.example/sign-in/callback"


@pytest.fixture
def tokens(tmp_path):
    with FakeTokens(tmp_path, lambda _: ok(access_token="a", refresh_token="refresh-9", expires_in=3600)) as fake:
        yield fake


@pytest.fixture
def browser(world: World) -> TestClient:
    app = FastAPI()
    app.include_router(sign_in.router(lambda: world.context))
    return TestClient(app)


def connected(world: World, tokens: FakeTokens, name: str = "gina", **grant):
    settings = ImapSettings(
        host="imap.test", username=f"{name}@acme.example", sign_in=SignIn.XOAUTH2, ca_file=tokens.ca_file
    )
    request = admin.InboxRequest(
        account="acme",
        name=name,
        address=f"{name}@acme.example",
        settings=settings,
        secret=json.dumps(grant or google_client(tokens) | {"refresh_token": "old"}),
        trusted=True,
    )
    return admin.add_inbox(world.context, request)


def begun(world: World, inbox) -> dict[str, str]:
    url = admin.begin_sign_in(world.context, inbox, BACK, admin.client_of(world.context, inbox))
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}


def stored(world: World, inbox) -> dict:
    return json.loads(credentials.DatabaseCredentials(world.context.engine, world.context.ring, inbox.id).load()[0])


def test_a_person_comes_back_and_the_inbox_is_read_again(world: World, tokens, browser):
    inbox = connected(world, tokens)
    admin.pause(world.context, inbox)
    asked = begun(world, inbox)
    assert asked["redirect_uri"] == BACK
    answer = browser.get("/sign-in/callback", params={"state": asked["state"], "code": "c"})
    assert answer.status_code == 200
    assert "gina@acme.example" in answer.text
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert stored(world, inbox)["refresh_token"] == "refresh-9"
    again = admin.the_inbox(world.context, "gina", "acme")
    assert (again.state, again.next_poll_at) == (InboxState.ACTIVE, NOW)


def test_microsoft_posts_its_answer(world: World, tokens, browser):
    inbox = connected(world, tokens, "olaf", **microsoft_client(tokens, client_secret="s"))
    asked = begun(world, inbox)
    assert asked["response_mode"] == "form_post"
    tokens.reply = lambda _: microsoft_answer(asked, scope=IMAP.user_scope)
    answer = browser.post("/sign-in/callback", data={"state": asked["state"], "code": "c"})
    assert answer.status_code == 200
    assert stored(world, inbox)["user"] == "gina@acme.example"


def test_an_answer_counts_once(world: World, tokens, browser):
    asked = begun(world, connected(world, tokens))
    given = {"state": asked["state"], "code": "c"}
    assert browser.get("/sign-in/callback", params=given).status_code == 200
    answer = browser.get("/sign-in/callback", params=given)
    assert answer.status_code == 400
    assert "begin again" in answer.text
    assert len(tokens.forms) == 1


def test_an_answer_that_nobody_asked_for_changes_nothing(world: World, tokens, browser):
    inbox = connected(world, tokens)
    begun(world, inbox)
    for given in ({}, {"state": "guessed", "code": "c"}, {"state": "", "code": "c"}):
        assert browser.get("/sign-in/callback", params=given).status_code == 400
    assert stored(world, inbox)["refresh_token"] == "old"
    assert tokens.forms == []


def test_a_sign_in_holds_for_a_quarter_of_an_hour(world: World, tokens, browser):
    inbox = connected(world, tokens)
    asked = begun(world, inbox)
    world.now += timedelta(minutes=15)
    assert browser.get("/sign-in/callback", params={"state": asked["state"], "code": "c"}).status_code == 400
    assert stored(world, inbox)["refresh_token"] == "old"


def test_of_two_sign_ins_for_an_inbox_the_later_counts_and_other_inboxes_are_untouched(world: World, tokens, browser):
    inbox, other = connected(world, tokens), connected(world, tokens, "hugo")
    first, second, theirs = begun(world, inbox), begun(world, inbox), begun(world, other)
    assert browser.get("/sign-in/callback", params={"state": first["state"], "code": "c"}).status_code == 400
    assert browser.get("/sign-in/callback", params={"state": second["state"], "code": "c"}).status_code == 200
    assert stored(world, other)["refresh_token"] == "old"
    assert browser.get("/sign-in/callback", params={"state": theirs["state"], "code": "c"}).status_code == 200
    assert stored(world, other)["refresh_token"] == "refresh-9"


def test_a_no_is_shown_in_words_and_as_text(world: World, tokens, browser):
    asked = begun(world, connected(world, tokens))
    given = {"state": asked["state"], "error": "<script>alert(1)</script>"}
    answer = browser.get("/sign-in/callback", params=given)
    assert answer.status_code == 400
    assert "<script>" not in answer.text
    asked = begun(world, admin.the_inbox(world.context, "gina", "acme"))
    tokens.reply = lambda _: refused("invalid_grant")
    assert (
        "connect the inbox again"
        in browser.get("/sign-in/callback", params={"state": asked["state"], "code": "c"}).text
    )


def test_what_is_posted_is_bounded(world: World, browser):
    assert browser.post("/sign-in/callback", content=b"x" * 70_000).status_code == 413


def test_neither_state_nor_verifier_can_be_read_from_the_database(world: World, tokens):
    inbox = connected(world, tokens)
    asked = begun(world, inbox)
    with reading(world.context.engine) as connection:
        (row,) = connection.execute(sa.select(schema.sign_ins)).all()
    assert asked["state"].encode() not in row.state + row.flow
    assert b"verifier" not in row.flow
