"""The world of the pipeline tests, on both databases."""

from collections.abc import Iterator
from random import Random

import pytest

from tests.fakes.events import assert_fits
from tests.fakes.mailbox import FakeMailbox
from tests.fakes.world import RING, RULES, World
from worker.pipeline import Context
from worker.store import outbox
from worker.store.database import migrate, open_engine, reading, writing
from worker.store.keyring import load_digester


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.live)])
def world(request: pytest.FixtureRequest, tmp_path) -> Iterator[World]:
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'test.sqlite3'}"
    else:
        url = request.getfixturevalue("postgres_url")
    engine = open_engine(url)
    migrate(engine)
    with writing(engine) as connection:
        digest = load_digester(connection, RING)
    mailboxes: dict[str, FakeMailbox] = {}
    delivered: list[dict] = []
    clock: list[World] = []
    context = Context(
        engine=engine,
        ring=RING,
        digest=digest,
        rules=RULES,
        connect=lambda inbox: mailboxes[f"{inbox.account}/{inbox.name}"],
        deliver=lambda _, payload: delivered.append(payload),
        now=lambda: clock[0].now,
        chance=Random(1),
    )
    clock.append(World(context=context, mailboxes=mailboxes, delivered=delivered))
    yield clock[0]
    with reading(engine) as connection:
        for row in outbox.all_rows(connection):
            assert_fits(row.payload)  # whatever a test makes happen, the CRM can read
    engine.dispose()
