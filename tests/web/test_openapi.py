"""The API against its own description: whatever schemathesis thinks of, no 5xx and no answer that isn't described."""

import os
from collections.abc import Iterator

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance

from tests.fakes.notices import dsn
from tests.fakes.world import RING, RULES, World
from tests.web.api import ALL, send
from worker import access, hooks, pipeline
from worker.config import read
from worker.pipeline import Context
from worker.store.database import migrate, open_engine, writing
from worker.store.keyring import load_digester
from worker.web import make_web
from worker.web.api import events
from worker.web.callers import Limiter

EXAMPLES = int(os.environ.get("SCHEMATHESIS_EXAMPLES", "30"))
"""For each route."""


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> Iterator[schemathesis.BaseSchema]:
    """The API's description, as it is served, over an account in which something has happened."""
    engine = open_engine(f"sqlite:///{tmp_path_factory.mktemp('openapi') / 'test.sqlite3'}")
    migrate(engine)
    with writing(engine) as connection:
        digest = load_digester(connection, RING)
    mailboxes: dict = {}
    context = Context(
        engine=engine,
        ring=RING,
        digest=digest,
        rules=RULES,
        connect=lambda inbox: mailboxes[f"{inbox.account}/{inbox.name}"],
        webhook_dial=lambda _: _no_network,
        now=lambda: world.now,
    )
    world = World(context=context, mailboxes=mailboxes, delivered=[])
    world.inbox()
    pipeline.take(context, [(0, send(1))], "acme")
    world.deliver(dsn())
    world.work()
    hooks.add(context, "acme", "https://crm.example/bounces")
    key = access.create(context, "acme", "crm", [*ALL]).text
    app = make_web(read({}), lambda: context, Patient())
    schema = schemathesis.openapi.from_asgi("/v1/openapi.json", app)
    schema.config.update(headers={"Authorization": f"Bearer {key}"})
    yield schema
    engine.dispose()


def _no_network(host: str, port: int, timeout: float):
    raise OSError(f"{host}:{port} isn't called in tests")


class Patient(Limiter):
    """Lets every request through: its own test is elsewhere."""

    def wait(self, key_id: str) -> float:
        return 0.0


@pytest.mark.timeout(600)
def test_the_api_keeps_its_word(described: schemathesis.BaseSchema, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(events, "LOOK_EVERY", events.LONGEST + 1)  # nobody waits
    tried = 0
    for found in described.get_all_operations():
        operation = found.ok()

        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy())
        def ask(case: schemathesis.Case) -> None:
            # What fits the description may still be refused: a name that is taken, a host that can't be.
            case.call_and_validate(excluded_checks=[positive_data_acceptance])

        ask()
        tried += 1
    assert tried >= 25
