"""Sends go when they are too old to be answered; what came of them stays, and goes on working without them."""

import logging
from dataclasses import replace
from datetime import timedelta

import pytest
import sqlalchemy as sa
from celery import Celery

from tests.fakes.notices import NOW, dsn
from tests.fakes.sends import SENT_AT, sent
from tests.fakes.world import World
from tests.pipeline.test_matching import separate_notice
from worker import admin, decisions, people, pipeline, tasks
from worker.admin import AdminProblem
from worker.config import SENDS_DAYS
from worker.match import WINDOW
from worker.pipeline.retention import LOTS
from worker.reclassify import reclassify
from worker.store import retention, schema
from worker.store import sends as send_store
from worker.store.database import reading, writing

BOB, CLEO = "bob@customer.example", "cleo@customer.example"
KEPT = timedelta(days=400)
SECOND = timedelta(seconds=1)
OF_SENDS = (schema.sends, schema.send_recipients, schema.send_keys)


def rows(world: World, *tables: sa.Table) -> list[int]:
    with reading(world.context.engine) as connection:
        return [connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one() for table in tables]


@pytest.fixture
def bounced(world: World) -> World:
    """Bob bounced; the email to him has just become too old."""
    world.inbox()
    pipeline.register(world.context, [sent(1, BOB)])
    world.deliver(dsn())
    world.work()
    world.now = SENT_AT + KEPT + SECOND
    world.work()
    assert rows(world, *OF_SENDS) == [0, 0, 0]
    return world


def test_a_send_goes_with_its_recipients_and_keys_and_not_a_moment_before(world: World):
    world.inbox()
    aliased = sent(1, BOB, CLEO, thread_id="t-1", tracking_id="k-1")
    pipeline.register(world.context, [aliased, sent(2, sent_at=SENT_AT + 2 * SECOND)])
    with writing(world.context.engine) as connection:
        send_store.add_aliases(connection, [(aliased, "other-1@crm.example")], world.context.digest)
    assert rows(world, *OF_SENDS) == [2, 3, 5]
    world.now = SENT_AT + KEPT
    assert pipeline.drop_sends(world.context) == 0
    world.now += SECOND
    assert pipeline.drop_sends(world.context) == 1
    assert rows(world, *OF_SENDS) == [1, 1, 1]
    assert [each.id for each in admin.all_sends(world.context, None)] == ["s-2"]


def test_the_sweep_that_is_enqueued_drops_them_and_says_how_many(world: World, caplog: pytest.LogCaptureFixture):
    pipeline.register(world.context, [sent(1), sent(2)])
    world.now = SENT_AT + KEPT + SECOND
    app = Celery("test", broker="memory://", set_as_current=False)
    tasks.register(app, lambda: world.context)
    with caplog.at_level(logging.INFO):
        app.tasks[tasks.SWEEP]()
    assert rows(world, *OF_SENDS) == [0, 0, 0]
    assert [each.sends for each in caplog.records if each.msg == "sends.dropped"] == [2]


def test_of_two_accounts_sends_of_one_id_each_goes_in_its_time(world: World):
    pipeline.register(world.context, [sent(1), sent(1, account="other", sent_at=NOW)])
    world.now = SENT_AT + KEPT + SECOND
    pipeline.drop_sends(world.context)
    assert [each.account for each in admin.all_sends(world.context, None)] == ["other"]
    assert rows(world, *OF_SENDS) == [1, 1, 1]


def test_they_stay_for_ever_where_that_is_wanted(world: World):
    world.context = replace(world.context, keep_sends=None)
    pipeline.register(world.context, [sent(1, sent_at=SENT_AT.replace(year=2001))])
    world.now = SENT_AT.replace(year=2040)
    assert pipeline.drop_sends(world.context) == 0
    assert rows(world, *OF_SENDS) == [1, 1, 1]


def test_a_turn_drops_some_lots_and_the_next_one_goes_on(world: World, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(retention, "AT_ONCE", 2)
    many = LOTS * 2
    pipeline.register(world.context, [sent(number) for number in range(many + 3)])
    world.now = SENT_AT + KEPT + SECOND
    assert [pipeline.drop_sends(world.context) for _ in range(3)] == [many, 3, 0]
    assert rows(world, *OF_SENDS) == [0, 0, 0]


def test_a_bounce_whose_send_is_gone_is_shown_and_lifted_and_the_decision_taken_back(bounced: World):
    (row,) = bounced.timeline()
    assert (row["send_id"], row["contact_id"], row["type"]) == ("s-1", "c-bob", "hard")
    assert admin.the_bounce(bounced.context, row["id"], "acme")["message_id"] == "send-1@crm.example"
    decision = decisions.unbounce(bounced.context, "acme", BOB, "ann", "he called")
    assert bounced.timeline()[0]["ended_by"] == "unbounced"
    bounced.now += SECOND
    decisions.undo(bounced.context, "acme", decision, "ann", "another Bob")
    assert bounced.timeline()[0]["ended_by"] is None
    trail = [each["kind"] for each in decisions.trail(bounced.context, "acme", BOB)]
    assert trail == ["reported", "unbounced", "undone"]


def test_a_person_whose_sends_are_gone_is_shown_and_forgotten(bounced: World):
    held = people.export(bounced.context, "acme", BOB)["held"]
    assert {name for name, found in held.items() if found} == {"facts", "bounces", "addresses"}
    people.forget(bounced.context, "acme", BOB, keep_exclusion=False)
    assert bounced.timeline() == []


def test_a_bounce_that_time_changes_is_folded_without_its_send(world: World):
    world.inbox()
    pipeline.register(world.context, [sent(1)])
    world.deliver(dsn(recipients=[(BOB, "failed", "5.2.2", "smtp; 552 5.2.2 Mailbox full")]))
    world.work()
    with writing(world.context.engine) as connection:
        connection.execute(sa.update(schema.accounts).values(mailbox_full_days=500))
    world.now = NOW + timedelta(days=401)
    world.work()
    assert (rows(world, schema.sends), world.timeline()[0]["ended_by"]) == ([0], None)
    world.now = NOW + timedelta(days=501)
    world.work()
    assert world.timeline()[0]["ended_by"] == "expired"


def test_a_notice_for_a_send_that_is_gone_answers_nothing(bounced: World):
    pipeline.register(bounced.context, [sent(2, BOB, sent_at=bounced.now), sent(3, CLEO, sent_at=bounced.now)])
    before = bounced.timeline()
    for number, address in enumerate((BOB, CLEO), 1):
        failed = [(address, "failed", "5.1.1", "smtp; 550 5.1.1 User unknown")]
        late = dsn(recipients=failed, own_id=f"late-{number}@mx.example", date=f"{bounced.now:%a, %d %b %Y %T %z}")
        bounced.mailboxes["acme/alice"].deliver(late, bounced.now)
    assert bounced.work() == {"unmatched": 2}
    for _ in range(2):
        assert bounced.work() == {}, "no sweep takes it up again"
    assert bounced.timeline() == before


def test_of_a_thread_only_the_send_that_is_left_is_meant(world: World):
    world.inbox()
    old, new = sent(1, BOB, thread_id="t-1"), sent(2, CLEO, thread_id="t-1", sent_at=SENT_AT + KEPT)
    pipeline.register(world.context, [old])
    world.now = SENT_AT + KEPT + SECOND
    pipeline.register(world.context, [new])
    pipeline.drop_sends(world.context)
    world.mailboxes["acme/alice"].deliver(dsn(), world.now)
    assert world.work() == {"unmatched": 1}
    assert world.timeline() == []


def test_what_waits_for_a_person_can_be_declined_when_its_sends_are_gone(world: World):
    world.inbox()
    pipeline.register(world.context, [sent(n, subject="Quarterly offer") for n in (1, 2)])
    world.deliver(separate_notice("Quarterly offer"))
    world.work()
    world.now = SENT_AT + KEPT + SECOND
    world.work()
    (entry,) = admin.waiting(world.context, "acme")
    with pytest.raises(AdminProblem, match="not known any more: decline"):
        decisions.accept(world.context, "acme", entry["id"], "ann", None)
    decisions.decline(world.context, "acme", entry["id"], "ann", "too old")
    assert admin.waiting(world.context, "acme") == []


def test_judging_again_leaves_alone_what_answered_a_send_that_is_gone(world: World):
    world.context = replace(world.context, keep_sends=timedelta(days=30), keep_raw=timedelta(days=90))
    world.inbox()
    pipeline.register(world.context, [sent(1)])
    world.deliver(dsn())
    world.work()
    world.now = SENT_AT + timedelta(days=31)
    world.work()
    assert rows(world, schema.sends, schema.raw_notices) == [0, 1]
    before = world.timeline()
    assert [each.changes for each in reclassify(world.context, dry_run=False)] == [()]
    assert world.timeline() == before


def test_a_send_that_is_too_old_is_refused_and_the_row_says_why(world: World):
    world.now = SENT_AT + KEPT + SECOND
    done = pipeline.register(world.context, [sent(1), sent(2, sent_at=world.now - KEPT)])
    assert done.kept == 1
    (refused,) = done.refused
    assert (refused.row, refused.id) == (0, "s-1")
    assert refused.why == "It was sent on 2026-11-22, and sends are kept for 400 days (BOUNCE_WORKER_SENDS_DAYS)."
    assert rows(world, *OF_SENDS) == [1, 1, 1]


def test_nothing_looks_for_a_send_any_more_when_it_goes():
    assert timedelta(days=SENDS_DAYS) > WINDOW


@pytest.mark.live
@pytest.mark.parametrize("world", ["postgresql"], indirect=True)  # SQLite has one writer anyway
def test_what_somebody_else_holds_is_left_for_the_next_turn(world: World):
    pipeline.register(world.context, [sent(1), sent(2)])
    world.now = SENT_AT + KEPT + SECOND
    with writing(world.context.engine) as other:
        other.execute(sa.select(schema.sends).where(schema.sends.c.id == "s-1").with_for_update())
        assert pipeline.drop_sends(world.context) == 1
    assert pipeline.drop_sends(world.context) == 1
