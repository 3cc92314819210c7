"""Webhooks: every event at least once, verified by the receiver's library, whatever the receiver does meanwhile."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

import pytest
import sqlalchemy as sa

from connectors.network import Guard, dial
from tests.fakes.front import certificate
from tests.fakes.notices import dsn
from tests.fakes.receiver import Receiver
from tests.fakes.sends import sent
from tests.fakes.world import World
from worker import decisions, hooks, pipeline
from worker.admin import AdminProblem
from worker.notify import webhook as notify_webhook
from worker.notify.webhook import RETRIES
from worker.store import outbox, schema, webhooks
from worker.store.database import reading, writing
from worker.store.webhooks import WebhookState

BOB = "bob@customer.example"


@contextmanager
def receiving(world: World, behave=lambda _: 204, types=(), account: str = "acme", **how) -> Iterator[Receiver]:
    with Receiver(behave, **how) as receiver:
        added = hooks.add(world.context, account, receiver.url, types, trusted=True)
        receiver.secrets = [added.secret]
        receiver.id = added.webhook.id
        yield receiver


def bounce(world: World, number: int, address: str = BOB) -> None:
    pipeline.register(world.context, [sent(number, address)])
    failed = [(address, "failed", "5.1.1", "smtp; 550 5.1.1 User unknown")]
    world.deliver(dsn(f"send-{number}@crm.example", failed, own_id=f"n-{number}@mx.example"))
    world.work()


def courier(world: World) -> int:
    while pipeline.number_events(world.context):
        pass
    return pipeline.call_webhooks(world.context)


def state(world: World) -> dict:
    (row,) = hooks.listed(world.context, "acme")
    return row


@pytest.fixture
def ready(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """An inbox; the receiver's library goes by the same clock as the world."""

    class Clock(datetime):
        @classmethod
        def now(cls, tz=None):
            return world.now.astimezone(tz)

    monkeypatch.setattr("standardwebhooks.webhooks.datetime", Clock)
    world.inbox()
    return world


def test_what_happens_is_told_once_and_verified(ready: World):
    with receiving(ready) as receiver:
        bounce(ready, 1)
        assert courier(ready) == 2
        assert courier(ready) == 0
    assert [event.type for event in receiver.events] == ["bounce.attached", "contact.excluded"]
    assert [event.id for event in receiver.events] == [name for _, name in ready.events()]
    assert [head["webhook-id"] for head in receiver.heads] == [event.id for event in receiver.events]
    assert receiver.events[0].bounce.address == BOB
    assert (receiver.calls, receiver.forged) == (2, 0)
    assert state(ready)["deliveries"] == {"delivered": 2}


def test_only_events_since_it_was_added_of_its_account_and_of_the_types_it_wants(ready: World):
    bounce(ready, 1)
    courier(ready)
    with receiving(ready, types=["contact.excluded"]) as some, receiving(ready, account="other") as other:
        bounce(ready, 2, "cleo@customer.example")
        courier(ready)
    assert [(event.type, event.address) for event in some.events] == [("contact.excluded", "cleo@customer.example")]
    assert other.calls == 0


@pytest.mark.parametrize("answer", [500, 503, 404, 301, 302, 308, "cut"])
def test_what_is_not_taken_comes_again_until_it_is(ready: World, answer):
    with receiving(ready, lambda number: answer if number <= 2 else 200) as receiver:
        bounce(ready, 1)
        assert courier(ready) == 1  # the second event waits: it is about the same contact
        assert courier(ready) == 0
        first = state(ready)
        assert first["problem"]
        for wait in RETRIES[:2]:
            ready.now += wait * 1.2
            courier(ready)
    assert [event.type for event in receiver.events] == ["bounce.attached", "contact.excluded"]
    assert len({head["webhook-id"] for head in receiver.heads}) == 2
    assert state(ready)["problem"] is None


def test_each_attempt_has_its_own_time_and_the_same_id(ready: World):
    with receiving(ready, lambda number: 500 if number == 1 else 204) as receiver:
        bounce(ready, 1)
        courier(ready)
        ready.now += timedelta(seconds=6)
        courier(ready)
    first = receiver.heads[0]
    assert first["webhook-id"] == receiver.events[0].id
    assert int(first["webhook-timestamp"]) == int(ready.now.timestamp())


def test_after_three_days_it_is_given_up_seen_and_sent_again_by_hand(ready: World):
    with receiving(ready, lambda _: 500, types=["bounce.attached"]) as receiver:
        bounce(ready, 1)
        started = ready.now
        while courier(ready):
            waits = [moment for moment in next_attempts(ready) if moment is not None]
            if waits:
                ready.now = max(waits)
        assert receiver.calls == len(RETRIES) + 1
        assert timedelta(days=3) <= ready.now - started <= timedelta(days=3.7)
        assert state(ready)["deliveries"] == {"dead": 1}
        (dead,) = hooks.dead(ready.context, "acme", receiver.id)
        assert (dead["type"], dead["attempts"], dead["problem"]) == (
            "bounce.attached", len(RETRIES) + 1, "Its receiver answered 500.",
        )  # fmt: skip
        receiver.behave = lambda _: 200
        assert hooks.replay(ready.context, "acme", receiver.id) == 1
        courier(ready)
    assert [event.id for event in receiver.events] == [dead["event_id"]]


def next_attempts(world: World):
    with reading(world.context.engine) as connection:
        return connection.execute(sa.select(schema.deliveries.c.next_attempt_at)).scalars().all()


def test_410_disables_it_until_somebody_replays(ready: World):
    with receiving(ready, lambda _: 410) as receiver:
        bounce(ready, 1)
        courier(ready)
        assert (state(ready)["state"], receiver.calls) == ("disabled", 1)
        assert "410" in state(ready)["problem"]
        bounce(ready, 2, "cleo@customer.example")
        courier(ready)
        assert receiver.calls == 1
        receiver.behave = lambda _: 200
        hooks.replay(ready.context, "acme", receiver.id)
        while courier(ready):
            pass
    assert {event.address for event in receiver.events} == {BOB}  # what happened while it was disabled is in the feed


def test_order_is_kept_for_a_contact_and_others_go_ahead(ready: World):
    """The first event about Bob fails; the others about him wait for it, those about Cleo don't."""
    failing = {"left": 1}

    def behave(_: int) -> int:
        if failing["left"]:
            failing["left"] -= 1
            return 500
        return 204

    with receiving(ready, behave) as receiver:
        bounce(ready, 1)
        courier(ready)
        bounce(ready, 2, "cleo@customer.example")
        decisions.unbounce(ready.context, "acme", BOB, "ann", "he called")
        ready.now += timedelta(seconds=1)
        while courier(ready):
            pass
        assert {event.address for event in receiver.events} == {"cleo@customer.example"}
        ready.now += timedelta(seconds=6)
        while courier(ready):
            pass
    about_bob = [event.type for event in receiver.events if event.address == BOB]
    assert about_bob == ["bounce.attached", "contact.excluded", "bounce.updated", "contact.unbounced"]


def test_a_receiver_that_hangs_delays_no_other(ready: World, monkeypatch: pytest.MonkeyPatch):
    """Five contacts' events hang at one receiver; all of the other's arrive before any of them is let go."""
    monkeypatch.setattr(notify_webhook, "CALL_LIMIT", 60.0)
    calls: list[int] = []
    with receiving(ready, lambda _: "hang") as slow, receiving(ready) as quick:

        def behave(number: int) -> int:
            if number == 60:
                calls.append(slow.calls)
                slow.let_go.set()  # only now: had the slow one been waited for, this would never come
            return 204

        quick.behave = behave
        for number in range(30):
            bounce(ready, number, f"p{number}@customer.example")
        while courier(ready):
            pass
    assert len(quick.events) == 60
    assert 1 <= calls[0] <= 5


def test_a_receiver_that_drips_is_broken_off(ready: World, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(notify_webhook, "CALL_LIMIT", 0.2)
    with receiving(ready, lambda _: "hang", types=["bounce.attached"]) as receiver:
        bounce(ready, 1)
        assert courier(ready) == 1
    assert receiver.events == []
    assert "too slow" in state(ready)["problem"]


def test_a_certificate_must_be_right(ready: World, tmp_path):
    good, other = tmp_path / "good", tmp_path / "other"
    for folder in (good, other):
        folder.mkdir()
        cert, key = certificate(folder)
        cert.rename(folder / "cert.pem")
        key.rename(folder / "key.pem")
    with receiving(ready, tls=good, types=["bounce.attached"]) as receiver:
        bounce(ready, 1)
        courier(ready)
        assert "certificate that can't be trusted" in state(ready)["problem"]
        object.__setattr__(ready.context, "webhook_ca", str(other / "cert.pem"))
        ready.now += timedelta(minutes=10)
        courier(ready)
        assert receiver.calls == 0
        object.__setattr__(ready.context, "webhook_ca", str(good / "cert.pem"))
        ready.now += timedelta(hours=1)
        courier(ready)
        assert [event.type for event in receiver.events] == ["bounce.attached"]


def test_secrets_change_without_a_gap(ready: World):
    with receiving(ready) as receiver:
        old = receiver.secrets
        new = hooks.rotate(ready.context, "acme", receiver.id).secret
        bounce(ready, 1)
        courier(ready)  # verified by the old secret
        receiver.secrets = [new]
        bounce(ready, 2, "cleo@customer.example")
        courier(ready)
        hooks.rotate(ready.context, "acme", receiver.id)
        receiver.secrets = old
        bounce(ready, 3, "dora@customer.example")
        courier(ready)
    assert len(receiver.events) == 4
    assert receiver.forged == 1


def test_a_tenants_webhook_stays_out_of_the_network_whatever_dns_says_now(ready: World, monkeypatch):
    answers = iter(["8.8.8.8", "127.0.0.1"])
    object.__setattr__(ready.context, "webhook_dial", lambda trusted: dial if trusted else Guard())
    hooks.add(ready.context, "acme", "https://crm.example/bounces")
    bounce(ready, 1)

    def resolve(host, port, **_):
        assert host == "crm.example"
        return [(2, 1, 6, "", (next(answers), port))]

    tried: list[str] = []

    def connect(address, timeout):
        tried.append(address[0])
        raise TimeoutError

    monkeypatch.setattr("socket.getaddrinfo", resolve)
    monkeypatch.setattr("socket.create_connection", connect)
    courier(ready)
    ready.now += timedelta(hours=1)
    courier(ready)
    assert tried == ["8.8.8.8"]
    assert "inside the operator's network" in state(ready)["problem"]


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://crm.example/", "must begin with https"),
        ("ftp://crm.example/", "must begin with https"),
        ("https://", "no address to call"),
        ("https://ann:secret@crm.example/", "no address to call"),
        ("https://crm.example:99999/", "no address to call"),
        ("https://crm.example/ x", "no address to call"),
        ("https://[::1/", "no address to call"),
    ],
)
def test_an_address_that_cannot_be_called_is_refused(ready: World, url: str, why: str):
    with pytest.raises(AdminProblem, match=why):
        hooks.add(ready.context, "acme", url)
    with pytest.raises(AdminProblem, match=r"no event bounce\.attatched"):
        hooks.add(ready.context, "acme", "https://crm.example/", ["bounce.attatched"])


def test_a_test_event_goes_out_at_once(ready: World):
    with receiving(ready) as receiver:
        assert hooks.test(ready.context, "acme", receiver.id) is None
        receiver.behave = lambda _: 500
        assert hooks.test(ready.context, "acme", receiver.id) == "Its receiver answered 500."
    assert [event.type for event in receiver.events] == ["test"]


def test_a_delivery_that_a_killed_worker_held_is_made_by_another(ready: World):
    with receiving(ready) as receiver:
        bounce(ready, 1)
        while pipeline.number_events(ready.context):
            pass
        with writing(ready.context.engine) as connection:  # taken, and then killed
            taken = webhooks.take_due(connection, receiver.id, ready.now, ready.now + timedelta(minutes=2), 5)
        assert len(taken) == 1
        assert courier(ready) == 0
        ready.now += timedelta(minutes=2)
        while courier(ready):
            pass
    assert len(receiver.events) == 2


def test_the_same_event_is_never_told_under_two_ids(ready: World):
    with receiving(ready) as receiver:
        bounce(ready, 1)
        for _ in range(3):
            ready.work()
            courier(ready)
        ready.deliver(dsn("send-1@crm.example", own_id="n-1@mx.example"), "alice")
        ready.work()
        courier(ready)
    assert len({event.id for event in receiver.events}) == len(receiver.events) == 2


def test_a_forgotten_contact_is_told_of_no_more(ready: World):
    from worker import people

    with receiving(ready, lambda _: 500) as receiver:
        bounce(ready, 1)
        courier(ready)
        people.forget(ready.context, "acme", BOB, keep_exclusion=False)
        receiver.behave = lambda _: 204
        ready.now += timedelta(days=1)
        assert courier(ready) == 0
    assert receiver.events == []
    assert state(ready)["deliveries"] == {}


def test_a_stolen_database_signs_nothing(ready: World):
    with receiving(ready) as receiver, reading(ready.context.engine) as connection:
        rows = repr(connection.execute(schema.webhooks.select()).all())
    assert receiver.secrets[0].removeprefix("whsec_") not in rows


def test_positions_leave_no_gap_that_a_later_commit_would_fill(world: World):
    """An event whose id was drawn first is committed last: whoever reads the feed still gets both."""
    if world.context.engine.dialect.name != "postgresql":
        pytest.skip("SQLite has one writer at a time")
    world.inbox()

    def event(name: str) -> list:
        return [(name, "acme", "test", {"schema": 1, "id": name, "type": "test", "account": "acme"})]

    def feed(after: int) -> list[tuple[int, str]]:
        with reading(world.context.engine) as connection:
            return [(position, payload["id"]) for position, payload in outbox.feed(connection, "acme", after, 10)]

    with world.context.engine.begin() as slow:
        outbox.add(slow, event("first id"), world.now)
        with writing(world.context.engine) as quick:
            outbox.add(quick, event("second id"), world.now)
        assert pipeline.number_events(world.context) == 1
        read = feed(0)
        assert [name for _, name in read] == ["second id"]
    pipeline.number_events(world.context)
    assert [name for _, name in feed(read[-1][0])] == ["first id"]


def test_disabled_ones_are_left_alone(ready: World):
    with receiving(ready) as receiver:
        with writing(ready.context.engine) as connection:
            webhooks.change(connection, receiver.id, state=WebhookState.DISABLED)
        bounce(ready, 1)
        assert courier(ready) == 0
    assert receiver.calls == 0
