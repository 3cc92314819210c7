"""Access tokens out of stored grants: renewed in time, kept, and refused in words that a person can act on."""

import json
import socket
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from connectors import (
    AuthRequired,
    ConnectorError,
    Misconfigured,
    StaleCredential,
    Throttled,
    Unavailable,
    _exchange_http,
    _http,
    _imap_session,
)
from connectors._http import Http, retry_after
from connectors.network import Guard, dial
from connectors.oauth import ERRORS, MICROSOFT_ERRORS, access_token
from tests.fakes.tokens import FakeTokens, ok, refused
from worker.app import SOFT_LIMIT_SECONDS

NOW = 1_800_000_000.0
SECRETS = ("client-s3cret", "refresh-1", "refresh-2", "token-1", "token-2")


@dataclass
class Store:
    """A `CredentialStore` with versions; `before_save` is what others do meanwhile."""

    grant: dict
    version: int = 1
    saves: int = 0
    before_save: list = field(default_factory=list)

    def load(self) -> tuple[str, int]:
        return json.dumps(self.grant), self.version

    def save(self, secret: str, expected_version: int) -> int:
        while self.before_save:
            self.before_save.pop()(self)
        if expected_version != self.version:
            raise StaleCredential
        self.grant, self.version = json.loads(secret), self.version + 1
        self.saves += 1
        return self.version


@pytest.fixture
def tokens(tmp_path):
    numbers = iter(range(1, 100))
    fake = FakeTokens(tmp_path, lambda _: ok(access_token=f"token-{next(numbers)}", expires_in=3600))
    with fake:
        yield fake


def token(store: Store, tokens: FakeTokens, now: float = NOW, refused: str | None = None) -> str:
    return access_token(store, dial, refused=refused, ca_file=tokens.ca_file, clock=lambda: now)


def failure(store: Store, tokens: FakeTokens) -> ConnectorError:
    with pytest.raises(ConnectorError) as caught:
        token(store, tokens)
    said = str(caught.value)
    assert said.endswith("."), said
    assert not any(secret in said for secret in SECRETS), said
    return caught.value


@pytest.fixture(params=["google", "microsoft"])
def store(request, tokens):
    return Store(getattr(tokens, request.param)())


def test_a_token_is_got_once_and_kept_until_shortly_before_its_end(store, tokens):
    assert [token(store, tokens), token(store, tokens, NOW + 3000)] == ["token-1", "token-1"]
    assert token(store, tokens, NOW + 3400) == "token-2"
    assert (store.saves, store.version) == (2, 3)


def test_the_form_is_what_the_standard_asks_for(store, tokens):
    token(store, tokens)
    (form,) = tokens.forms
    wanted = {"grant_type": "refresh_token", "refresh_token": "refresh-1", "client_id": "id"}
    assert wanted.items() <= form.items()
    assert form["client_secret"] == "client-s3cret"


def test_a_refused_token_is_not_given_again(store, tokens):
    first = token(store, tokens)
    assert token(store, tokens, refused=first) == "token-2"


def test_a_refresh_token_that_rotates_is_kept(store, tokens):
    tokens.reply = lambda _: ok(access_token="token-1", refresh_token="refresh-2", expires_in=10)
    token(store, tokens)
    token(store, tokens)
    assert [form["refresh_token"] for form in tokens.forms] == ["refresh-1", "refresh-2"]
    assert store.grant["client_secret"] == "client-s3cret"


def test_who_loses_takes_the_winners_token(store, tokens):
    def other(store: Store) -> None:
        store.grant |= {"access_token": "winner", "expires_at": NOW + 3600, "refresh_token": "refresh-2"}
        store.version += 1

    store.before_save.append(other)
    assert token(store, tokens) == "winner"
    assert store.grant["refresh_token"] == "refresh-2"


def test_who_comes_too_late_with_a_used_refresh_token_takes_the_winners_token(store, tokens):
    """Where refresh tokens are good for one use, the loser is refused, and nobody needs to reconnect."""

    def used_by_another(_form: dict[str, str]):
        store.grant |= {"access_token": "winner", "expires_at": NOW + 3600, "refresh_token": "refresh-2"}
        store.version += 1
        return refused("invalid_grant", "refresh token already used")

    tokens.reply = used_by_another
    assert token(store, tokens) == "winner"
    assert store.grant["refresh_token"] == "refresh-2"


def test_a_new_grant_that_a_person_stored_meanwhile_is_tried_by_the_next_poll(store, tokens):
    def replaced(_form: dict[str, str]):
        store.grant |= {"refresh_token": "refresh-2"}
        store.version += 1
        return refused("invalid_grant")

    tokens.reply = replaced
    assert type(failure(store, tokens)) is Unavailable


def test_renewing_twice_and_a_call_take_no_longer_than_a_task_has():
    """Microsoft takes two requests a time: before the sign-in, and again after a refused token."""
    for call_limit in (_imap_session.CALL_LIMIT, _exchange_http.CALL_LIMIT):
        assert 2 * 2 * _http.CALL_LIMIT + call_limit < SOFT_LIMIT_SECONDS


def test_an_application_needs_no_user(tokens):
    grant = tokens.microsoft()
    del grant["refresh_token"]
    assert token(Store(grant), tokens) == "token-1"
    assert tokens.forms[0]["grant_type"] == "client_credentials"
    assert tokens.forms[0]["scope"] == "https://outlook.office365.com/.default"


def test_an_apps_registration_needs_no_type(tokens):
    """As docs/gmail-and-office365.md shows the file that is given as --credentials."""
    registered = {"tenant": "acme.example", "client_id": "id", "client_secret": "client-s3cret"}
    store = Store(registered | {"authority": tokens.url})
    assert token(store, tokens) == "token-1"
    assert tokens.forms[0]["grant_type"] == "client_credentials"
    assert store.grant["type"] == "microsoft"


@pytest.mark.parametrize("name", ["expires_in", "refresh_token_expires_in"])
def test_a_life_that_no_token_has_is_not_believed(tokens, name):
    tokens.reply = lambda _: ok(access_token="token-1", refresh_token="refresh-2", **{name: 10**400})
    store = Store(tokens.google())
    assert token(store, tokens) == "token-1"
    assert store.grant["expires_at"] == NOW + 3600
    assert "ends_at" not in store.grant


def test_a_public_client_has_no_secret(tokens):
    grant = tokens.microsoft()
    del grant["client_secret"]
    assert token(Store(grant), tokens) == "token-1"
    assert "client_secret" not in tokens.forms[0]
    assert "IMAP.AccessAsUser.All" in tokens.forms[0]["scope"]


def test_a_bearer_token_is_used_until_it_is_refused(tokens):
    store = Store({"type": "bearer", "access_token": "given"})
    assert token(store, tokens) == "given"
    with pytest.raises(AuthRequired, match="run out or is refused"):
        token(store, tokens, refused="given")
    with pytest.raises(AuthRequired, match="run out"):
        token(Store({"type": "bearer", "access_token": "given", "expires_at": NOW - 1}), tokens)


@pytest.mark.parametrize("code", MICROSOFT_ERRORS)
def test_what_microsoft_says_becomes_what_to_do(tokens, code):
    tokens.reply = lambda _: refused("invalid_grant", f"{code}: something long. Trace ID: 1 refresh-1")
    error = failure(Store(tokens.microsoft()), tokens)
    assert type(error) is AuthRequired
    assert str(error) == MICROSOFT_ERRORS[code]


@pytest.mark.parametrize("error", [*ERRORS, "never_heard_of"])
def test_every_refusal_needs_a_person(store, tokens, error):
    tokens.reply = lambda _: refused(error, "Bad Request client-s3cret")
    assert type(failure(store, tokens)) is AuthRequired


def test_a_testing_mode_client_is_told(tokens):
    tokens.reply = lambda _: refused("invalid_grant", "Token has been expired or revoked.")
    said = str(failure(Store(tokens.google()), tokens))
    assert said.startswith("Google no longer accepts this sign-in")
    assert "testing mode, which lasts 7 days" in said


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        ((429, {"Retry-After": "77"}, b"{}"), Throttled),
        ((503, {"Retry-After": "77"}, b""), Throttled),
        ((503, {}, b"<html>"), Unavailable),
        ((500, {}, b"oops"), Unavailable),
        ((400, {}, json.dumps({"error": "temporarily_unavailable"}).encode()), Unavailable),
        ((200, {}, b"x" * 300_000), Unavailable),
        ((302, {"Location": "https://elsewhere.example/"}, b""), Misconfigured),
        ((400, {}, json.dumps({"error": "internal_failure"}).encode()), Unavailable),
        ((403, {}, b'{"error": {"code": 403}}'), Unavailable),
        ((404, {}, b'{"message": "no route"}'), Unavailable),
        ((200, {}, b"{}"), Unavailable),
        ((200, {}, b'{"access_token": 7}'), Unavailable),
    ],
    ids=[
        "429",
        "503 with a time",
        "503",
        "500",
        "busy",
        "huge",
        "redirect",
        "failed",
        "API",
        "proxy",
        "{}",
        "a number",
    ],
)
def test_what_else_an_endpoint_may_say(store, tokens, reply, kind):
    tokens.reply = lambda _: reply
    error = failure(store, tokens)
    assert type(error) is kind
    if isinstance(error, Throttled):
        assert error.retry_after == timedelta(seconds=77)


@pytest.mark.parametrize("body", [b"<html>welcome</html>", b"[]", b"", b"\xff", b"[" * 100_000])
def test_what_is_no_object_is_no_answer(store, tokens, body):
    tokens.reply = lambda _: (200, {}, body)
    failure(store, tokens)


@pytest.mark.parametrize(
    "grant", ["hunter2", "[]", '{"type": "service_account"}', '{"type": "authorized_user"}', '{"type": "microsoft"}']
)
def test_what_is_no_grant_is_said(tokens, grant):
    @dataclass
    class Fixed:
        def load(self) -> tuple[str, int]:
            return grant, 1

    with pytest.raises(AuthRequired, match="inbox resume --credentials"):
        access_token(Fixed(), dial, ca_file=tokens.ca_file)


def test_a_certificate_that_nobody_vouches_for_is_refused(store):
    with pytest.raises(Misconfigured, match="certificate that can't be trusted"):
        access_token(store, dial)


def test_a_grant_of_a_tenant_leads_nowhere_inside(store, tokens):
    with pytest.raises(Misconfigured, match="inside the operator's network"):
        access_token(store, Guard(), ca_file=tokens.ca_file)


def test_secrets_do_not_travel_unprotected(tokens):
    with pytest.raises(Misconfigured, match="isn't https"):
        token(Store(tokens.google(token_uri="http://token.example/token")), tokens)


def served(server: socket.socket, answer: Callable[[socket.socket], None]) -> str:
    """Have each connection answered by a thread of its own, until the server is closed; return where it is."""

    def accept() -> None:
        with suppress(OSError):
            while True:
                client, _ = server.accept()
                threading.Thread(target=one, args=(client,), daemon=True).start()

    def one(client: socket.socket) -> None:
        with client, suppress(OSError):
            answer(client)

    threading.Thread(target=accept, daemon=True).start()
    return f"http://127.0.0.1:{server.getsockname()[1]}/"


def drip(client: socket.socket) -> None:
    client.sendall(b"HTTP/1.1 200 OK\r\n")
    for _ in range(200):
        client.sendall(b"X")
        time.sleep(0.02)


def slow_dial(host: str, port: int, timeout: float) -> socket.socket:
    time.sleep(0.4)  # as where the first of a name's addresses doesn't answer
    return dial(host, port, timeout)


@pytest.mark.parametrize("connect", [dial, slow_dial])
def test_an_endpoint_that_drips_is_given_up(connect):
    with socket.create_server(("127.0.0.1", 0)) as server:
        url, begin = served(server, drip), time.monotonic()
        with closing(Http(connect, call_limit=0.3)) as http, pytest.raises(Unavailable, match="too slow"):
            http.get(url)
    assert time.monotonic() - begin < 2


def test_a_server_that_ends_each_connection_piles_up_none():
    def answer(client: socket.socket) -> None:
        client.recv(1000)
        client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")

    opened: list[socket.socket] = []

    def counted(host: str, port: int, timeout: float) -> socket.socket:
        opened.append(dial(host, port, timeout))
        return opened[-1]

    with socket.create_server(("127.0.0.1", 0)) as server, closing(Http(counted, keep_alive=True)) as http:
        url = served(server, answer)
        assert [http.get(url).text for _ in range(10)] == ["{}"] * 10
        assert len(opened) == 10
        assert len(http._open) == 1


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("5", 5), ("0", 1), ("999999999", 6 * 3600), (None, 60), ("soon", 60), ("Mon, 01 Jan 2001 00:00:00 GMT", 1)],
)
def test_retry_after_is_seconds_or_a_date(value, seconds):
    assert retry_after(value) == timedelta(seconds=seconds)
