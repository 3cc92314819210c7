"""Where providers ring: Graph's handshake and notifications, and Pub/Sub's signed pushes."""

import base64
import datetime as dt
import json
import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID
from fastapi import FastAPI
from fastapi.testclient import TestClient
from google.auth import crypt, jwt

from connectors import Unavailable
from connectors.network import dial
from connectors.push import GooglePush, mailbox_of
from worker.pipeline import Call
from worker.web import doorbells

AUDIENCE = "https://bounces.acme.example/doorbells/gmail"
PUSHER = "pusher@acme.iam.gserviceaccount.com"
NOW = 1_800_000_000.0


class Key:
    """A key pair with a certificate, as Google publishes them."""

    def __init__(self, name: str) -> None:
        self.name = name
        private = rsa.generate_private_key(65537, 2048)
        pem = private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        self.signer = crypt.RSASigner.from_string(pem.decode(), name)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "fake")])
        today = dt.datetime.now(dt.UTC)
        built = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject)
            .public_key(private.public_key())
            .serial_number(1)
            .not_valid_before(today - dt.timedelta(days=1))
            .not_valid_after(today + dt.timedelta(days=1))
            .sign(private, hashes.SHA256())
        )
        self.certificate = built.public_bytes(serialization.Encoding.PEM).decode()


@pytest.fixture(scope="module")
def key() -> Key:
    return Key("key-1")


@pytest.fixture(scope="module")
def another() -> Key:
    return Key("key-2")


class Push(GooglePush):
    """Asks for certificates here instead of at Google's."""

    def __init__(self, *published: Key) -> None:
        self.now = NOW
        super().__init__(AUDIENCE, PUSHER, dial, clock=lambda: self.now)
        self.published = {each.name: each.certificate for each in published}
        self.asked = 0

    def _ask(self):
        self.asked += 1
        return dict(self.published)


def token(key: Key, **changes) -> str:
    now = time.time()
    claims = {
        "iss": "https://accounts.google.com",
        "aud": AUDIENCE,
        "email": PUSHER,
        "email_verified": True,
        "iat": now - 10,
        "exp": now + 3000,
    }
    return "Bearer " + jwt.encode(key.signer, claims | changes).decode()


@pytest.fixture
def rung(monkeypatch) -> list:
    """What reaches the pipeline."""
    calls: list = []
    monkeypatch.setattr(doorbells, "graph_called", lambda _, got: calls.extend(got))
    monkeypatch.setattr(doorbells, "gmail_called", lambda _, got: calls.extend(got))
    return calls


def client(push: GooglePush | None = None) -> TestClient:
    app = FastAPI()
    app.include_router(doorbells.router(lambda: None, push))
    return TestClient(app)


def gmail_push(address: str = "gina@acme.example") -> dict:
    data = base64.b64encode(json.dumps({"emailAddress": address, "historyId": 99}).encode()).decode()
    return {"message": {"data": data, "messageId": "1"}, "subscription": "projects/p/subscriptions/s"}


def test_graphs_handshake_is_answered_with_its_token_as_plain_text(rung):
    answer = client().post("/doorbells/graph", params={"validationToken": "a b+c<script>"})
    assert (answer.status_code, answer.text) == (200, "a b+c<script>")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert rung == []


def test_a_handshake_echoes_no_more_than_a_token_has():
    assert len(client().post("/doorbells/graph", params={"validationToken": "x" * 5000}).text) == 1024


def test_graphs_notifications_reach_the_pipeline(rung):
    value = [
        {"subscriptionId": "s-1", "clientState": "secret", "changeType": "created", "resource": "x"},
        {"subscriptionId": "s-2", "clientState": "other", "lifecycleEvent": "missed"},
    ]
    assert client().post("/doorbells/graph", json={"value": value}).status_code == 202
    assert rung == [
        Call(subscription="s-1", secret="secret"),
        Call(subscription="s-2", secret="other", lifecycle="missed"),
    ]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"nonsense",
        b"[]",
        b"{}",
        b'{"value": null}',
        b'{"value": {"subscriptionId": "s"}}',
        b'{"value": [1, null, {"subscriptionId": 1, "clientState": "x"}, {"subscriptionId": "s"}]}',
        b"\xff\xfe",
        b"[" * 100_000,
    ],
)
def test_what_is_no_notification_rings_nothing(rung, body):
    assert client().post("/doorbells/graph", content=body).status_code == 202
    assert rung == []


def test_more_than_any_provider_sends_is_not_read(rung, key):
    for path in ("/doorbells/graph", "/doorbells/gmail"):
        answer = client(Push(key)).post(path, content=b"x" * (256 * 1024 + 1), headers={"authorization": token(key)})
        assert answer.status_code == 413
    assert rung == []


def test_a_push_that_google_signed_for_us_rings(rung, key):
    answer = client(Push(key)).post("/doorbells/gmail", json=gmail_push(), headers={"authorization": token(key)})
    assert (answer.status_code, rung) == (204, ["gina@acme.example"])


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": "https://other.example/doorbells/gmail"},
        {"email": "other@acme.iam.gserviceaccount.com"},
        {"email_verified": False},
        {"iss": "https://accounts.example"},
        {"exp": time.time() - 3600, "iat": time.time() - 7200},
        {"iat": time.time() + 3600, "exp": time.time() + 7200},
    ],
)
def test_a_push_for_or_by_somebody_else_rings_nothing(rung, key, changes):
    headers = {"authorization": token(key, **changes)}
    assert client(Push(key)).post("/doorbells/gmail", json=gmail_push(), headers=headers).status_code == 401
    assert rung == []


def test_a_push_signed_by_an_unknown_key_rings_nothing(rung, key, another):
    headers = {"authorization": token(another)}
    assert client(Push(key)).post("/doorbells/gmail", json=gmail_push(), headers=headers).status_code == 401
    forged = Key("key-1")  # the name of a known key, and another's signature
    headers = {"authorization": token(forged)}
    assert client(Push(key)).post("/doorbells/gmail", json=gmail_push(), headers=headers).status_code == 401
    assert rung == []


def unsigned(key: Key) -> str:
    _, body, _ = token(key).removeprefix("Bearer ").split(".")
    none = base64.urlsafe_b64encode(json.dumps({"alg": "none", "kid": key.name}).encode()).decode().rstrip("=")
    return f"Bearer {none}.{body}."


def deep() -> str:
    nested = base64.urlsafe_b64encode(b"[" * 20_000).decode()
    return f"Bearer {nested}.{nested}.x"


@pytest.mark.parametrize("given", ["", "Bearer", "Bearer x", "Bearer a.b.c", "Basic eDp5", "\x7f", "none", "deep"])
def test_a_push_without_a_token_rings_nothing(rung, key, given):
    headers = {"authorization": {"none": unsigned(key), "deep": deep()}.get(given, given)}
    assert client(Push(key)).post("/doorbells/gmail", json=gmail_push(), headers=headers).status_code == 401
    assert rung == []


def test_without_a_topic_nobody_can_ring_for_gmail(rung, key):
    headers = {"authorization": token(key)}
    assert client(None).post("/doorbells/gmail", json=gmail_push(), headers=headers).status_code == 401


def test_certificates_are_kept_for_an_hour_and_asked_for_at_most_once_a_minute(key, another):
    push = Push(key)
    assert all(push.is_genuine(token(key)) for _ in range(5))
    assert push.asked == 1
    assert not any(push.is_genuine(token(another)) for _ in range(5))
    assert push.asked == 1
    push.now += 61
    push.published[another.name] = another.certificate  # Google has changed its keys
    assert push.is_genuine(token(another))
    assert push.asked == 2
    push.now += 3601
    assert push.is_genuine(token(key))
    assert push.asked == 3


def test_where_google_cannot_be_asked_the_push_comes_again(rung, key):
    push = Push(key)

    def away():
        raise Unavailable("Google can't be reached.")

    push._ask = away
    headers = {"authorization": token(key)}
    assert client(push).post("/doorbells/gmail", json=gmail_push(), headers=headers).status_code == 503
    assert rung == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'{"message": {}}',
        b'{"message": {"data": 1}}',
        b'{"message": {"data": "!"}}',
        b'{"message": {"data": "e30"}}',
        b'{"message": {"data": "eyJlbWFpbEFkZHJlc3MiOiAxfQ"}}',
    ],
)
def test_a_push_that_names_no_mailbox_is_taken_and_rings_nothing(rung, key, body):
    answer = client(Push(key)).post("/doorbells/gmail", content=body, headers={"authorization": token(key)})
    assert (answer.status_code, rung) == (204, [])


def test_the_address_is_read_from_either_alphabet_of_base64():
    data = json.dumps({"emailAddress": "ÿ?>@acme.example"}).encode()
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        body = json.dumps({"message": {"data": encode(data).decode().rstrip("=")}}).encode()
        assert mailbox_of(body) == "ÿ?>@acme.example"
