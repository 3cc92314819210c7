"""What lands on the timeline, and that it lands once."""

from datetime import timedelta

import pytest

from connectors import CursorExpired
from tests.fakes.notices import dsn, ordinary
from tests.fakes.sends import sent
from tests.fakes.world import World
from worker import pipeline
from worker.store.database import writing


def test_a_bounce_lands_on_the_timeline_with_its_evidence(world: World):
    world.inbox()
    pipeline.register(world.context, [sent(1)])
    world.deliver(ordinary())
    world.deliver(dsn())
    assert world.work() == {"attached": 1}
    (entry,) = world.timeline()
    assert (entry["contact_id"], entry["address"]) == ("c-bob", "bob@customer.example")
    assert (entry["type"], entry["reason"], entry["fault"]) == ("hard", "unknown_user", "address")
    assert (entry["matched_by"], entry["status"], entry["smtp_code"]) == ("original_message_id", "5.1.1", "550")
    assert [line["kind"] for line in entry["evidence"]] == ["match", "match", "server", "rule", "notice", "task"]
    assert entry["evidence"][-1]["text"] == "task 1"
    assert [kind for kind, _ in world.events()] == ["bounce.attached", "contact.excluded"]
    assert [event["bounce"]["id"] for event in world.delivered] == [entry["id"]] * 2


def test_ordinary_mail_is_not_downloaded(world: World):
    world.inbox()
    for number in range(10):
        world.deliver(ordinary(number))
    assert world.work() == {}
    assert world.mailboxes["acme/alice"].fetched == []


def test_a_second_run_changes_nothing(world: World):
    world.inbox()
    pipeline.register(world.context, [sent(1)])
    world.deliver(dsn())
    world.work()
    before = world.timeline(), world.events()
    world.now += timedelta(hours=1)
    assert world.work() == {}
    assert (world.timeline(), world.events()) == before


@pytest.mark.parametrize("loss", ["wiped cursor", "changed UIDVALIDITY"])
def test_reading_an_inbox_again_doubles_nothing(world: World, loss: str):
    inbox = world.inbox()
    pipeline.register(world.context, [sent(1)])
    world.deliver(dsn())
    world.work()
    before = world.timeline(), world.events()
    mailbox = world.mailboxes["acme/alice"]
    mailbox.epoch += 1
    if loss == "wiped cursor":
        with writing(world.context.engine) as connection:
            from worker.store import inboxes

            inboxes.change(connection, inbox.id, cursor=None)
    else:
        mailbox.expired = lambda: CursorExpired("The mailbox was rebuilt.")
    world.deliver(dsn("send-2@crm.example", own_id="notice-2@mx.example"))
    pipeline.register(world.context, [sent(2)])
    assert world.work() == {"duplicate": 1, "attached": 1}
    assert world.timeline()[:1] == before[0]
    assert len(world.timeline()) == 2


def test_the_same_notice_in_two_inboxes_counts_once(world: World):
    world.inbox("alice")
    world.inbox("team")
    pipeline.register(world.context, [sent(1)])
    world.deliver(dsn(), "alice")
    world.deliver(dsn(received="from a by b; Sun, 22 Nov 2026 11:30:00 +0000"), "team")
    assert world.work() == {"attached": 1, "duplicate": 1}
    assert len(world.timeline()) == 1


def test_two_reports_about_one_send_are_one_bounce_with_a_history(world: World):
    world.inbox()
    pipeline.register(world.context, [sent(1)])
    delay = [("bob@customer.example", "delayed", "4.4.1", "smtp; connection timed out")]
    world.deliver(dsn(recipients=delay, own_id="delay@mx.example", date="Sun, 22 Nov 2026 10:30:00 +0000"))
    world.work()
    (entry,) = world.timeline()
    assert entry["type"] == "pending"
    world.deliver(dsn(recipients=[("bob@customer.example", "failed", "4.4.7", "smtp; 421 timed out")]))
    world.work()
    (entry,) = world.timeline()
    assert (entry["type"], len(entry["report_ids"])) == ("soft", 2)
