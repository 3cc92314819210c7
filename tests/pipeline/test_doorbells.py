"""Providers that call us: subscriptions are made, prolonged and made anew; only a call that proves itself counts."""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import pytest
import sqlalchemy as sa

from connectors import AuthRequired, ConnectorError, MessageGone, Subscription, Throttled
from tests.fakes.notices import NOW
from tests.fakes.world import World
from worker import admin, declare, pipeline
from worker.pipeline import Call
from worker.store import doorbells, inboxes, schema
from worker.store.database import reading, writing
from worker.store.keyring import KeyProblem

URL = "https://bounces.acme.example/doorbells/graph"
DAYS = timedelta(days=1)


@dataclass
class FakeProvider:
    """Subscriptions as a provider keeps them; `problem` is what it answers instead."""

    world: World
    alive: dict[str, str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    problem: ConnectorError | None = None
    closed: int = 0

    def subscribe(self, target: str, secret: str) -> Subscription:
        self._ask(f"subscribe {target}")
        name = f"subscription-{len(self.asked)}"
        self.alive[name] = secret
        return Subscription(id=name, expires_at=self.world.now + 3 * DAYS)

    def renew(self, subscription: str, target: str) -> Subscription:
        self._ask(f"renew {subscription}")
        if subscription not in self.alive:
            raise MessageGone("The subscription is gone.")
        return Subscription(id=subscription, expires_at=self.world.now + 3 * DAYS)

    def unsubscribe(self, subscription: str) -> None:
        self.alive.pop(subscription, None)

    def close(self) -> None:
        self.closed += 1

    def _ask(self, what: str) -> None:
        if self.problem:
            raise self.problem
        self.asked.append(what)


@pytest.fixture
def provider(world: World) -> FakeProvider:
    """Inboxes of the provider "maildir" are the ones that can be called about, in these tests."""
    fake = FakeProvider(world)
    world.context = replace(world.context, subscriber=lambda _: fake, call_us_at={"maildir": URL})
    return fake


def bell(world: World, inbox) -> doorbells.Bell:
    with reading(world.context.engine) as connection:
        return doorbells.of_inbox(connection, inbox.id)


def put_off(world: World, inbox) -> None:
    """Have the inbox due in an hour only."""
    with writing(world.context.engine) as connection:
        inboxes.change(connection, inbox.id, next_poll_at=world.now + timedelta(hours=1))


def due_at(world: World, inbox) -> datetime:
    return admin.the_inbox(world.context, inbox.name, inbox.account).next_poll_at


def test_each_inbox_is_given_a_doorbell_once(world: World, provider: FakeProvider):
    inbox = world.inbox()
    assert [pipeline.renew_doorbells(world.context) for _ in range(3)] == [1, 0, 0]
    assert provider.asked == [f"subscribe {URL}"]
    assert bell(world, inbox).expires_at == NOW + 3 * DAYS
    assert provider.closed == 1


def test_nothing_is_asked_for_where_nobody_can_reach_us(world: World, provider: FakeProvider):
    world.inbox()
    world.context = replace(world.context, call_us_at={})
    assert pipeline.renew_doorbells(world.context) == 0
    assert provider.asked == []


def test_a_doorbell_is_prolonged_daily_and_long_before_its_end(world: World, provider: FakeProvider):
    inbox = world.inbox()
    pipeline.renew_doorbells(world.context)
    for _ in range(30):
        world.now += DAYS
        assert pipeline.renew_doorbells(world.context) == 1
        assert bell(world, inbox).expires_at == world.now + 3 * DAYS
    assert provider.asked[1:] == ["renew subscription-1"] * 30


def test_a_subscription_that_the_provider_has_lost_is_made_anew_with_another_secret(
    world: World, provider: FakeProvider
):
    inbox = world.inbox()
    pipeline.renew_doorbells(world.context)
    old = provider.alive.pop("subscription-1")
    world.now += DAYS
    pipeline.renew_doorbells(world.context)
    assert bell(world, inbox).subscription == "subscription-3"
    assert provider.alive["subscription-3"] != old
    assert pipeline.graph_called(world.context, [Call(subscription="subscription-1", secret=old)]) == 0


@pytest.mark.parametrize("problem", [AuthRequired("No."), Throttled("Later.", timedelta(hours=5))])
def test_a_doorbell_that_cannot_be_hung_is_tried_again_later_and_stops_no_poll(
    world: World, provider: FakeProvider, problem
):
    inbox = world.inbox()
    provider.problem = problem
    pipeline.renew_doorbells(world.context)
    first = bell(world, inbox)
    assert (first.subscription, first.problem, first.failures) == (None, str(problem), 1)
    if isinstance(problem, Throttled):
        assert first.renew_at >= NOW + timedelta(hours=5)
    world.now = first.renew_at
    assert pipeline.renew_doorbells(world.context) == 1
    assert bell(world, inbox).failures == 2
    assert world.work() == {}
    provider.problem = None
    world.now = bell(world, inbox).renew_at
    pipeline.renew_doorbells(world.context)
    assert (bell(world, inbox).problem, bell(world, inbox).failures) == (None, 0)


def test_a_worker_that_dies_while_it_renews_leaves_the_doorbell_to_the_next(world: World, provider: FakeProvider):
    world.inbox()
    provider.problem = None

    def die(_):
        raise KeyboardInterrupt

    context = world.context
    world.context = replace(context, subscriber=die)
    with pytest.raises(KeyboardInterrupt):
        pipeline.renew_doorbells(world.context)
    world.context = context
    assert pipeline.renew_doorbells(world.context) == 0
    world.now += timedelta(minutes=11)
    assert pipeline.renew_doorbells(world.context) == 1
    assert provider.asked == [f"subscribe {URL}"]


def test_a_doorbell_of_another_mailbox_is_not_kept(world: World, provider: FakeProvider):
    item = {"account": "acme", "name": "alice", "provider": "maildir", "settings": {"path": "/nowhere"}}
    for address in ("alice@acme.example", "new@acme.example", "new@acme.example"):
        declare.apply(world.context, {"inbox": [item | {"address": address}]}, {})
        pipeline.renew_doorbells(world.context)
    assert provider.asked == [f"subscribe {URL}"] * 2


def test_an_inbox_that_breaks_the_worker_leaves_the_others_their_doorbells(world: World, provider: FakeProvider):
    broken, *others = [world.inbox(name) for name in ("alice", "bob", "carol")]

    def subscriber(inbox):
        if inbox.id == broken.id:
            raise KeyProblem("A secret was encrypted with a key that is no longer there.")
        return provider

    world.context = replace(world.context, subscriber=subscriber)
    assert pipeline.renew_doorbells(world.context) == 3
    assert all(bell(world, each).subscription for each in others)
    failed = bell(world, broken)
    assert (failed.failures, failed.problem) == (1, "The worker itself failed (KeyProblem); see its log.")
    assert NOW < failed.renew_at < NOW + timedelta(minutes=1)


def test_a_slow_provider_does_not_take_more_time_than_a_task_has(world: World, provider: FakeProvider):
    several = [world.inbox(f"inbox-{number}") for number in range(5)]
    subscribe = provider.subscribe

    def slowly(target: str, secret: str) -> Subscription:
        world.now += timedelta(seconds=40)
        return subscribe(target, secret)

    provider.subscribe = slowly
    assert pipeline.renew_doorbells(world.context) == 2
    world.now = NOW + timedelta(minutes=11)
    pipeline.renew_doorbells(world.context)
    world.now = NOW + timedelta(minutes=22)
    pipeline.renew_doorbells(world.context)
    assert all(bell(world, each).subscription for each in several)


def test_a_paused_inbox_gets_no_doorbell(world: World, provider: FakeProvider):
    admin.pause(world.context, world.inbox())
    assert pipeline.renew_doorbells(world.context) == 0


def test_a_call_with_the_right_secret_makes_its_inbox_due_and_no_other(world: World, provider: FakeProvider):
    alice, bob = world.inbox(), world.inbox("bob", "other")
    pipeline.renew_doorbells(world.context)
    for inbox in (alice, bob):
        put_off(world, inbox)
    name = bell(world, alice).subscription
    calls = [Call(subscription=name, secret=provider.alive[name])] * 3
    assert pipeline.graph_called(world.context, calls) == 1
    assert due_at(world, alice) == world.now
    assert due_at(world, bob) == world.now + timedelta(hours=1)


@pytest.mark.parametrize("lifecycle", [None, "missed", "subscriptionRemoved", "reauthorizationRequired"])
def test_a_call_that_proves_nothing_changes_nothing(world: World, provider: FakeProvider, lifecycle):
    alice, bob = world.inbox(), world.inbox("bob", "other")
    pipeline.renew_doorbells(world.context)
    put_off(world, alice)
    before = bell(world, alice)
    mine, theirs = before.subscription, bell(world, bob).subscription
    wrong = [
        (mine, ""),
        (mine, "guessed"),
        (mine, "\ud800"),
        (mine, provider.alive[theirs]),
        ("unknown", provider.alive[mine]),
    ]
    calls = [Call(subscription=name, secret=secret, lifecycle=lifecycle) for name, secret in wrong]
    assert pipeline.graph_called(world.context, calls) == 0
    assert due_at(world, alice) == world.now + timedelta(hours=1)
    assert bell(world, alice) == before


@pytest.mark.parametrize(
    ("lifecycle", "asked"),
    [
        ("missed", []),
        ("reauthorizationRequired", ["renew subscription-1"]),
        ("subscriptionRemoved", [f"subscribe {URL}"]),
        ("never heard of", []),
    ],
)
def test_what_graph_says_of_a_subscription_is_acted_upon_and_the_inbox_is_read(
    world: World, provider: FakeProvider, lifecycle, asked
):
    inbox = world.inbox()
    pipeline.renew_doorbells(world.context)
    put_off(world, inbox)
    secret = provider.alive["subscription-1"]
    pipeline.graph_called(world.context, [Call(subscription="subscription-1", secret=secret, lifecycle=lifecycle)])
    assert due_at(world, inbox) == world.now
    pipeline.renew_doorbells(world.context)
    assert provider.asked[1:] == asked


def test_a_call_does_not_shorten_the_peace_that_a_server_was_promised(world: World, provider: FakeProvider):
    inbox = world.inbox()
    pipeline.renew_doorbells(world.context)
    with writing(world.context.engine) as connection:
        inboxes.put_off(connection, inbox.id, world.now + timedelta(hours=2), "Too many requests.")
    secret = provider.alive["subscription-1"]
    pipeline.graph_called(world.context, [Call(subscription="subscription-1", secret=secret)])
    assert due_at(world, inbox) == world.now + timedelta(hours=2)


def test_gmails_call_makes_due_every_gmail_inbox_of_the_address(world: World):
    alice, other, imap = world.inbox(), world.inbox("alice", "other"), world.inbox("bob")
    with writing(world.context.engine) as connection:
        for inbox in (alice, other):
            inboxes.change(connection, inbox.id, provider="gmail", address="Alice@acme.example")
        inboxes.change(connection, imap.id, address="Alice@acme.example")
    for inbox in (alice, other, imap):
        put_off(world, inbox)
    assert pipeline.gmail_called(world.context, ["alice@ACME.example", "nobody@acme.example"]) == 2
    assert [due_at(world, each) == world.now for each in (alice, other, imap)] == [True, True, False]


def test_the_secret_itself_is_not_kept(world: World, provider: FakeProvider):
    world.inbox()
    pipeline.renew_doorbells(world.context)
    with reading(world.context.engine) as connection:
        (row,) = connection.execute(sa.select(schema.doorbells.c.secret)).all()
    assert provider.alive["subscription-1"].encode() not in row.secret
