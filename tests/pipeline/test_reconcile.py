"""Emails that left under an id which the CRM doesn't know: the Sent folder tells, and then their notices find them."""

from datetime import timedelta

import pytest

from connectors import Unavailable
from tests.fakes.notices import NOW, dsn
from tests.fakes.sends import SENT_AT, sent
from tests.fakes.world import World
from worker import pipeline
from worker.store.database import reading

REWRITTEN = "rewritten@provider.example"


def copy(
    message_id: str = REWRITTEN, to: str = "bob@customer.example", subject: str = "Offer", **headers: str
) -> bytes:
    fields = {"Message-ID": f"<{message_id}>", "To": to, "Subject": subject, "From": "alice@acme.example"}
    fields |= {"Date": "Sun, 22 Nov 2026 10:00:20 +0000"} | {k.replace("_", "-"): v for k, v in headers.items()}
    return "".join(f"{name}: {value}\r\n" for name, value in fields.items()).encode() + b"\r\nHello\r\n"


def lie_in_sent(world: World, raw: bytes, after: timedelta = timedelta(seconds=30)) -> None:
    world.mailboxes["acme/alice"].sent_mail.append((raw, SENT_AT + after))


def looks(world: World) -> int:
    return len(world.mailboxes["acme/alice"].asked_sent)


def test_an_email_without_an_id_is_found_in_the_sent_folder(world: World):
    world.inbox()
    lie_in_sent(world, copy())
    pipeline.register(world.context, [sent(1, message_id=None, subject="Offer")])
    world.work()
    world.deliver(dsn(REWRITTEN))
    assert world.work() == {"attached": 1}
    (entry,) = world.timeline()
    assert (entry["matched_by"], entry["send_id"]) == ("original_message_id", "s-1")


def test_a_notice_that_names_another_id_than_the_crm_wrote_finds_its_email(world: World):
    """The provider rewrote the Message-ID; nobody looks before a notice gives a reason to."""
    world.inbox()
    lie_in_sent(world, copy(X_Google_Original_Message_ID="<send-1@crm.example>"))
    pipeline.register(world.context, [sent(1)])
    world.work()
    assert looks(world) == 0
    world.deliver(dsn(REWRITTEN))
    assert world.work() == {"unmatched": 1}
    assert world.work() == {"attached": 1}
    assert looks(world) == 1


def test_the_tracking_id_tells_two_equal_emails_apart(world: World):
    world.inbox()
    lie_in_sent(world, copy("first@provider.example", X_CRM_Tracking_ID="t-1"))
    lie_in_sent(world, copy("second@provider.example", X_CRM_Tracking_ID="t-2"))
    same = {"message_id": None, "subject": "Offer"}
    pipeline.register(world.context, [sent(1, tracking_id="t-1", **same), sent(2, tracking_id="t-2", **same)])
    world.work()
    world.deliver(dsn("second@provider.example"))
    world.work()
    assert [entry["send_id"] for entry in world.timeline()] == ["s-2"]


def test_two_emails_that_look_alike_are_not_guessed_at(world: World):
    world.inbox()
    lie_in_sent(world, copy())
    pipeline.register(world.context, [sent(n, message_id=None, subject="Offer") for n in (1, 2)])
    world.work()
    world.deliver(dsn(REWRITTEN))
    world.work()
    assert world.timeline() == []


@pytest.mark.parametrize(
    "other",
    [
        copy(to="carol@customer.example"),
        copy(to="bob@customer.example, carol@customer.example"),
        copy(subject="Lunch"),
        copy(Date="Sun, 22 Nov 2026 08:00:00 +0000"),
    ],
    ids=["recipient", "one more recipient", "subject", "time"],
)
def test_mail_sent_outside_the_crm_stays_nobodys_business(world: World, other: bytes):
    world.inbox()
    lie_in_sent(world, other)
    pipeline.register(world.context, [sent(1, message_id=None, subject="Offer")])
    world.work()
    world.deliver(dsn(REWRITTEN))
    world.work()
    assert world.timeline() == []


def test_an_email_is_looked_for_a_few_times_and_then_left_alone(world: World):
    world.inbox()
    pipeline.register(world.context, [sent(1, message_id=None, subject="Offer")])
    for _ in range(30):
        world.work()
        world.now += timedelta(minutes=30)
    assert looks(world) == 4
    pipeline.register(world.context, [sent(1, message_id=None, subject="Offer")])
    world.work()
    assert looks(world) == 4


def test_a_copy_that_comes_late_is_found_at_the_next_look(world: World):
    world.inbox()
    pipeline.register(world.context, [sent(1, message_id=None, subject="Offer")])
    world.work()
    lie_in_sent(world, copy())
    world.now += timedelta(minutes=3)
    world.work()
    world.deliver(dsn(REWRITTEN))
    assert world.work() == {"attached": 1}


def test_a_copy_counts_by_its_own_date_however_late_it_was_put_there(world: World):
    """A mail program that was offline appends its copy when it can, and the server dates it by that."""
    world.inbox()
    pipeline.register(world.context, [sent(1, message_id=None, subject="Offer")])
    world.work()
    lie_in_sent(world, copy(), after=timedelta(hours=2))
    lie_in_sent(world, copy("later@provider.example", Date="Sun, 22 Nov 2026 12:00:00 +0000"), timedelta(hours=2))
    for _ in range(5):
        world.now += timedelta(minutes=40)
        world.work()
    world.deliver(dsn(REWRITTEN))
    assert world.work() == {"attached": 1}


def test_emails_sent_together_cost_one_question(world: World):
    world.inbox()
    batch = [
        sent(
            number,
            f"p{number}@customer.example",
            message_id=None,
            subject="Offer",
            sent_at=SENT_AT + timedelta(minutes=number),
        )
        for number in range(50)
    ]
    pipeline.register(world.context, batch)
    world.work()
    assert looks(world) == 1


def test_mail_that_no_notice_can_answer_any_more_is_not_looked_for(world: World):
    world.inbox()
    pipeline.register(world.context, [sent(1, message_id=None, sent_at=NOW - timedelta(days=6))])
    world.work()
    assert looks(world) == 0
    pipeline.register(world.context, [sent(2, message_id=None)])
    world.now += timedelta(days=6)
    pipeline.sweep(world.context)
    with reading(world.context.engine) as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM sent_lookups").scalar() == 0


def test_a_sent_folder_that_cannot_be_read_stops_nobody(world: World, monkeypatch):
    world.inbox()
    mailbox = world.mailboxes["acme/alice"]

    def refuse(*_: object) -> None:
        raise Unavailable("No.")

    monkeypatch.setattr(mailbox, "sent", refuse)
    pipeline.register(world.context, [sent(1, message_id=None, subject="Offer"), sent(2)])
    world.deliver(dsn("send-2@crm.example"))
    assert world.work() == {"attached": 1}
