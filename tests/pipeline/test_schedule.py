"""Who is polled when: limits, fairness, leases, clocks that jump and servers that hang, on both databases."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from threading import Event

import pytest
import sqlalchemy as sa

from connectors import Throttled, Unavailable
from tests.fakes.notices import dsn
from tests.fakes.sends import sent
from tests.fakes.world import World
from worker import admin, pipeline, schedule
from worker.schedule import Limits
from worker.store import inboxes
from worker.store.database import writing
from worker.store.schema import Moment
from worker.store.schema import inboxes as inbox_rows
from worker.store.schema import leases as lease_rows

HOUR = timedelta(hours=1)


def many(world: World, number: int, account: str, **values: object) -> list[str]:
    """Connect inboxes, and give them what the test is about."""
    ids = [world.inbox(f"{account}-{place}", account).id for place in range(number)]
    with writing(world.context.engine) as connection:
        for inbox_id in ids if values else ():
            inboxes.change(connection, inbox_id, **values)
    return ids


def limited(world: World, **limits: int) -> None:
    world.context = replace(world.context, limits=Limits(**limits))


def shown(world: World, name: str = "alice", account: str = "acme") -> inboxes.Inbox:
    return admin.the_inbox(world.context, name, account)


def poll_one(world: World, name: str = "alice") -> pipeline.Polled:
    inbox = shown(world, name)
    token = pipeline.claim(world.context, inbox.id)
    assert token is not None
    return pipeline.poll(world.context, inbox.id, token)


def claimed(world: World, limit: int = 100) -> set[str]:
    return {inbox_id for inbox_id, _ in pipeline.claim_due(world.context, limit)}


def test_a_tenant_with_many_due_inboxes_starves_no_other(world: World):
    limited(world, account=5)
    big = many(world, 30, "big", next_poll_at=world.now - HOUR)
    small = many(world, 3, "small", next_poll_at=world.now)
    first = claimed(world, 20)
    assert first >= set(small)
    assert len(first & set(big)) == 5
    assert claimed(world, 20) == set()  # the big one has what it may have


@pytest.mark.parametrize(
    ("limits", "values"),
    [({"provider": 4}, {}), ({"host": 4}, {"host": "imap.big.example", "provider": "imap"}), ({"total": 4}, {})],
    ids=["provider", "host", "total"],
)
def test_limits_hold_until_a_lease_is_given_back(world: World, limits, values):
    limited(world, **limits)
    many(world, 12, "acme", **values)
    first = pipeline.claim_due(world.context)
    assert len(first) == 4
    assert claimed(world) == set()
    for inbox_id, token in first[:2]:
        pipeline.poll(world.context, inbox_id, token)
    assert len(claimed(world)) == 2


def test_limits_hold_for_several_schedulers_at_once_and_no_inbox_is_taken_twice(world: World):
    limited(world, account=10, total=25)
    for account in ("a", "b", "c"):
        many(world, 20, account)
    with ThreadPoolExecutor(6) as pool:
        lots = list(pool.map(lambda _: pipeline.claim_due(world.context, 7), range(12)))
    taken = [inbox_id for lot in lots for inbox_id, _ in lot]
    assert len(taken) == len(set(taken)) == 25
    with writing(world.context.engine) as connection:
        by_account = sa.select(lease_rows.c.account, sa.func.count()).group_by(lease_rows.c.account)
        assert max(number for _, number in connection.execute(by_account)) <= 10


def test_where_all_workers_are_gone_what_is_in_flight_stays_bounded(world: World):
    limited(world, total=6)
    many(world, 20, "acme")
    for _ in range(10):  # each time the leases run out, others or the same are taken: never more at once
        assert len(claimed(world)) == 6
        assert claimed(world) == set()
        world.now += schedule.LEASE + timedelta(seconds=1)


def test_a_claim_goes_on_past_what_is_being_read_and_what_may_not_be(world: World):
    limited(world, account=2)
    many(world, 8, "big", next_poll_at=world.now - HOUR)
    many(world, 2, "small", next_poll_at=world.now - timedelta(minutes=1))
    lots = list(pipeline.claims(replace(world.context), 3))
    assert sum(map(len, lots)) == 3
    assert len(claimed(world, 50)) == 1


def test_the_lease_of_a_poll_that_stood_in_the_queue_is_renewed_when_it_begins(world: World):
    inbox = world.inbox()
    token = pipeline.claim(world.context, inbox.id)
    assert token is not None
    world.now += schedule.LEASE - timedelta(seconds=20)
    late: list[object] = []

    def look() -> Exception:
        late.append(shown(world).lease_until)
        return Unavailable("away")

    world.mailboxes["acme/alice"].broken = look
    pipeline.poll(world.context, inbox.id, token)
    assert late == [world.now + schedule.LEASE]


def test_a_poll_that_comes_again_from_the_broker_is_not_done_again(world: World):
    inbox = world.inbox()
    token = pipeline.claim(world.context, inbox.id)
    assert token is not None
    pipeline.poll(world.context, inbox.id, token)
    world.deliver(dsn())
    assert pipeline.poll(world.context, inbox.id, token).messages == 0


def test_a_stale_holder_neither_saves_nor_gives_back_what_is_anothers(world: World):
    inbox = world.inbox()
    world.deliver(dsn())
    old = pipeline.claim(world.context, inbox.id)
    assert old is not None
    world.now += schedule.LEASE + timedelta(seconds=1)
    new = pipeline.claim(world.context, inbox.id)
    assert new == old + 1
    world.mailboxes["acme/alice"].broken = lambda: Unavailable("away")
    assert pipeline.poll(world.context, inbox.id, old).error is None
    assert shown(world).lease_until == world.now + schedule.LEASE
    assert shown(world).failures == 0


@pytest.mark.parametrize("back", [timedelta(minutes=30), 5 * HOUR, timedelta(days=3)], ids=str)
def test_a_clock_that_is_put_back_stops_no_inbox(world: World, back: timedelta):
    quiet, held = world.inbox("quiet"), world.inbox("held")
    poll_one(world, "quiet")
    assert pipeline.claim(world.context, held.id) is not None  # by a worker that then died
    world.now -= back
    pipeline.sweep(world.context)
    assert claimed(world) == {quiet.id, held.id}


def test_a_clock_that_is_put_back_stops_no_notice(world: World):
    world.inbox()
    pipeline.register(world.context, [sent(1)])
    world.deliver(dsn())
    assert len(poll_one(world).notice_ids) == 1  # and no task ever takes it
    world.now -= 5 * HOUR
    assert [len(batches) for batches in pipeline.sweep(world.context).values()] == [1]


def test_the_patience_that_a_server_asks_for_is_not_taken_for_a_clock_put_back(world: World):
    world.inbox()
    world.mailboxes["acme/alice"].broken = lambda: Throttled("Patience.", 3 * HOUR)
    poll_one(world)
    world.now += HOUR
    pipeline.sweep(world.context)
    assert claimed(world) == set()


def test_a_clock_that_jumps_forward_and_back_loses_and_doubles_nothing(world: World):
    inbox = world.inbox()
    pipeline.register(world.context, [sent(1)])
    world.deliver(dsn())
    first = pipeline.claim(world.context, inbox.id)
    assert first is not None
    world.now += 6 * HOUR
    ((_, second),) = pipeline.claim_due(world.context)
    assert pipeline.poll(world.context, inbox.id, first).messages == 0
    assert pipeline.poll(world.context, inbox.id, second).messages == 1
    world.now -= 6 * HOUR
    assert world.work() == {"attached": 1}
    pipeline.sweep(world.context)
    assert len(world.timeline()) == 1


def hanging(world: World) -> Exception:
    """What a server does that accepts and never answers."""
    world.now += timedelta(seconds=60)
    return Unavailable("imap.dead.example does not answer.")


def test_a_host_that_hangs_holds_up_few_polls_and_is_taken_back_when_it_answers(world: World):
    dead = many(world, 12, "dead", host="imap.dead.example", provider="imap", settings=IMAP)
    for name in [key for key in world.mailboxes if key.startswith("dead/")]:
        world.mailboxes[name].broken = lambda: hanging(world)
    asked = 0
    for inbox_id, token in pipeline.claim_due(world.context):
        before = world.now
        pipeline.poll(world.context, inbox_id, token)
        asked += world.now > before
    assert asked == schedule.HANGS  # the others, queued already, are left for later without a second's wait
    assert claimed(world) == set()
    for name in world.mailboxes:
        world.mailboxes[name].broken = None
    world.now += schedule.LONGEST_HUNG
    ((probe, token),) = pipeline.claim_due(world.context)
    pipeline.poll(world.context, probe, token)
    world.now += timedelta(minutes=20)
    assert len(claimed(world)) > 6
    assert set(dead) >= {probe}


IMAP = '{"host": "imap.dead.example", "username": "x"}'


def test_one_inbox_that_hangs_on_a_host_that_works_stops_no_other(world: World):
    many(world, 2, "acme", host="imap.dead.example", provider="imap", settings=IMAP)
    world.mailboxes["acme/acme-0"].broken = lambda: hanging(world)
    for _ in range(3 * schedule.HANGS):
        for name in ("acme-0", "acme-1"):
            poll_one(world, name)
    assert shown(world, "acme-1").failures == 0
    assert shown(world, "acme-0").failures == 3 * schedule.HANGS


def test_an_inbox_that_hangs_delays_no_other(world: World):
    """In real time: one worker waits in a call that doesn't return, and another reads all the rest meanwhile."""
    many(world, 5, "fine")
    stuck = world.inbox("stuck", "dead")
    entered, leave = Event(), Event()

    def wait() -> Exception:
        entered.set()
        assert leave.wait(30)
        return Unavailable("dead")

    world.mailboxes["dead/stuck"].broken = wait
    tokens = dict(pipeline.claim_due(world.context))
    with ThreadPoolExecutor(2) as pool:
        hung = pool.submit(pipeline.poll, world.context, stuck.id, tokens.pop(stuck.id))
        assert entered.wait(30)
        for inbox_id, token in tokens.items():
            pool.submit(pipeline.poll, world.context, inbox_id, token).result(30)
        assert not hung.done()
        read = [inbox for inbox, _ in admin.all_inboxes(world.context, "fine") if inbox.caught_up_at]
        assert len(read) == 5
        leave.set()
        assert hung.result(30).error == "dead"


def test_inboxes_added_at_once_spread_out_after_their_first_poll(world: World):
    many(world, 30, "acme")
    for inbox_id, token in pipeline.claim_due(world.context):
        pipeline.poll(world.context, inbox_id, token)
    times = {inbox.next_poll_at for inbox, _ in admin.all_inboxes(world.context)}
    assert len(times) == 30
    assert max(times) - min(times) > world.context.poll_every * 0.6


def test_an_idle_inbox_is_polled_seldom_until_something_is_sent_through_it(world: World):
    inbox = world.inbox()
    world.now += timedelta(days=30)
    poll_one(world)
    poll_one(world)
    assert shown(world).next_poll_at > world.now + world.context.poll_longest * 0.8
    pipeline.register(world.context, [replace(sent(1), sent_at=world.now)])
    assert shown(world).next_poll_at == world.now + world.context.poll_every
    assert shown(world).active_at == world.now
    world.now += timedelta(minutes=3)
    assert claimed(world) == {inbox.id}
    poll_one_again = shown(world)
    assert pipeline.poll(world.context, inbox.id, poll_one_again.lease_token).error is None
    assert shown(world).next_poll_at <= world.now + world.context.poll_every * 1.15


def test_sends_write_to_an_inbox_only_now_and_then(world: World):
    world.inbox()
    world.now += timedelta(days=30)
    poll_one(world)
    pipeline.register(world.context, [replace(sent(1), sent_at=world.now)])
    before = shown(world)
    written = []
    engine = world.context.engine
    sa.event.listen(
        engine, "after_cursor_execute", lambda *a: written.append(a[1].rowcount) if UPDATES in a[2] else None
    )
    for number in range(2, 6):
        world.now += timedelta(seconds=20)
        pipeline.register(world.context, [replace(sent(number), sent_at=world.now)] * 3)
    assert written == [0, 0, 0, 0]
    assert shown(world) == before


UPDATES = "UPDATE inboxes"


def test_a_send_brings_no_inbox_forward_that_is_put_off(world: World):
    world.inbox()
    world.mailboxes["acme/alice"].broken = lambda: Throttled("Patience.", 3 * HOUR)
    poll_one(world)
    put_off = shown(world).next_poll_at
    pipeline.register(world.context, [replace(sent(1), sent_at=world.now)])
    assert shown(world).next_poll_at == put_off


def test_paused_inboxes_cost_a_claim_nothing_and_are_never_taken(world: World):
    many(world, 5, "acme", state=inboxes.InboxState.PAUSED, next_poll_at=world.now - HOUR)
    assert claimed(world) == set()
    with writing(world.context.engine) as connection:
        connection.execute(sa.update(inbox_rows).values(state=inboxes.InboxState.ACTIVE))
    assert len(claimed(world)) == 5


def test_a_worker_of_the_version_before_works_beside_us(world: World):
    """It knows neither `leases` nor the new columns: these are its own statements (revision 0011)."""
    first, second = world.inbox("first"), world.inbox("second")
    times = {"now": world.now, "until": world.now + schedule.LEASE, "id": first.id}
    types = [sa.bindparam(name, type_=Moment) for name in ("now", "until")]
    take = (
        "UPDATE inboxes SET lease_until = :until, lease_token = lease_token + 1 WHERE id = :id AND next_poll_at <= :now"
    )
    with writing(world.context.engine) as connection:
        assert connection.execute(sa.text(take).bindparams(*types), times).rowcount == 1
    assert claimed(world) == {second.id}  # what it holds, we leave to it
    assert pipeline.claim(world.context, first.id) is None
    later = {"id": second.id, "until": world.now + HOUR, "token": shown(world, "second").lease_token}
    save = "UPDATE inboxes SET lease_until = NULL, next_poll_at = :until WHERE id = :id AND lease_token = :token"
    with writing(world.context.engine) as connection:  # and ours, it may finish
        assert connection.execute(sa.text(save).bindparams(types[1]), later).rowcount == 1
    assert claimed(world) == set()
    world.now += HOUR  # what it didn't give back in `leases` is forgotten when it's over
    pipeline.sweep(world.context)
    with writing(world.context.engine) as connection:
        assert connection.execute(sa.select(lease_rows)).all() == []
    assert claimed(world) == {first.id, second.id}
