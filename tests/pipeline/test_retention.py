"""What nobody needs any more goes by itself; what still matters stays."""

from datetime import timedelta

import pytest
import sqlalchemy as sa

from tests.fakes.notices import NOW, dsn
from tests.fakes.sends import sent
from tests.fakes.world import World
from tests.pipeline.test_matching import separate_notice
from worker import admin, decisions, pipeline
from worker.store import schema
from worker.store.database import reading
from worker.store.retention import RETENTION


def rows(world: World, table: sa.Table) -> int:
    with reading(world.context.engine) as connection:
        return connection.execute(sa.select(sa.func.count()).select_from(table)).scalar()


@pytest.fixture
def lived(world: World) -> World:
    """A bounce that the CRM was told of, an entry that was decided, and one that waits."""
    world.inbox()
    pipeline.register(world.context, [sent(n, subject="Quarterly offer") for n in (1, 2)])
    world.deliver(dsn())
    for day in ("22", "21"):
        world.deliver(separate_notice("Quarterly offer").replace(b"<sep@", f"<sep-{day}@".encode()))
    world.work()
    decisions.decline(world.context, "acme", admin.waiting(world.context, "acme")[0]["id"], "ann", "no")
    return world


def test_everything_is_there_at_first(lived: World):
    lived.work()
    assert rows(lived, schema.outbox) == 2
    assert rows(lived, schema.notices) == 3
    assert rows(lived, schema.review) == 2


def test_events_and_settled_notices_go_after_a_month(lived: World):
    lived.now = NOW + timedelta(days=30, hours=1)
    lived.work()
    assert rows(lived, schema.outbox) == 0
    assert rows(lived, schema.notices) == 0
    assert rows(lived, schema.review) == 2
    assert len(lived.timeline()) == 1


def test_what_was_decided_goes_after_a_year_and_what_waits_stays(lived: World):
    lived.now = NOW + timedelta(days=366)
    lived.work()
    assert len(admin.waiting(lived.context, "acme")) == rows(lived, schema.review) == 1
    assert len(lived.timeline()) == 1


def test_an_event_that_was_not_told_yet_stays(world: World):
    from dataclasses import replace

    def away(*_):
        raise ConnectionError

    world.context = replace(world.context, deliver=away)
    world.inbox()
    pipeline.register(world.context, [sent(1)])
    world.deliver(dsn())
    world.work()
    world.now = NOW + timedelta(days=90)
    world.work()
    assert rows(world, schema.outbox) == 2


def test_each_rule_is_about_a_moment_and_a_table_of_ours():
    for rule in RETENTION:
        assert rule.after.table is rule.table
        assert isinstance(rule.after.type, schema.Moment)
