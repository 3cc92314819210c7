"""Judging again after rules have changed: shown first, applied with its history, and never over a person's word."""

from dataclasses import replace
from datetime import timedelta

import pytest
import sqlalchemy as sa

from tests.fakes.notices import NOW, dsn
from tests.fakes.sends import sent
from tests.fakes.world import RULES, World
from worker import admin, decisions, pipeline
from worker.classify import default_rule_paths, load_rules
from worker.reclassify import reclassify
from worker.store import schema
from worker.store.database import reading

BOB = "bob@customer.example"
FAILED = [(BOB, "failed", "5.1.1", "smtp; 550 5.1.1 User unknown")]
NEW_RULE = """
version = "house-1"

[[rule]]
name = "house.moved"
contains = ["user unknown"]
type = "soft"
reason = "temporary"
fault = "recipient_server"
source = "the house"
"""


@pytest.fixture
def bounced(world: World) -> World:
    world.inbox()
    pipeline.register(world.context, [sent(1)])
    world.deliver(dsn(recipients=FAILED))
    world.work()
    return world


@pytest.fixture
def changed(bounced: World, tmp_path) -> World:
    """The same, with rules that read the notice otherwise."""
    file = tmp_path / "house.toml"
    file.write_text(NEW_RULE)
    bounced.context = replace(bounced.context, rules=load_rules([file, *default_rule_paths()]))
    return bounced


def changes(world: World, *, dry_run: bool = False) -> list[tuple[str | None, str | None]]:
    found = [change for progress in reclassify(world.context, dry_run=dry_run) for change in progress.changes]
    return [(change.before, change.after) for change in found]


def shown(world: World) -> list[tuple[str, str | None]]:
    return [(row["type"], row["ended_by"]) for row in world.timeline()]


def events(world: World) -> list[str]:
    return [kind for kind, _ in world.events()]


def test_where_nothing_has_changed_nothing_changes(bounced: World):
    before = events(bounced)
    for _ in range(2):
        assert changes(bounced) == []
    assert events(bounced) == before


def test_a_dry_run_says_what_would_change_and_changes_nothing(changed: World):
    before = events(changed)
    assert changes(changed, dry_run=True) == [
        ("hard unknown_user address", "soft temporary recipient_server"),
    ]
    assert shown(changed) == [("hard", None)]
    assert events(changed) == before


def test_applying_it_changes_the_bounce_and_keeps_its_history(changed: World):
    assert len(changes(changed)) == 1
    assert shown(changed) == [("soft", None)]
    trail = decisions.trail(changed.context, "acme", BOB)
    assert [(row["kind"], row["type"]) for row in trail] == [("reported", "hard"), ("reported", "soft")]
    assert events(changed)[-2:] == ["bounce.updated", "contact.unbounced"]
    assert changes(changed) == []


def test_going_back_to_the_old_rules_goes_back(changed: World):
    changes(changed)
    changed.now += timedelta(hours=1)
    changed.context = replace(changed.context, rules=RULES)
    assert changes(changed) == [("soft temporary recipient_server", "hard unknown_user address")]
    assert shown(changed) == [("hard", None)]


def test_what_a_person_has_decided_stays(changed: World):
    (bounce,) = changed.timeline()
    decisions.reject(changed.context, "acme", bounce["id"], "ann", "read wrongly")
    assert changes(changed) == []
    assert shown(changed) == [("hard", "rejected")]


def test_what_a_person_has_declined_in_review_is_not_brought_up_again(world: World, tmp_path):
    world.inbox()
    pipeline.register(world.context, [sent(1)])
    other = [("ceo@customer.example", "failed", "5.1.1", "smtp; 550 User unknown")]
    world.deliver(dsn(recipients=other))
    world.work()
    decisions.decline(world.context, "acme", admin.waiting(world.context, "acme")[0]["id"], "ann", "not ours")
    pipeline.register(world.context, [sent(1, BOB, "ceo@customer.example")])  # now it would match
    assert changes(world) == []
    assert shown(world) == []


def test_an_un_bounce_stays_lifted(changed: World):
    decisions.unbounce(changed.context, "acme", BOB, "ann", "he called")
    changes(changed)
    assert shown(changed) == [("soft", "unbounced")]


def test_a_report_that_is_one_no_more_is_rejected_by_the_rules_and_may_come_back(bounced: World, monkeypatch):
    from worker import reclassify as room

    real = room.detect
    monkeypatch.setattr(room, "detect", lambda _: real(b"Subject: Hello\r\n\r\nHello\r\n"))
    assert [after for _, after in changes(bounced)] == ["hard unknown_user address (ended: rejected)"]
    assert shown(bounced) == [("hard", "rejected")]
    assert changes(bounced) == []
    monkeypatch.setattr(room, "detect", real)
    bounced.now += timedelta(hours=1)
    changes(bounced)
    assert shown(bounced) == [("hard", None)]


def test_notices_are_kept_encrypted_and_for_their_time_only(bounced: World):
    with reading(bounced.context.engine) as connection:
        (row,) = connection.execute(schema.raw_notices.select()).all()
    assert b"customer.example" not in row.sealed
    bounced.now = NOW + timedelta(days=31)
    bounced.work()
    with reading(bounced.context.engine) as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(schema.raw_notices)).scalar() == 0
    assert shown(bounced) == [("hard", None)]
    assert changes(bounced) == []


def test_where_nobody_wants_them_none_is_kept(world: World):
    world.context = replace(world.context, keep_raw=None)
    world.inbox()
    pipeline.register(world.context, [sent(1)])
    world.deliver(dsn(recipients=FAILED))
    world.work()
    with reading(world.context.engine) as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(schema.raw_notices)).scalar() == 0


def test_a_removed_inbox_takes_its_notices_along(bounced: World):
    (inbox,) = (each for each, _ in admin.all_inboxes(bounced.context))
    admin.remove(bounced.context, inbox)
    assert changes(bounced) == []
    with reading(bounced.context.engine) as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(schema.raw_notices)).scalar() == 0


def test_progress_is_told_batch_by_batch(bounced: World, monkeypatch):
    from worker import reclassify as room

    monkeypatch.setattr(room, "BATCH", 2)
    for number in (2, 3, 4, 5):
        pipeline.register(bounced.context, [sent(number)])
        bounced.deliver(dsn(f"send-{number}@crm.example", recipients=FAILED, own_id=f"n-{number}@mx.example"))
    bounced.work()
    assert [(each.done, each.total) for each in reclassify(bounced.context, dry_run=False)] == [(2, 5), (4, 5), (5, 5)]
