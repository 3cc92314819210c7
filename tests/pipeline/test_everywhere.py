"""Global bounces: three accounts that the operator trusts, by Message-ID, within a window; nobody else's business."""

from dataclasses import replace
from datetime import timedelta

import pytest
import sqlalchemy as sa

from tests.fakes.notices import NOW, dsn
from tests.fakes.sends import sent
from tests.fakes.world import World
from worker import decisions, declare, everywhere, people, pipeline
from worker.everywhere import GLOBALLY, IN_ACCOUNT, OK, WINDOW
from worker.store import schema
from worker.store.database import reading

BOB = "bob@customer.example"
UNKNOWN = ("5.1.1", "smtp; 550 5.1.1 User unknown")
FULL = ("5.2.2", "smtp; 552 5.2.2 Mailbox full")
POLICY = ("5.7.26", "smtp; 550 5.7.26 not accepted due to domain's DMARC policy")
LATER = ("4.4.1", "smtp; connection timed out")


def account(world: World, name: str, *, trusted: bool = True, **more) -> None:
    declare.apply(world.context, {"account": [{"name": name, "trusted": trusted, **more}]}, {})
    world.inbox("alice", name)


def write(world: World, name: str, number: int = 1, address: str = BOB) -> None:
    pipeline.register(
        world.context, [replace(sent(number, address, sent_at=world.now - timedelta(hours=1)), account=name)]
    )


def bounce(world: World, name: str, words=UNKNOWN, number: int = 1) -> None:
    write(world, name, number)
    raw = dsn(
        f"send-{number}@crm.example",
        recipients=[(BOB, "failed", *words)],
        own_id=f"n-{number}-{name}@mx.example",
        date=f"{world.now - timedelta(minutes=30):%a, %d %b %Y %H:%M:%S +0000}",
    )
    world.mailboxes[f"{name}/alice"].deliver(raw, world.now)
    world.work()


def status(world: World, name: str, address: str = BOB) -> str:
    (row,) = everywhere.status(world.context, name, [address])
    return row["status"]


@pytest.fixture
def asking(world: World) -> World:
    """An account that has written to Bob, and of which nothing came back."""
    account(world, "acme")
    write(world, "acme")
    return world


def three(world: World, words=UNKNOWN, **more) -> None:
    for name in ("one", "two", "three"):
        account(world, name, **more)
        bounce(world, name, words)


@pytest.mark.parametrize("words", [UNKNOWN, FULL], ids=["unknown user", "mailbox full"])
def test_an_address_that_bounced_for_good_in_three_accounts_is_known_in_a_fourth(asking: World, words):
    three(asking, words)
    (row,) = everywhere.status(asking.context, "acme", [BOB])
    assert row["status"] == GLOBALLY
    assert row["email_hard_bounce_reason"] is None  # its own email didn't bounce
    assert row["excluded_by"] is None
    (own,) = everywhere.status(asking.context, "one", [BOB])
    assert (own["status"], own["email_hard_bounce_reason"]) == (
        IN_ACCOUNT,
        "unknown_user" if words is UNKNOWN else "mailbox_full",
    )


def test_two_accounts_are_not_enough_however_often_it_bounces_in_them(asking: World):
    for name in ("one", "two"):
        account(asking, name)
        for number in (1, 2, 3):
            bounce(asking, name, number=number)
    assert status(asking, "acme") == OK


@pytest.mark.parametrize("words", [POLICY, LATER], ids=["the sender's fault", "temporary"])
def test_what_is_not_the_addresss_own_fault_for_good_never_counts(asking: World, words):
    three(asking, words)
    assert status(asking, "acme") == OK


def test_three_hostile_accounts_can_neither_kill_an_address_nor_learn_of_it(asking: World):
    three(asking, trusted=False)
    assert status(asking, "acme") == OK
    for name in ("four", "five", "six"):
        account(asking, name)
        bounce(asking, name)
    assert status(asking, "acme") == GLOBALLY
    account(asking, "spy", trusted=False)
    write(asking, "spy")
    assert status(asking, "spy") == OK


def test_nobody_is_told_of_an_address_that_they_never_wrote_to(world: World):
    account(world, "acme")
    three(world)
    assert status(world, "acme") == OK


def test_who_opts_out_neither_tells_nor_hears(asking: World):
    three(asking)
    account(asking, "shy", global_opt_out=True)
    write(asking, "shy")
    assert status(asking, "shy") == OK
    declare.apply(asking.context, {"account": [{"name": "one", "trusted": True}]}, {})
    with reading(asking.context.engine) as connection:
        names = set(connection.execute(sa.select(schema.global_bounces.c.account)).scalars())
    assert names == {"one", "two", "three"}


def test_who_is_trusted_no_more_counts_no_more(asking: World):
    three(asking)
    declare.apply(asking.context, {"account": [{"name": "two", "trusted": False}]}, {})
    assert status(asking, "acme") == OK


def test_bounces_are_forgotten_after_the_window(asking: World):
    three(asking)
    asking.now += WINDOW + timedelta(hours=1)
    assert status(asking, "acme") == OK


def test_an_un_bounce_in_one_account_takes_its_word_back(asking: World):
    three(asking)
    decisions.unbounce(asking.context, "two", BOB, "ann", "he called")
    assert status(asking, "acme") == OK


def test_only_an_operator_lifts_it_for_all_and_later_bounces_count_anew(asking: World):
    three(asking)
    everywhere.lift(asking.context, "Bob@customer.example", "operator", "the domain is back")
    assert status(asking, "acme") == OK
    assert status(asking, "one") == IN_ACCOUNT
    asking.now = NOW + timedelta(days=1)
    for name in ("one", "two", "three"):
        bounce(asking, name, number=7)
    assert status(asking, "acme") == GLOBALLY


def test_what_is_shared_is_a_hash_and_no_address(asking: World):
    three(asking)
    with reading(asking.context.engine) as connection:
        rows = connection.execute(schema.global_bounces.select()).all()
    assert len({bytes(row.digest) for row in rows}) == 1
    assert "customer" not in repr(rows)


def test_who_is_forgotten_in_an_account_is_not_held_against_by_it(asking: World):
    three(asking)
    people.forget(asking.context, "one", BOB, keep_exclusion=True)
    assert status(asking, "acme") == OK
    assert status(asking, "one") == IN_ACCOUNT  # by its own hash


def test_an_attempt_that_is_refused_is_on_the_timeline_and_no_bounce_of_ones_own(asking: World):
    three(asking)
    attempt = replace(sent(9, BOB, "cleo@customer.example"), account="acme")
    assert everywhere.refuse(asking.context, attempt) == [BOB]
    (entry,) = asking.timeline()
    assert (entry["send_id"], entry["reason"], entry["matched_by"]) == ("s-9", "other", "global")
    (row,) = everywhere.status(asking.context, "acme", [BOB])
    assert (row["status"], row["email_hard_bounce_reason"], row["excluded_by"]) == (GLOBALLY, None, None)
    assert everywhere.refuse(asking.context, attempt) == [BOB]
    assert len(asking.timeline()) == 1
