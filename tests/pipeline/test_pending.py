"""A pending bounce becomes soft 72 hours after the email was sent, unless something ends it before."""

from datetime import timedelta

import pytest

from tests.fakes.notices import dsn
from tests.fakes.sends import SENT_AT, sent
from tests.fakes.world import World
from worker import pipeline
from worker.domain import SendKind
from worker.store.database import writing

DELAYED = [("bob@customer.example", "delayed", "4.4.1", "smtp; connection timed out")]
FAILED = [("bob@customer.example", "failed", "5.1.1", "smtp; 550 5.1.1 User unknown")]
HOURS_72 = SENT_AT + timedelta(hours=72)


@pytest.fixture
def pending(world: World) -> World:
    world.inbox()
    send = sent(1, kind=SendKind.SEQUENCE, enrollment_id="e-1", sequence_id="q-1")
    pipeline.register(world.context, [send])
    world.deliver(dsn(recipients=DELAYED))
    world.work()
    return world


def standing(world: World) -> tuple[str, str, str]:
    (entry,) = world.timeline()
    return entry["type"], entry["reason"], entry["evidence"][-1]["text"]


def test_it_turns_soft_after_72_hours_and_not_a_moment_before(pending: World):
    pending.now = HOURS_72 - timedelta(seconds=1)
    pending.work()
    assert standing(pending)[:2] == ("pending", "temporary")
    pending.now = HOURS_72
    pending.work()
    kind, reason, said = standing(pending)
    assert (kind, reason) == ("soft", "temporary")
    assert said == "No other report had come 72 hours after the email was sent."


def test_the_crm_is_told_once_and_the_sequence_ends_once(pending: World):
    pending.now = HOURS_72
    for _ in range(3):
        pending.work()
    kinds = [kind for kind, _ in pending.events()]
    assert kinds == ["bounce.attached", "bounce.updated", "sequence.unenroll"]
    assert len({identity for _, identity in pending.events()}) == 3
    (ended,) = [event for event in pending.delivered if event["type"] == "sequence.unenroll"]
    assert (ended["enrollment_id"], ended["sequence_id"]) == ("e-1", "q-1")
    assert ended["bounce"]["type"] == "soft"


def test_a_failure_that_comes_later_still_supersedes_it(pending: World):
    pending.now = HOURS_72
    pending.work()
    pending.deliver(dsn(recipients=FAILED, own_id="n-2@mx.example", date="Thu, 26 Nov 2026 11:00:00 +0000"))
    pending.now = HOURS_72 + timedelta(days=1)
    pending.work()
    assert standing(pending)[:2] == ("hard", "unknown_user")
    assert [kind for kind, _ in pending.events()].count("sequence.unenroll") == 1


def test_a_delay_that_is_reported_late_does_not_bring_it_back(pending: World):
    pending.now = HOURS_72
    pending.work()
    pending.deliver(dsn(recipients=DELAYED, own_id="n-2@mx.example", date="Thu, 26 Nov 2026 11:00:00 +0000"))
    pending.now = HOURS_72 + timedelta(days=1)
    pending.work()
    assert standing(pending)[0] == "soft"


def test_what_failed_before_stays_as_it_is(world: World):
    world.inbox()
    pipeline.register(world.context, [sent(1)])
    world.deliver(dsn(recipients=FAILED))
    world.now = HOURS_72
    world.work()
    assert standing(world)[0] == "hard"


def test_where_the_email_is_forgotten_the_first_report_counts(pending: World):
    with writing(pending.context.engine) as connection:
        connection.exec_driver_sql("DELETE FROM sends")
    pending.now = HOURS_72
    pending.work()
    assert standing(pending)[0] == "pending"
    pending.now = HOURS_72 + timedelta(hours=1)  # the report was written an hour after the email
    pending.work()
    assert standing(pending)[0] == "soft"
