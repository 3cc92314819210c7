"""Signing in: what a person's yes becomes, what each no is told as, and that nobody else's answer is taken."""

import base64
import json
from urllib.parse import parse_qs, urlsplit

import pytest

from connectors import (
    AuthRequired,
    Cloud,
    ConnectorError,
    GmailSettings,
    ImapSettings,
    MaildirSettings,
    Misconfigured,
    Office365Settings,
    Unavailable,
)
from connectors.network import dial
from connectors.oauth import GMAIL, IMAP, access_token, ends_at, granted, user
from connectors.sign_in import (
    Begun,
    begin,
    begin_device,
    finish,
    finish_device,
    read_client,
    resource_of,
)
from tests.connectors.test_oauth import Store
from tests.fakes.tokens import FakeTokens, ok, refused

NOW = 1_800_000_000.0
HERE = "http://127.0.0.1:5000"
WEEK = 7 * 24 * 3600


@pytest.fixture
def tokens(tmp_path):
    with FakeTokens(tmp_path, lambda _: ok()) as fake:
        yield fake


def google_client(tokens: FakeTokens) -> dict:
    registered = {"client_id": "id", "client_secret": "client-s3cret", "token_uri": f"{tokens.url}/token"}
    return dict(read_client(json.dumps({"installed": registered | {"project_id": "p"}})))


def microsoft_client(tokens: FakeTokens, **more) -> dict:
    return dict(read_client(json.dumps({"tenant": "acme.example", "client_id": "id", "authority": tokens.url} | more)))


def begun(client: dict, tokens: FakeTokens, resource=GMAIL) -> tuple[Begun, dict[str, str]]:
    """Begin, and return with it what stands in the address that the person is sent to."""
    started = begin(client, resource, HERE, "gina@acme.example", dial, ca_file=tokens.ca_file)
    return started, {name: values[0] for name, values in parse_qs(urlsplit(started.url).query).items()}


def finished(started: Begun, tokens: FakeTokens, **answer: str) -> dict:
    given = {"state": started.state, "code": "code-1"} | answer
    return json.loads(finish(started.flow, given, dial, ca_file=tokens.ca_file, clock=lambda: NOW))


def problem(started: Begun, tokens: FakeTokens, **answer: str) -> ConnectorError:
    with pytest.raises(ConnectorError) as caught:
        finished(started, tokens, **answer)
    said = str(caught.value)
    assert said.endswith(".")
    assert not any(secret in said for secret in ("client-s3cret", "code-1", "refresh-1")), said
    return caught.value


def google_answer(**more):
    usual = {"access_token": "token-1", "refresh_token": "refresh-1", "expires_in": 3600, "scope": GMAIL.google_scope}
    return ok(**usual | more)


def id_token(nonce: str, **more) -> str:
    """Return an id token as msal reads it: over TLS from the issuer itself, its signature proves nothing more."""
    claims = {
        "iss": "https://issuer/v2.0",
        "aud": "id",
        "exp": 9_999_999_999,
        "iat": 0,
        "nonce": nonce,
        "oid": "user-1",
        "sub": "user-1",
        "preferred_username": "gina@acme.example",
    }
    parts = [{"alg": "none"}, claims | more]
    head, body = (base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts)
    return f"{head}.{body}.x"


def microsoft_answer(url: dict[str, str], number: int = 1, **more):
    info = base64.urlsafe_b64encode(json.dumps({"uid": "user-1", "utid": "tenant-1"}).encode()).decode()
    usual = {
        "access_token": f"token-{number}",
        "refresh_token": f"refresh-{number}",
        "expires_in": 3600,
        "scope": IMAP.user_scope,
        "client_info": info,
        "id_token": id_token(url.get("nonce", "")),
    }
    return ok(**usual | more)


def test_google_is_asked_for_reading_only_offline_and_each_time_with_a_proof_key(tokens):
    _, asked = begun(google_client(tokens), tokens)
    assert asked["scope"] == "https://www.googleapis.com/auth/gmail.readonly"
    assert (asked["access_type"], asked["prompt"], asked["response_type"]) == ("offline", "consent", "code")
    assert (asked["code_challenge_method"], asked["login_hint"]) == ("S256", "gina@acme.example")
    assert len(asked["state"]) >= 40


def test_googles_yes_becomes_a_grant_that_gives_tokens(tokens):
    tokens.reply = lambda _: google_answer()
    started, _ = begun(google_client(tokens), tokens)
    grant = finished(started, tokens)
    (form,) = tokens.forms
    assert (form["grant_type"], form["code"], form["redirect_uri"]) == ("authorization_code", "code-1", HERE)
    assert len(form["code_verifier"]) >= 43
    store = Store(grant)
    assert access_token(store, dial, resource=GMAIL, ca_file=tokens.ca_file, clock=lambda: NOW) == "token-1"
    tokens.reply = lambda form: ok(access_token=f"token for {form['refresh_token']}", expires_in=3600)
    later = access_token(store, dial, resource=GMAIL, ca_file=tokens.ca_file, clock=lambda: NOW + 4000)
    assert later == "token for refresh-1"


def test_a_sign_in_of_a_client_in_testing_mode_is_known_to_end_after_a_week(tokens):
    tokens.reply = lambda _: google_answer(refresh_token_expires_in=WEEK)
    started, _ = begun(google_client(tokens), tokens)
    grant = finished(started, tokens)
    assert ends_at(json.dumps(grant)).timestamp() == NOW + WEEK
    store = Store(grant)
    tokens.reply = lambda _: ok(access_token="token-2", expires_in=3600, refresh_token_expires_in=WEEK - 4000)
    access_token(store, dial, resource=GMAIL, ca_file=tokens.ca_file, clock=lambda: NOW + 4000)
    assert store.grant["ends_at"] == NOW + WEEK  # refreshing prolongs nothing


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({"error": "access_denied"}, "didn't agree"),
        ({"error": "admin_policy_enforced"}, "administrator"),
        ({"error": "org_internal"}, "org_internal"),
        ({"code": ""}, "no code"),
        ({"state": "of another"}, "another sign-in"),
        ({"state": ""}, "another sign-in"),
    ],
)
def test_each_no_of_google_is_told_in_words(tokens, answer, words):
    started, _ = begun(google_client(tokens), tokens)
    error = problem(started, tokens, **answer)
    assert isinstance(error, AuthRequired)
    assert words in str(error)
    assert tokens.forms == []


def test_a_right_that_was_left_unticked_is_noticed_at_once(tokens):
    tokens.reply = lambda _: google_answer(scope="openid")
    started, _ = begun(google_client(tokens), tokens)
    assert "ticked" in str(problem(started, tokens))


def test_a_google_sign_in_without_a_refresh_token_would_end_within_the_hour(tokens):
    tokens.reply = lambda _: google_answer(refresh_token=None)
    started, _ = begun(google_client(tokens), tokens)
    error = problem(started, tokens)
    assert isinstance(error, Misconfigured)
    assert "no refresh token" in str(error)


def test_a_used_code_and_a_broken_answer_are_told(tokens):
    started, _ = begun(google_client(tokens), tokens)
    tokens.reply = lambda _: refused("invalid_grant", "Malformed auth code.")
    assert isinstance(problem(started, tokens), AuthRequired)
    tokens.reply = lambda _: (200, {}, b"<html>")
    assert isinstance(problem(started, tokens), Unavailable)


def test_microsofts_yes_becomes_a_grant_whose_cache_renews_and_rotates(tokens):
    started, asked = begun(microsoft_client(tokens, client_secret="client-s3cret"), tokens, IMAP)
    assert (asked["code_challenge_method"], asked["login_hint"]) == ("S256", "gina@acme.example")
    assert {"offline_access", IMAP.user_scope} <= set(asked["scope"].split())
    # msal puts the digest of its nonce into the address, and wants that digest back in the id token
    tokens.reply = lambda _: microsoft_answer(asked)
    grant = finished(started, tokens)
    assert user(json.dumps(grant)) == "gina@acme.example"
    assert "refresh_token" not in grant
    store = Store(grant)
    seen = []

    def renewed(form):
        seen.append(form["refresh_token"])
        return microsoft_answer({}, len(seen) + 1)

    tokens.reply = renewed
    for number in (1, 2):
        token = access_token(store, dial, ca_file=tokens.ca_file, clock=lambda n=number: NOW + n * 4000)
        assert token == f"token-{number + 1}"
    assert seen == ["refresh-1", "refresh-2"]


def test_an_id_token_for_another_sign_in_is_refused(tokens):
    started, _ = begun(microsoft_client(tokens), tokens, IMAP)
    tokens.reply = lambda _: microsoft_answer({"nonce": "of another"})
    assert "another sign-in" in str(problem(started, tokens))


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({"state": "of another"}, "another sign-in"),
        ({"error": "access_denied", "error_description": "AADSTS65004: User declined to consent."}, "didn't agree"),
        ({"error": "access_denied", "error_description": "AADSTS90094: admin"}, "administrator"),
        ({"error": "consent_required"}, "consented"),
    ],
)
def test_each_no_of_microsoft_is_told_in_words(tokens, answer, words):
    started, _ = begun(microsoft_client(tokens), tokens, IMAP)
    error = problem(started, tokens, code="", **answer)
    assert isinstance(error, AuthRequired)
    assert words in str(error)


def test_a_device_code_is_asked_for_until_it_was_typed(tokens):
    client = microsoft_client(tokens)
    tokens.reply = lambda form: (
        refused("authorization_pending")
        if "grant_type" in form
        else ok(device_code="d", user_code="ABCD", verification_uri="https://login.test", expires_in=900, interval=1)
    )
    code = begin_device(client, IMAP, dial, ca_file=tokens.ca_file)
    assert (code.code, code.url, code.interval) == ("ABCD", "https://login.test", 1.0)
    assert finish_device(code.flow, dial, ca_file=tokens.ca_file) is None
    tokens.reply = lambda _: microsoft_answer({})
    grant = json.loads(finish_device(code.flow, dial, ca_file=tokens.ca_file))
    assert grant["access_token"] == "token-1"
    tokens.reply = lambda _: refused("expired_token")
    with pytest.raises(AuthRequired, match="in time"):
        finish_device(code.flow, dial, ca_file=tokens.ca_file)


def test_a_device_code_that_is_refused_says_why(tokens):
    tokens.reply = lambda _: refused("invalid_client")
    with pytest.raises(AuthRequired, match="client_id"):
        begin_device(microsoft_client(tokens), IMAP, dial, ca_file=tokens.ca_file)


def test_a_device_code_is_not_for_everybody(tokens):
    with pytest.raises(Misconfigured, match="Google"):
        begin_device(google_client(tokens), GMAIL, dial)
    with pytest.raises(Misconfigured, match="public"):
        begin_device(microsoft_client(tokens, client_secret="s"), IMAP, dial)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no JSON object"),
        ("[]", "no JSON object"),
        ("{}", "lacks client_id and client_secret"),
        ('{"tenant": "t"}', "lacks client_id"),
        ('{"type": "microsoft", "client_id": "i"}', "lacks tenant"),
        ('{"type": "service_account", "private_key": "k"}', "--credentials"),
        ('{"type": "bearer", "access_token": "a"}', "lacks client_id"),
        ('{"installed": {"client_id": 1, "client_secret": "s"}}', "lacks client_id"),
    ],
)
def test_a_file_that_is_no_client_is_told_in_words(text, words):
    with pytest.raises(Misconfigured, match=words):
        read_client(text)


def test_the_client_can_be_had_back_out_of_a_grant(tokens):
    client = google_client(tokens)
    assert read_client(json.dumps(client | {"refresh_token": "r", "access_token": "a", "expires_at": 1})) == client


def test_what_a_token_is_for_follows_from_the_mailbox():
    assert resource_of(GmailSettings(address="g@acme.example")) == GMAIL
    china = resource_of(Office365Settings(address="o@acme.example", cloud=Cloud.CHINA))
    assert china.user_scope == "https://microsoftgraph.chinacloudapi.cn/Mail.Read"
    assert china.authority == "https://login.chinacloudapi.cn"
    assert resource_of(ImapSettings(host="h", username="u")) == IMAP
    with pytest.raises(Misconfigured):
        resource_of(MaildirSettings(path="/mail"))


def test_rights_are_known_by_what_the_issuer_says_of_them(tokens):
    tokens.reply = lambda _: google_answer(scope=f"openid {GMAIL.google_scope}")
    started, _ = begun(google_client(tokens), tokens)
    assert granted(json.dumps(finished(started, tokens))) == ("openid", GMAIL.google_scope)


@pytest.mark.parametrize(
    ("claims", "rights"),
    [
        ({"roles": ["Mail.Read", 1]}, ("Mail.Read",)),
        ({}, ()),
        ([], ()),
        ({"roles": 3}, ()),
    ],
)
def test_the_rights_of_an_app_are_its_roles(claims, rights):
    body = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    assert granted(json.dumps({"access_token": f"x.{body}.x", "granted": "https://graph.test/.default"})) == rights


@pytest.mark.parametrize("secret", ["hunter2", "[]", "{}", '{"access_token": "opaque"}', '{"access_token": "a.!.c"}'])
def test_of_what_is_no_grant_no_rights_are_known(secret):
    assert (granted(secret), user(secret), ends_at(secret)) == ((), None, None)
