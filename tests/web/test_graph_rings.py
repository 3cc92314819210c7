"""Graph, the web process and the worker together: a notification makes the right inbox due, over real HTTP."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta

import pytest
import uvicorn

from connectors import Office365Settings, connect, from_json, subscriber
from tests.connectors.mailboxes import Password, bearer
from tests.fakes.graph.server import FakeGraph
from tests.fakes.notices import NOW, dsn
from tests.fakes.world import World
from tests.live.processes import listens, until
from worker import admin, config, pipeline
from worker.store import doorbells, inboxes
from worker.store.database import reading, writing
from worker.web import make_web

PUBLIC = "https://bounces.acme.example"


@contextmanager
def served(world: World) -> Iterator[str]:
    """Serve the web application on loopback, as `bounce-worker web` does."""
    settings = config.read({"BOUNCE_WORKER_PUBLIC_URL": PUBLIC})
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        server = uvicorn.Server(uvicorn.Config(make_web(settings, lambda: world.context), log_level="error"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        until(lambda: listens(port), "the web process to listen")
        yield f"http://127.0.0.1:{port}"
        server.should_exit = True
        thread.join(10)


@pytest.fixture
def graph(world: World) -> Iterator[FakeGraph]:
    secret = Password(bearer("token-1"))
    with served(world) as here, FakeGraph() as fake:
        fake.subscriptions.host = here
        world.context = replace(
            world.context,
            connect=lambda inbox: connect(from_json(inbox.provider, inbox.settings), secret),
            subscriber=lambda inbox: subscriber(from_json(inbox.provider, inbox.settings), secret),
            call_us_at={"office365": f"{PUBLIC}/doorbells/graph"},
        )
        yield fake


def connected(world: World, graph: FakeGraph):
    settings = Office365Settings(address=graph.store.address, api=graph.api)
    request = admin.InboxRequest(
        account="acme",
        name="olaf",
        address=graph.store.address,
        settings=settings,
        since=NOW - timedelta(days=1),
        secret=json.dumps({"type": "bearer", "access_token": "token-1"}),
        trusted=True,
    )
    return admin.add_inbox(world.context, request)


def put_off(world: World, inbox) -> None:
    with writing(world.context.engine) as connection:
        inboxes.change(connection, inbox.id, next_poll_at=world.now + timedelta(hours=1))


def is_due(world: World, inbox) -> bool:
    return admin.the_inbox(world.context, inbox.name, inbox.account).next_poll_at <= world.now


def test_mail_rings_and_its_inbox_is_read(world: World, graph: FakeGraph):
    inbox = connected(world, graph)
    assert pipeline.renew_doorbells(world.context) == 1
    (name,) = graph.subscriptions.alive
    world.work()
    put_off(world, inbox)
    graph.store.deliver(dsn())
    assert graph.subscriptions.call(name) == 202
    assert is_due(world, inbox)
    assert world.work() == {"unmatched": 1}


def test_what_is_forged_is_taken_as_politely_and_rings_nothing(world: World, graph: FakeGraph):
    inbox = connected(world, graph)
    pipeline.renew_doorbells(world.context)
    (name,) = graph.subscriptions.alive
    put_off(world, inbox)
    assert graph.subscriptions.call(name, clientState="guessed") == 202
    assert graph.subscriptions.call(name, subscriptionId="subscription-9") == 202
    assert not is_due(world, inbox)


def test_a_subscription_that_graph_removes_is_made_anew_and_the_inbox_is_read(world: World, graph: FakeGraph):
    inbox = connected(world, graph)
    pipeline.renew_doorbells(world.context)
    (old,) = graph.subscriptions.alive
    put_off(world, inbox)
    assert graph.subscriptions.call(old, "subscriptionRemoved") == 202
    del graph.subscriptions.alive[old]
    assert is_due(world, inbox)
    assert pipeline.renew_doorbells(world.context) == 1
    (new,) = graph.subscriptions.alive
    assert new != old
    with reading(world.context.engine) as connection:
        assert doorbells.of_inbox(connection, inbox.id).subscription == new
