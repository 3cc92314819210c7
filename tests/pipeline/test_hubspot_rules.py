"""HubSpot's rules, which the default policy follows; each test is one of them."""

from dataclasses import replace
from datetime import timedelta

import pytest

from tests.fakes.notices import NOW, dsn
from tests.fakes.sends import sent
from tests.fakes.world import World
from worker import everywhere, pipeline
from worker.domain import SendKind
from worker.everywhere import BOUNCED, IN_ACCOUNT, OK

OLD, NEW = "bob@customer.example", "bob@new.example"
AWAY = (
    b"Return-Path: <>\r\nFrom: Bob <bob@customer.example>\r\nTo: alice@acme.example\r\n"
    b"Subject: Automatic reply: Offer\r\n"
    b"Auto-Submitted: auto-replied\r\nIn-Reply-To: <send-1@crm.example>\r\nMessage-ID: <ooo@customer.example>\r\n"
    b"Date: Sun, 22 Nov 2026 10:01:00 +0000\r\n\r\nI am out of the office until Monday.\r\n"
)


@pytest.fixture
def written(world: World) -> World:
    world.inbox()
    pipeline.register(world.context, [sent(1, kind=SendKind.SEQUENCE, enrollment_id="e-1", sequence_id="q-1")])
    return world


def failed(world: World, words: str = "smtp; 550 5.1.1 User unknown", status: str = "5.1.1", action: str = "failed"):
    world.deliver(dsn(recipients=[(OLD, action, status, words)]))
    world.work()


def status(world: World, address: str) -> str:
    return everywhere.status(world.context, "acme", [address])[0]["status"]


def told(world: World) -> list[str]:
    return [kind for kind, _ in world.events()]


@pytest.mark.parametrize(
    ("words", "status_code", "reason"),
    [
        ("smtp; 550 5.1.1 User unknown", "5.1.1", "unknown_user"),
        ("smtp; 552 5.2.2 Mailbox full", "5.2.2", "mailbox_full"),
        ("smtp; 554 5.7.1 Message rejected as spam", "5.7.1", "spam"),
    ],
)
def test_a_hard_bounce_excludes_the_address_whatever_its_reason(written: World, words, status_code, reason):
    failed(written, words, status_code)
    (entry,) = written.timeline()
    assert (entry["type"], entry["reason"], entry["policy"]) == ("hard", reason, "hubspot")
    assert status(written, OLD) == IN_ACCOUNT


def test_a_soft_bounce_excludes_nobody(written: World):
    failed(written, "smtp; 450 4.2.1 The user is receiving mail too quickly", "4.2.1")
    assert status(written, OLD) == BOUNCED


def test_what_is_pending_for_72_hours_is_a_soft_bounce(written: World):
    failed(written, "smtp; connection timed out", "4.4.1", "delayed")
    written.now = NOW + timedelta(hours=72)
    written.work()
    assert [row["type"] for row in written.timeline()] == ["soft"]


def test_a_contacts_new_address_starts_clean(written: World):
    failed(written)
    contact = replace(sent(2, NEW).recipients[0], contact_id="c-bob")
    pipeline.register(written.context, [replace(sent(2, NEW), recipients=(contact,))])
    assert (status(written, OLD), status(written, NEW)) == (IN_ACCOUNT, OK)


def test_another_contact_who_is_given_a_bad_address_may_not_be_written_to_there(written: World):
    failed(written)
    contact = replace(sent(2).recipients[0], contact_id="c-other")
    pipeline.register(written.context, [replace(sent(2), recipients=(contact,))])
    assert status(written, OLD) == IN_ACCOUNT


def test_a_bounce_ends_the_sequence(written: World):
    failed(written)
    assert "sequence.unenroll" in told(written)


def test_an_out_of_office_answer_ends_no_sequence_and_is_no_bounce(written: World):
    written.deliver(AWAY)
    written.work()
    assert told(written) == []
    assert written.timeline() == []


def test_a_delay_ends_no_sequence(written: World):
    failed(written, "smtp; connection timed out", "4.4.1", "delayed")
    assert told(written) == ["bounce.attached"]
