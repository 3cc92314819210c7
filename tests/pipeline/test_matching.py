"""Which notices answer which sends, and what becomes of those that answer none."""

from datetime import timedelta

from tests.fakes.notices import NOW, dsn
from tests.fakes.sends import sent
from tests.fakes.world import World
from worker import admin, pipeline
from worker.store.database import reading, writing


def test_mail_that_was_never_sent_through_the_crm_touches_nobody(world: World):
    world.inbox()
    world.deliver(dsn("private@laptop.example"))
    assert world.work() == {"unmatched": 1}
    assert world.timeline() == []
    assert world.events() == []


def test_of_an_unmatched_notice_only_keyed_hashes_stay(world: World):
    world.inbox()
    world.deliver(dsn("private@laptop.example", [("doctor@clinic.example", "failed", "5.1.1", "smtp; 550 no")]))
    world.work()
    with reading(world.context.engine) as connection:
        for table in ("notices", "notice_keys", "reports", "review", "outbox", "bounces"):
            kept = connection.exec_driver_sql(f"SELECT * FROM {table}").all()
            assert "clinic" not in str(kept)
            assert "laptop" not in str(kept)
        assert connection.exec_driver_sql("SELECT count(*) FROM notice_keys").scalar() == 2
    world.now += timedelta(days=15)
    pipeline.sweep(world.context)
    with reading(world.context.engine) as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM notice_keys").scalar() == 0


def test_a_send_that_is_registered_after_its_notice_finds_it(world: World):
    world.inbox()
    world.deliver(dsn())
    assert world.work() == {"unmatched": 1}
    assert pipeline.register(world.context, [sent(1)]).requeued == 1
    assert world.work() == {"attached": 1}
    assert len(world.timeline()) == 1


def test_a_message_id_that_the_crm_learns_later_finds_its_notice(world: World):
    world.inbox()
    pipeline.register(world.context, [sent(1, message_id=None)])
    world.deliver(dsn())
    assert world.work() == {"unmatched": 1}
    pipeline.register(world.context, [sent(1)])
    assert world.work() == {"attached": 1}


def test_a_send_and_its_notice_that_cross_are_found_by_the_sweep(world: World):
    world.inbox()
    world.deliver(dsn())
    world.work()
    # As if the send's transaction had not seen the notice's: registered without re-queueing.
    from worker.store import sends

    with writing(world.context.engine) as connection:
        sends.register(connection, [sent(1)], world.context.digest, world.now)
    assert world.work() == {"attached": 1}


def test_accounts_are_strictly_apart(world: World):
    world.inbox("alice", "acme")
    world.inbox("alice", "globex")
    pipeline.register(world.context, [sent(1)])
    world.deliver(dsn(), "alice", "globex")
    assert world.work() == {"unmatched": 1}
    assert world.timeline("acme") == world.timeline("globex") == []


def test_each_recipient_has_its_own_verdict_and_the_others_are_untouched(world: World):
    world.inbox()
    people = ("bob@customer.example", "carol@customer.example", "dave@customer.example")
    pipeline.register(world.context, [sent(1, *people)])
    refused = [
        (people[0], "failed", "5.1.1", "smtp; 550 5.1.1 User unknown"),
        (people[1], "delayed", "4.2.2", "smtp; 452 4.2.2 Mailbox full"),
    ]
    world.deliver(dsn(recipients=refused))
    world.work()
    assert {(entry["address"], entry["type"]) for entry in world.timeline()} == {
        (people[0], "hard"),
        (people[1], "pending"),
    }


def test_a_recipient_that_was_not_written_to_waits_for_a_person(world: World):
    world.inbox()
    pipeline.register(world.context, [sent(1)])
    world.deliver(dsn(recipients=[("ceo@customer.example", "failed", "5.1.1", "smtp; 550 no such user")]))
    assert world.work() == {"review": 1}
    assert world.timeline() == []
    (waiting,) = admin.waiting(world.context, "acme")
    assert (waiting["address"], waiting["contact_id"], waiting["send_id"]) == ("ceo@customer.example", None, "s-1")
    assert world.events() == []


def separate_notice(subject: str) -> bytes:
    """A notice that gives back no id, as gateways write them."""
    return (
        "Return-Path: <>\r\nFrom: Postmaster <postmaster@customer.example>\r\nTo: alice@acme.example\r\n"
        "Subject: Undeliverable mail\r\nDate: Sun, 22 Nov 2026 10:03:00 +0000\r\nMessage-ID: <sep@customer.example>\r\n"
        "Auto-Submitted: auto-replied\r\n\r\nYour message could not be delivered.\r\n\r\n"
        f"Subject: {subject}\r\n\r\n<bob@customer.example>: 550 5.1.1 User unknown\r\n"
    ).encode()


def test_a_separate_notice_is_matched_by_what_it_says(world: World):
    world.inbox()
    pipeline.register(world.context, [sent(1, subject="Quarterly offer for Bob"), sent(2, subject="Something else")])
    world.now = NOW - timedelta(hours=1, minutes=50)
    world.mailboxes["acme/alice"].deliver(separate_notice("Quarterly offer for Bob"), world.now)
    assert world.work() == {"attached": 1}
    (entry,) = world.timeline()
    assert (entry["send_id"], entry["matched_by"]) == ("s-1", "separate_notice")
    assert entry["confidence"] < 0.9


def test_a_separate_notice_that_could_mean_two_emails_waits_with_its_candidates(world: World):
    world.inbox()
    pipeline.register(world.context, [sent(n, subject="Quarterly offer") for n in (1, 2)])
    world.deliver(separate_notice("Quarterly offer"))
    assert world.work() == {"review": 1}
    (waiting,) = admin.waiting(world.context, "acme")
    assert {candidate["send_id"] for candidate in waiting["candidates"]} == {"s-1", "s-2"}
    assert world.timeline() == []


def test_a_separate_notice_that_came_before_its_send_is_found_by_its_recipient(world: World):
    world.inbox()
    world.deliver(separate_notice("Quarterly offer for Bob"))
    assert world.work() == {"unmatched": 1}
    assert pipeline.register(world.context, [sent(1, subject="Quarterly offer for Bob")]).requeued == 1
    assert world.work() == {"attached": 1}


def test_three_thousand_sends_are_registered_at_once_and_the_notice_that_waits_finds_its_own(world: World):
    world.inbox()
    world.deliver(separate_notice("Quarterly offer for Bob"))
    assert world.work() == {"unmatched": 1}
    others = [sent(number, f"p{number}@customer.example") for number in range(3_000)]
    meant = sent(9_999, subject="Quarterly offer for Bob")
    assert pipeline.register(world.context, [*others, meant]).requeued == 1
    assert world.work() == {"attached": 1}
