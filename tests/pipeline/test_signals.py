"""What the pipeline tells of itself, and what the database's figures say, on both databases."""

from dataclasses import replace
from datetime import timedelta

import pytest

from connectors import AuthRequired, Throttled, Unavailable
from tests.fakes.notices import dsn
from tests.fakes.sends import sent
from tests.fakes.world import World
from worker import pipeline, signals
from worker.signals import PollOutcome
from worker.store import gauges, inboxes
from worker.store.database import reading, writing


@pytest.fixture
def told(world: World) -> list[signals.Signal]:
    heard: list[signals.Signal] = []
    world.context = replace(world.context, tell=heard.append)
    return heard


def figures(world: World) -> dict[str, float]:
    with reading(world.context.engine) as connection:
        found = list(gauges.readings(connection, world.now, world.now + timedelta(days=3)))
    assert {each.name for each in found} <= gauges.MEANING.keys()
    assert {label for each in found for label, _ in each.labels} <= {"provider", "state", "way", "kind"}
    return {".".join([each.name, *(value for _, value in each.labels)]): each.value for each in found}


def test_one_bounce_is_followed_by_one_id(world: World, told: list[signals.Signal]):
    world.inbox()
    pipeline.register(world.context, [sent(1)])
    world.deliver(dsn())
    world.work()
    (found,) = (each for each in told if isinstance(each, signals.Found))
    (ended,) = (each for each in told if isinstance(each, signals.Ended))
    (judged,) = (each for each in told if isinstance(each, signals.Judged))
    handed = [each for each in told if isinstance(each, signals.HandedOver)]
    assert {found.correlation_id} == {each.correlation_id for each in (ended, judged, *handed)}
    assert (ended.state, ended.kind, ended.detector) == ("attached", "bounce", "rfc3464")
    assert (judged.type, judged.reason, judged.fault) == ("hard", "unknown_user", "address")
    assert judged.matched_by == "original_message_id"
    assert {each.type for each in handed} == {"bounce.attached", "contact.excluded"}
    assert {each["correlation_id"] for each in world.delivered} == {found.correlation_id}


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (Throttled("Not now.", timedelta(minutes=1)), PollOutcome.THROTTLED),
        (Unavailable("Down."), PollOutcome.UNAVAILABLE),
        (AuthRequired("Sign in."), PollOutcome.AUTH_REQUIRED),
        (ValueError("a fault of ours"), PollOutcome.ERROR),
    ],
)
def test_a_poll_says_how_it_ended(world: World, told: list[signals.Signal], error: Exception, outcome: PollOutcome):
    world.inbox()
    world.mailboxes["acme/alice"].broken = lambda: error
    world.work()
    (polled,) = (each for each in told if isinstance(each, signals.Polled))
    assert (polled.outcome, polled.provider, polled.error) == (outcome, "maildir", type(error).__name__)


def test_a_poll_that_never_ended_is_counted_when_its_inbox_is_due_again(world: World, told: list[signals.Signal]):
    world.inbox()
    assert len(pipeline.claim_due(world.context)) == 1
    world.now += timedelta(minutes=1)
    assert pipeline.claim_due(world.context) == []
    assert told == []
    world.now += timedelta(minutes=10)
    assert list(pipeline.claims(world.context, 0)) == [], "the queue is full"
    assert told == [signals.LeaseExpired(inboxes=1)]
    assert len(pipeline.claim_due(world.context)) == 1
    assert told == [signals.LeaseExpired(inboxes=1)]


def test_figures_of_an_empty_deployment(world: World):
    found = figures(world)
    assert found["due_lag_seconds"] == found["poll_age_seconds"] == found["event_age_seconds.queue"] == 0


def test_figures_say_what_waits_and_for_how_long(world: World):
    inbox = world.inbox()
    world.inbox("carol")
    pipeline.register(world.context, [sent(1)])
    world.deliver(dsn())
    world.context = replace(world.context, deliver=lambda *_: (_ for _ in ()).throw(ConnectionError))
    world.work()
    with writing(world.context.engine) as connection:
        inboxes.change(connection, inbox.id, failures=2, next_poll_at=world.now + timedelta(minutes=1))
    world.now += timedelta(minutes=30)
    found = figures(world)
    assert found["inboxes.maildir.active"] == 2
    assert found["inboxes_failing.maildir"] == 1
    assert found["inboxes_due"] == 2
    assert 1700 < found["due_lag_seconds"] <= 1800
    assert found["poll_age_seconds"] == 1800
    assert found["events_waiting.queue"] == 2
    assert found["event_age_seconds.queue"] == 1800
    assert found["notices.attached"] == 1
