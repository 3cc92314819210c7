"""Graph's change notifications: made, prolonged, lost, ended; the secret is shown to nobody but Graph."""

import threading
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest

from connectors import AuthRequired, MessageGone, Misconfigured, Office365Settings, Throttled, Unavailable, subscriber
from tests.connectors.mailboxes import Password, bearer
from tests.fakes.graph import answers, faults
from tests.fakes.graph.server import FakeGraph

TARGET = "https://bounces.acme.example/doorbells/graph"


@contextmanager
def receiver(*, echo: bool = True):
    """Something that answers Graph's question whether we are there, or doesn't."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            token = parse_qs(urlsplit(self.path).query).get("validationToken", [""])[0]
            self.send_response(200)
            self.send_header("Content-Type", "text/plain")
            self.end_headers()
            self.wfile.write(token.encode() if echo else b"who?")

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.fixture
def graph():
    with FakeGraph() as fake, receiver() as here:
        fake.subscriptions.host = here
        yield fake


def subscribed(graph: FakeGraph, token: str = "token-1"):
    settings = Office365Settings(address="alice@sender.test", api=graph.api)
    made = subscriber(settings, Password(bearer(token)))
    graph.clients.append(made)
    return made


def test_a_subscription_is_made_for_the_inbox_with_its_secret_and_for_days(graph):
    made = subscribed(graph).subscribe(TARGET, "s3cret")
    asked = graph.subscriptions.alive[made.id]
    assert asked["resource"] == "users/alice@sender.test/mailFolders('inbox')/messages"
    assert asked["changeType"] == "created"
    assert asked["clientState"] == "s3cret"
    assert asked["notificationUrl"] == asked["lifecycleNotificationUrl"] == TARGET
    assert timedelta(days=2) < made.expires_at - datetime.now(UTC) <= timedelta(days=3)


def test_a_subscription_is_prolonged(graph):
    one = subscribed(graph)
    made = one.subscribe(TARGET, "s3cret")
    graph.subscriptions.alive[made.id]["expirationDateTime"] = "2026-01-01T00:00:00Z"
    again = one.renew(made.id, TARGET)
    assert again.id == made.id
    assert again.expires_at - datetime.now(UTC) > timedelta(days=2)


def test_a_subscription_that_graph_has_lost_is_gone_and_ending_it_is_no_error(graph):
    one = subscribed(graph)
    with pytest.raises(MessageGone):
        one.renew("lost", TARGET)
    made = one.subscribe(TARGET, "s3cret")
    for _ in range(2):
        one.unsubscribe(made.id)
    assert graph.subscriptions.alive == {}


def test_where_nobody_answers_at_our_address_there_is_no_subscription():
    with FakeGraph() as graph, receiver(echo=False) as here:
        graph.subscriptions.host = here
        with pytest.raises(Unavailable):
            subscribed(graph).subscribe(TARGET, "s3cret")
        assert graph.subscriptions.alive == {}


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (faults.drop, Unavailable),
        (lambda asked: asked.reply(answers.error(429, "ApplicationThrottled", Retry_After="90")), Throttled),
        (lambda asked: asked.reply(answers.error(403, "ErrorAccessDenied")), Misconfigured),
        (lambda asked: asked.reply(answers.error(401, "InvalidAuthenticationToken")), AuthRequired),
        (lambda asked: asked.reply(answers.error(503, "ServiceUnavailable")), Unavailable),
        (lambda asked: asked.reply((201, {}, b'{"id": "x"}')), Unavailable),
        (lambda asked: asked.reply((201, {}, b"<html>")), Unavailable),
        (lambda asked: asked.reply((201, {}, b'{"id": "x", "expirationDateTime": "soon"}')), Unavailable),
    ],
)
def test_each_refusal_is_told_as_when_reading(graph, fault, error):
    graph.always = fault
    with pytest.raises(error) as caught:
        subscribed(graph).subscribe(TARGET, "s3cret")
    assert "s3cret" not in str(caught.value)
