"""What is held about a person can be shown and forgotten; what must survive is a hash that nobody can turn back."""

import json

import pytest
import sqlalchemy as sa

from tests.fakes.notices import dsn
from tests.fakes.sends import sent
from tests.fakes.world import World
from worker import admin, decisions, people, pipeline
from worker.store import schema
from worker.store.database import reading

BOB, CLEO = "bob@customer.example", "cleo@customer.example"


@pytest.fixture
def known(world: World) -> World:
    """Bob bounced, in an email to him and Cleo, and another to him alone; somebody lifted it and took it back."""
    world.inbox()
    pipeline.register(world.context, [sent(1, "Bob@customer.example", CLEO), sent(2, BOB), sent(3, CLEO)])
    for number in (1, 2):
        failed = [(BOB, "failed", "5.1.1", "smtp; 550 no such user")]
        world.deliver(dsn(f"send-{number}@crm.example", recipients=failed, own_id=f"n-{number}@mx.example"))
    world.work()
    decision = decisions.unbounce(world.context, "acme", BOB, "ann", "he called")
    decisions.undo(world.context, "acme", decision, "ann", "another Bob")
    world.work()
    return world


def everything(world: World) -> str:
    """Return all text of all tables, as somebody would see it who has stolen the database."""
    with reading(world.context.engine) as connection:
        tables = [connection.execute(table.select()).all() for table in schema.metadata.sorted_tables]
    return repr(tables)


def test_all_that_is_held_is_shown_and_nothing_of_others(known: World):
    shown = people.export(known.context, "acme", "BOB@customer.example")
    assert {name: len(rows) for name, rows in shown["held"].items()} == {
        "send_recipients": 2,
        "facts": 4,
        "bounces": 2,
        "addresses": 1,
        "sends": 2,
        "outbox": len([event for event in known.delivered if event["address"].lower() == BOB]),
    }
    assert CLEO not in json.dumps(shown)
    assert shown["held"]["addresses"][0]["excluded_by"] == "hubspot"
    assert people.export(known.context, "other", BOB)["held"] == {}


def test_what_is_forgotten_is_nowhere_any_more(known: World):
    assert "customer.example" in everything(known)
    gone = people.forget(known.context, "acme", BOB, keep_exclusion=True)
    assert (gone["bounces"], gone["sends"], gone["facts"]) == (2, 1, 4)
    assert "bob@" not in everything(known).lower()
    assert gone["raw_notices"] == 2
    assert people.export(known.context, "acme", BOB) == {
        "schema": 1,
        "account": "acme",
        "address": BOB,
        "excluded_by_hash": True,
        "held": {},
    }
    assert known.timeline() == []


def test_others_in_the_same_email_are_untouched(known: World):
    people.forget(known.context, "acme", BOB, keep_exclusion=True)
    shown = people.export(known.context, "acme", CLEO)
    assert [row["id"] for row in shown["held"]["sends"]] == ["s-1", "s-3"]


def test_not_even_the_hash_is_kept_where_nobody_wants_it(known: World):
    people.forget(known.context, "acme", BOB, keep_exclusion=False)
    assert people.export(known.context, "acme", BOB)["excluded_by_hash"] is False
    with pytest.raises(admin.AdminProblem, match="Nothing is known"):
        people.forget(known.context, "acme", BOB, keep_exclusion=False)


def test_a_hash_that_was_kept_can_be_forgotten_later(known: World):
    people.forget(known.context, "acme", BOB, keep_exclusion=True)
    assert people.forget(known.context, "acme", BOB, keep_exclusion=False) == {"exclusions": 1}


def test_of_an_address_that_may_be_written_to_no_hash_is_kept(known: World):
    people.forget(known.context, "acme", CLEO, keep_exclusion=True)
    assert people.export(known.context, "acme", CLEO)["excluded_by_hash"] is False


def test_another_account_forgets_nothing_of_ours(known: World):
    with pytest.raises(admin.AdminProblem, match="Nothing is known"):
        people.forget(known.context, "other", BOB, keep_exclusion=True)
    assert len(known.timeline()) == 2


def test_who_is_forgotten_and_written_to_again_begins_anew(known: World):
    people.forget(known.context, "acme", BOB, keep_exclusion=True)
    pipeline.register(known.context, [sent(9, BOB)])
    failed = [(BOB, "failed", "5.1.1", "smtp; 550 no such user")]
    known.deliver(dsn("send-9@crm.example", recipients=failed, own_id="n-9@mx.example"))
    known.work()
    assert [row["send_id"] for row in known.timeline()] == ["s-9"]


def test_purging_an_inbox_forgets_what_came_of_its_emails(known: World):
    (inbox,) = (each for each, _ in admin.all_inboxes(known.context))
    admin.remove(known.context, inbox, purge=True)
    assert known.timeline() == []
    shown = people.export(known.context, "acme", BOB)
    assert set(shown["held"]) == {"send_recipients", "sends"}  # the CRM's own words; contact forget drops them
    assert shown["excluded_by_hash"] is True
    with reading(known.context.engine) as connection:
        for table in (schema.facts, schema.outbox, schema.addresses, schema.incidents):
            assert connection.execute(sa.select(sa.func.count()).select_from(table)).scalar() == 0
