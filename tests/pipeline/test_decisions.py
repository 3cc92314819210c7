"""What people decide, what addresses do, and what late reports say: end to end on both databases."""

from dataclasses import replace
from datetime import timedelta

import pytest
import sqlalchemy as sa

from connectors import MaildirSettings, to_json
from tests.fakes.mailbox import FakeMailbox
from tests.fakes.notices import NOW, dsn
from tests.fakes.sends import sent
from tests.fakes.world import World
from worker import admin, decisions, declare, pipeline
from worker.store import bounces, inboxes, schema
from worker.store.database import reading, writing

BOB = "bob@customer.example"
FAILED = [(BOB, "failed", "5.1.1", "smtp; 550 5.1.1 User unknown")]
FULL = [(BOB, "failed", "5.2.2", "smtp; 552 5.2.2 Mailbox full")]
SOFT = [(BOB, "failed", "4.4.1", "smtp; connection timed out")]
DELAYED = [(BOB, "delayed", "4.4.1", "smtp; connection timed out")]
DELIVERED = [(BOB, "delivered", "2.0.0", "smtp; 250 OK")]
EARLIER, LATER = "Sun, 22 Nov 2026 10:30:00 +0000", "Sun, 22 Nov 2026 11:45:00 +0000"


@pytest.fixture
def bounced(world: World) -> World:
    return told(start(world), FAILED)


def start(world: World) -> World:
    world.inbox()
    pipeline.register(world.context, [sent(1)])
    return world


def told(world: World, recipients, date: str = EARLIER, number: int = 1, own: str | None = None) -> World:
    own_id = own or f"n-{date[17:22]}-{recipients[0][1]}@mx.example"
    raw = dsn(f"send-{number}@crm.example", recipients=recipients, own_id=own_id, date=date)
    world.mailboxes["acme/alice"].deliver(raw, world.now)
    world.work()
    return world


def shown(world: World) -> list[tuple[str, str | None]]:
    return [(row["type"], row["ended_by"]) for row in world.timeline()]


def excluded(world: World, account: str = "acme") -> bool:
    with reading(world.context.engine) as connection:
        states = bounces.address_states(connection, account)
    return any(state.excluded_by for state in states if state.address == BOB)


def kinds(world: World) -> list[str]:
    return [kind for kind, _ in world.events()]


def test_an_un_bounced_address_may_be_written_to_and_its_history_stays(bounced: World):
    assert excluded(bounced)
    decisions.unbounce(bounced.context, "acme", "Bob@customer.example", "ann", "he called")
    assert shown(bounced) == [("hard", "unbounced")]
    assert not excluded(bounced)
    assert kinds(bounced) == ["bounce.attached", "contact.excluded", "bounce.updated", "contact.unbounced"]
    assert [(row["kind"], row["by"], row["why"]) for row in decisions.trail(bounced.context, "acme", BOB)][1:] == [
        ("unbounced", "ann", "he called")
    ]


def test_a_report_from_before_the_un_bounce_that_comes_late_changes_nothing(bounced: World):
    decisions.unbounce(bounced.context, "acme", BOB, "ann", "he called")
    told(bounced, FULL, LATER)
    assert shown(bounced) == [("hard", "unbounced")]
    assert not excluded(bounced)


def test_a_bounce_of_a_later_email_counts_anew(bounced: World):
    decisions.unbounce(bounced.context, "acme", BOB, "ann", "he called")
    bounced.now = NOW + timedelta(hours=3)
    pipeline.register(bounced.context, [sent(2, sent_at=NOW + timedelta(hours=1))])
    told(bounced, FAILED, "Sun, 22 Nov 2026 14:30:00 +0000", 2)
    assert shown(bounced) == [("hard", "unbounced"), ("hard", None)]
    assert excluded(bounced)


def test_an_un_bounce_can_be_taken_back_once(bounced: World):
    decision = decisions.unbounce(bounced.context, "acme", BOB, "ann", "he called")
    decisions.undo(bounced.context, "acme", decision, "ben", "it was another Bob")
    assert shown(bounced) == [("hard", None)]
    assert excluded(bounced)
    assert kinds(bounced)[-2:] == ["bounce.updated", "contact.excluded"]
    assert len({identity for _, identity in bounced.events()}) == 6


def test_nothing_that_stands_cannot_be_lifted_and_nobody_lifts_another_accounts_bounces(bounced: World):
    for account, address in (("acme", "eve@customer.example"), ("other", BOB)):
        with pytest.raises(admin.AdminProblem, match="nothing to lift"):
            decisions.unbounce(bounced.context, account, address, "ann", "why not")
    assert excluded(bounced)


def test_decisions_of_another_account_cannot_be_taken_back(bounced: World):
    decision = decisions.unbounce(bounced.context, "acme", BOB, "ann", "he called")
    for account, name in (("other", decision), ("acme", "made up")):
        with pytest.raises(admin.AdminProblem, match="no decision"):
            decisions.undo(bounced.context, account, name, "eve", "because")
    assert not excluded(bounced)


def test_whoever_lifts_too_many_is_stopped(world: World, monkeypatch):
    monkeypatch.setattr(decisions, "UNBOUNCES", 2)
    start(world)
    for number in (11, 12, 13):
        pipeline.register(world.context, [sent(number, f"b{number}@customer.example")])
        told(world, [(f"b{number}@customer.example", *FAILED[0][1:])], number=number, own=f"n{number}@mx.example")
    for number in (11, 12):
        decisions.unbounce(world.context, "acme", f"b{number}@customer.example", "ann", "why not")
    with pytest.raises(admin.AdminProblem, match="within the hour"):
        decisions.unbounce(world.context, "acme", "b13@customer.example", "ann", "why not")
    world.now += timedelta(hours=1)
    decisions.unbounce(world.context, "acme", "b13@customer.example", "ann", "why not")


def test_a_bounce_that_is_none_is_rejected_and_another_report_speaks(bounced: World):
    told(bounced, SOFT, LATER)
    (entry,) = bounced.timeline()
    assert entry["type"] == "soft"
    decisions.reject(bounced.context, "acme", entry["id"], "ann", "read wrongly")
    assert shown(bounced) == [("hard", None)]
    decisions.reject(bounced.context, "acme", entry["id"], "ann", "this one too")
    assert shown(bounced) == [("soft", "rejected")]
    assert not excluded(bounced)


@pytest.mark.parametrize(
    ("first", "stands"), [(DELAYED, "pending"), (SOFT, "soft"), (FAILED, "hard")], ids=["pending", "soft", "hard"]
)
def test_a_report_of_delivery_ends_what_stands(world: World, first, stands):
    told(start(world), first)
    told(world, DELIVERED, LATER)
    assert shown(world) == [(stands, "delivered")]
    assert kinds(world)[-1] == ("contact.unbounced" if stands == "hard" else "bounce.healed")
    assert "bounce.healed" in kinds(world)


def test_a_report_of_delivery_that_comes_before_the_delay_it_followed_ends_it_as_well(world: World):
    told(start(world), DELIVERED, LATER)
    assert shown(world) == []
    told(world, DELAYED)
    assert shown(world) == [("pending", "delivered")]
    world.now = NOW + timedelta(days=4)
    world.work()
    assert shown(world) == [("pending", "delivered")]


def test_a_report_of_delivery_about_somebody_elses_email_ends_nothing(bounced: World):
    bounced.deliver(dsn("send-9@elsewhere.example", recipients=DELIVERED, own_id="n-9@mx.example", date=LATER))
    bounced.work()
    assert shown(bounced) == [("hard", None)]


def letter(sender: str = BOB, results: str = "dmarc=pass header.from=customer.example", **fields: str) -> bytes:
    head = {
        "Authentication-Results": f"mx.acme.example; {results}",
        "From": f"Bob <{sender}>",
        "To": "alice@acme.example",
        "Subject": "Re: Offer",
        "Message-ID": "<reply-1@customer.example>",
        "Date": LATER,
    } | {name.replace("_", "-"): value for name, value in fields.items()}
    return "".join(f"{name}: {value}\r\n" for name, value in head.items()).encode() + b"\r\nYes, please.\r\n"


def healing(world: World) -> World:
    """Have the inbox's provider sign what it has found out about a message's author."""
    start(world)
    (inbox,) = (each for each, _ in admin.all_inboxes(world.context))
    settings = to_json(MaildirSettings(path="/nowhere", authserv_id="mx.acme.example"))
    with writing(world.context.engine) as connection:
        inboxes.change(connection, inbox.id, settings=settings)
    return world


@pytest.mark.parametrize(("first", "ended"), [(SOFT, "wrote"), (FULL, "wrote"), (FAILED, None)])
def test_a_message_of_the_addresss_own_lifts_what_it_proves_wrong(world: World, first, ended):
    told(healing(world), first)
    world.deliver(letter())
    world.work()
    assert [how for _, how in shown(world)] == [ended]
    (entry,) = world.timeline()
    assert any("wrote on 2026-11-22" in line["text"] for line in entry["evidence"]) == (ended is None)
    assert [row["kind"] for row in decisions.trail(world.context, "acme", BOB)] == ["reported", "wrote"]


@pytest.mark.parametrize(
    "raw",
    [
        letter(results="dmarc=fail header.from=customer.example"),
        letter(results="dkim=pass header.d=evil.example"),
        letter(results="spf=pass smtp.mailfrom=customer.example"),
        letter(Authentication_Results="evil.example; dmarc=pass header.from=customer.example"),
        letter("eve@customer.example"),
        letter(Auto_Submitted="auto-replied", Subject="Automatic reply: Offer"),
        letter(Precedence="bulk"),
    ],
    ids=["failed", "another domain", "unsigned", "another's word", "another address", "a machine's", "a newsletter"],
)
def test_what_does_not_prove_that_the_address_wrote_lifts_nothing(world: World, raw):
    told(healing(world), SOFT)
    world.deliver(raw)
    world.work()
    assert shown(world) == [("soft", None)]


def test_of_those_of_whom_nothing_bounced_nothing_is_kept(world: World):
    healing(world).deliver(letter())
    world.work()
    assert decisions.trail(world.context, "acme", BOB) == []
    with reading(world.context.engine) as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(schema.notices)).scalar() == 0


def test_two_sends_to_one_address_are_two_bounces_and_one_exclusion(bounced: World):
    pipeline.register(bounced.context, [sent(2)])
    told(bounced, FAILED, LATER, 2)
    assert shown(bounced) == [("hard", None), ("hard", None)]
    assert kinds(bounced).count("contact.excluded") == 1
    first = bounced.timeline()[0]["id"]
    decisions.reject(bounced.context, "acme", first, "ann", "no")
    assert excluded(bounced)


def test_an_inbox_may_have_a_policy_of_its_own(world: World):
    settings = {"path": "/nowhere"}
    declared = {"account": "acme", "name": "alice", "address": "a@acme.example", "provider": "maildir"}
    inbox = declared | {"settings": settings, "policy": "careful", "since": "2026-11-01T00:00:00Z"}
    world.mailboxes["acme/alice"] = FakeMailbox()
    declare.apply(world.context, {"inbox": [inbox]}, {})
    pipeline.register(world.context, [sent(1)])
    refused = [(BOB, "failed", "5.7.26", "smtp; 550 5.7.26 This message fails SPF and DKIM authentication checks")]
    told(world, refused)
    assert [(row["type"], row["fault"], row["policy"]) for row in world.timeline()] == [("hard", "sender", "careful")]
    assert not excluded(world)
    assert declare.apply(world.context, {"inbox": [inbox]}, {}) == []
    back = declare.apply(world.context, {"inbox": [inbox | {"policy": None}]}, {})
    assert back == ["inbox alice of acme: policy of its account"]
    pipeline.register(world.context, [sent(2)])
    told(world, refused, LATER, 2)
    assert excluded(world)


def test_accounts_may_give_full_mailboxes_time(world: World):
    start(world)
    declared = {"account": [{"name": "acme", "mailbox_full_days": 14}]}
    assert declare.apply(world.context, declared, {}) == ["account acme: policy hubspot"]
    assert declare.apply(world.context, declared, {}) == []
    told(world, FULL)
    world.now = NOW + timedelta(days=13)
    world.work()
    assert excluded(world)
    world.now = NOW + timedelta(days=14)
    world.work()
    assert shown(world) == [("hard", "expired")]
    assert not excluded(world)
    assert kinds(world)[-2:] == ["bounce.healed", "contact.unbounced"]


def test_accounts_may_let_soft_bounces_add_up(world: World):
    start(world)
    declare.apply(world.context, {"account": [{"name": "acme", "soft_threshold": {"bounces": 2, "days": 30}}]}, {})
    told(world, SOFT)
    assert not excluded(world)
    pipeline.register(world.context, [sent(2)])
    told(world, SOFT, LATER, 2)
    assert excluded(world)


def test_the_same_in_another_account_is_untouched(bounced: World):
    bounced.inbox("alice", "other")
    other = replace(sent(1), account="other")
    pipeline.register(bounced.context, [other])
    bounced.deliver(
        dsn("send-1@crm.example", recipients=FAILED, own_id="n-7@mx.example", date=EARLIER), "alice", "other"
    )
    bounced.work()
    decisions.unbounce(bounced.context, "acme", BOB, "ann", "he called")
    assert not excluded(bounced)
    assert excluded(bounced, "other")
