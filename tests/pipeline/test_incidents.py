"""An inbox whose emails are refused for its own sake: told once, with advice, and over when sends go through again."""

from datetime import timedelta

import pytest

from tests.fakes.notices import NOW, dsn
from tests.fakes.sends import sent
from tests.fakes.world import World
from worker import admin, pipeline
from worker.classify.advice import advise, load_advice
from worker.domain import Fault
from worker.incidents import FORGOTTEN, GOOD_SENDS, IncidentKind

UNSIGNED = "smtp; 550 5.7.26 Unauthenticated email from acme.example is not accepted due to domain's DMARC policy"
SPAM = "smtp; 550 5.7.1 Message rejected: your IP address has a poor reputation"
UNKNOWN = "smtp; 550 5.1.1 User unknown"


def refuse(world: World, numbers, words: str = UNSIGNED, status: str = "5.7.26", domains: int = 3) -> None:
    for number in numbers:
        address = f"p{number}@d{number % domains}.example"
        pipeline.register(world.context, [sent(number, address, sent_at=world.now - timedelta(minutes=30))])
        raw = dsn(
            f"send-{number}@crm.example",
            recipients=[(address, "failed", status, words)],
            own_id=f"n-{number}@mx.example",
            date=f"{world.now - timedelta(minutes=10):%a, %d %b %Y %H:%M:%S +0000}",
        )
        world.mailboxes["acme/alice"].deliver(raw, world.now)
    world.work()


def incidents(world: World, *, closed_too: bool = False):
    return [each for each, _ in admin.all_incidents(world.context, "acme", closed_too=closed_too)]


def kinds(world: World) -> list[str]:
    return [kind for kind, _ in world.events() if kind.startswith("incident")]


@pytest.fixture
def opened(world: World) -> World:
    world.inbox()
    refuse(world, range(1, 6))
    return world


def test_five_refusals_for_the_senders_sake_open_one_incident_with_advice(opened: World):
    ((incident, example),) = admin.all_incidents(opened.context, "acme")
    assert (incident.kind, incident.failures, incident.inbox) == (IncidentKind.AUTHENTICATION, 5, "alice")
    assert example.verdict.fault is Fault.SENDER
    assert advise(load_advice("en"), example.verdict.type, example.verdict.reason, example.verdict.fault)
    assert kinds(opened) == ["incident.opened"]
    (told,) = [event for event in opened.delivered if event["type"] == "incident.opened"]
    assert (told["account"], told["inbox"], told["incident"]["failures"]) == ("acme", "alice", 5)


def test_further_refusals_count_on_and_are_not_told_again(opened: World):
    refuse(opened, range(6, 9))
    assert [each.failures for each in incidents(opened)] == [8]
    assert kinds(opened) == ["incident.opened"]


@pytest.mark.parametrize(
    ("numbers", "more"),
    [
        (range(1, 5), {}),
        (range(1, 9), {"domains": 1}),
        (range(1, 9), {"words": UNKNOWN, "status": "5.1.1"}),
    ],
    ids=["too few", "one strict server", "the recipients' fault"],
)
def test_what_is_no_incident(world: World, numbers, more):
    world.inbox()
    refuse(world, numbers, **more)
    assert incidents(world) == []


def test_refusals_that_are_days_apart_are_no_incident(world: World):
    world.inbox()
    for number in range(1, 7):
        world.now = NOW + timedelta(days=number)
        refuse(world, [number])
    assert incidents(world) == []


def go_through(world: World, numbers) -> None:
    for number in numbers:
        pipeline.register(world.context, [sent(number, "ok@good.example", sent_at=world.now)])


def test_it_closes_when_sends_go_through_again(opened: World):
    go_through(opened, range(20, 20 + GOOD_SENDS))
    opened.work()
    assert len(incidents(opened)) == 1  # they may still come back
    opened.now += timedelta(hours=1)
    opened.work()
    assert incidents(opened) == []
    (closed,) = incidents(opened, closed_too=True)
    assert closed.closed_at == opened.now
    assert kinds(opened) == ["incident.opened", "incident.closed"]


def test_too_few_good_sends_and_those_that_came_back_do_not_close_it(opened: World):
    go_through(opened, range(20, 20 + GOOD_SENDS - 1))
    opened.now += timedelta(hours=2)
    opened.work()
    assert len(incidents(opened)) == 1


def test_an_inbox_that_sends_no_more_is_forgotten_after_a_week(opened: World):
    opened.now += FORGOTTEN
    opened.work()
    assert incidents(opened) == []


def test_after_one_is_closed_another_may_open(opened: World):
    opened.now += FORGOTTEN
    opened.work()
    refuse(opened, range(30, 35))
    assert len(incidents(opened)) == 1
    assert kinds(opened) == ["incident.opened", "incident.closed", "incident.opened"]


def test_the_kind_is_what_most_of_the_refusals_are_about(world: World):
    world.inbox()
    refuse(world, range(1, 3))
    refuse(world, range(3, 7), words=SPAM, status="5.7.1")
    (incident,) = incidents(world)
    assert incident.kind in (IncidentKind.REPUTATION, IncidentKind.POLICY)
