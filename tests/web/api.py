"""The API over a world: a client that speaks as a key."""

from collections.abc import Iterable
from datetime import timedelta

from fastapi.testclient import TestClient

from tests.fakes.world import World
from worker import access
from worker.config import read
from worker.keys import Scope
from worker.web import make_web
from worker.web.callers import Limiter

ALL = (Scope.SEND, Scope.READ, Scope.MANAGE)


def make_client(
    world: World, account: str | None = "acme", scopes: Iterable[Scope] = ALL, limiter: Limiter | None = None
) -> TestClient:
    """Return a client that sends a new key of an account with each request."""
    created = access.create(world.context, account, "crm", list(scopes), timedelta(days=30))
    app = make_web(read({}), lambda: world.context, limiter)
    return TestClient(app, headers={"Authorization": f"Bearer {created.text}"}, raise_server_exceptions=True)


def send(number: int = 1, **more) -> dict:
    """Return a send as the CRM registers it."""
    return {
        "id": f"s-{number}",
        "inbox": "alice",
        "kind": "one_to_one",
        "sent_at": "2026-11-22T09:00:00Z",
        "message_id": f"<send-{number}@crm.example>",
        "recipients": [{"address": "bob@customer.example", "contact_id": f"c-{number}"}],
        **more,
    }
