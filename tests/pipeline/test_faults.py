"""What breaks, and that nothing is lost by it."""

import importlib
from dataclasses import replace
from datetime import timedelta

import pytest

from connectors import AuthRequired, Throttled, Unavailable
from tests.fakes.notices import dsn
from tests.fakes.sends import sent
from tests.fakes.world import World
from worker import admin, pipeline, schedule
from worker.domain import Action, DeliveryReport, Kind, RecipientReport
from worker.store import notices
from worker.store.database import reading
from worker.store.inboxes import InboxState
from worker.store.notices import NoticeState

process_room = importlib.import_module("worker.pipeline.process")  # the package's `process` is its function


def test_the_page_and_its_cursor_are_kept_together(world: World):
    inbox = world.inbox()
    for number in range(7):
        world.deliver(dsn(f"send-{number}@crm.example", own_id=f"n-{number}@mx.example"))
    token = pipeline.claim(world.context, inbox.id)
    assert token is not None
    assert len(pipeline.poll(world.context, inbox.id, token).notice_ids) == 7


def test_a_worker_that_lost_its_lease_keeps_nothing(world: World):
    inbox = world.inbox()
    world.deliver(dsn())
    old = pipeline.claim(world.context, inbox.id)
    assert old is not None
    assert pipeline.claim(world.context, inbox.id) is None
    world.now += timedelta(minutes=10)
    new = pipeline.claim(world.context, inbox.id)
    assert new is not None
    assert pipeline.poll(world.context, inbox.id, old).notice_ids == ()
    assert len(pipeline.poll(world.context, inbox.id, new).notice_ids) == 1


def test_notices_that_no_task_took_are_found_by_the_sweep(world: World):
    inbox = world.inbox()
    pipeline.register(world.context, [sent(1)])
    world.deliver(dsn())
    token = pipeline.claim(world.context, inbox.id)
    assert token is not None
    pipeline.poll(world.context, inbox.id, token)  # the broker loses what was enqueued
    assert pipeline.sweep(world.context) == {}  # its turn is not over
    world.now += timedelta(minutes=6)
    assert world.work() == {"attached": 1}


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (AuthRequired("The password was refused: give a new one."), InboxState.NEEDS_ATTENTION),
        (Unavailable("mail.acme.example does not answer."), InboxState.ACTIVE),
        (Throttled("The server asks for patience.", timedelta(hours=2)), InboxState.ACTIVE),
        (RuntimeError("a fault of ours"), InboxState.ACTIVE),
    ],
)
def test_an_inbox_that_fails_says_so_backs_off_and_holds_up_no_other(world: World, error: Exception, state: InboxState):
    broken = world.inbox("broken")
    world.inbox("fine")
    pipeline.register(world.context, [sent(1)])
    world.deliver(dsn(), "fine")

    def fail() -> Exception:
        return error

    world.mailboxes["acme/broken"].broken = fail
    assert world.work() == {"attached": 1}
    shown = admin.the_inbox(world.context, broken.name, "acme")
    assert shown.state is state
    assert shown.attention
    assert shown.failures == 1
    assert shown.next_poll_at > world.now
    if isinstance(error, Throttled):
        assert shown.next_poll_at >= world.now + error.retry_after
    world.mailboxes["acme/broken"].broken = None
    admin.resume(world.context, shown)
    world.work()
    assert admin.the_inbox(world.context, broken.name, "acme").attention is None


def test_an_outage_between_poll_and_fetch_loses_no_notice(world: World):
    inbox = world.inbox()
    pipeline.register(world.context, [sent(1)])
    world.deliver(dsn())
    token = pipeline.claim(world.context, inbox.id)
    assert token is not None
    polled = pipeline.poll(world.context, inbox.id, token)
    mailbox = world.mailboxes["acme/alice"]
    mailbox.broken = lambda: Unavailable("away")
    for _ in range(20):  # far more often than a notice may fail by itself
        pipeline.process(world.context, inbox.id, polled.notice_ids, "task")
    mailbox.broken = None
    world.now += timedelta(minutes=10)
    assert world.work() == {"attached": 1}


def test_a_server_that_asks_for_patience_is_left_in_peace_by_polls_and_fetches_alike(world: World):
    inbox = world.inbox()
    pipeline.register(world.context, [sent(1)])
    world.deliver(dsn())
    token = pipeline.claim(world.context, inbox.id)
    assert token is not None
    polled = pipeline.poll(world.context, inbox.id, token)
    mailbox = world.mailboxes["acme/alice"]
    calls = 0

    def throttled() -> Exception:
        nonlocal calls
        calls += 1
        return Throttled("Patience.", timedelta(minutes=40))

    mailbox.broken = throttled
    pipeline.process(world.context, inbox.id, polled.notice_ids, "task")
    assert calls == 1
    for _ in range(8):  # until just before the time is over
        world.now += timedelta(minutes=5) - timedelta(seconds=1)
        assert pipeline.claim_due(world.context) == []
        assert pipeline.sweep(world.context) == {}
    mailbox.broken = None
    world.now += timedelta(minutes=10)
    assert world.work() == {"attached": 1}


def test_a_slow_server_takes_no_longer_than_a_task_has_and_loses_nothing(world: World, monkeypatch):
    """Each call takes 50 s of the clock; a task is killed after 200."""
    inbox = world.inbox()
    pipeline.register(world.context, [sent(number) for number in range(12)])
    for number in range(12):  # four pages
        world.deliver(dsn(f"send-{number}@crm.example", own_id=f"n-{number}@mx.example"))
    mailbox = world.mailboxes["acme/alice"]

    def slow() -> None:
        world.now += timedelta(seconds=50)

    monkeypatch.setattr(mailbox, "_check", slow)
    attached = 0
    for _ in range(20):
        begun = world.now
        if (token := pipeline.claim(world.context, inbox.id)) is not None:
            pipeline.poll(world.context, inbox.id, token)
            assert world.now - begun <= timedelta(seconds=150)
        world.now += timedelta(minutes=10)
        for inbox_id, batches in pipeline.sweep(world.context).items():
            for batch in batches:
                begun = world.now
                attached += pipeline.process(world.context, inbox_id, batch, "task").get(NoticeState.ATTACHED, 0)
                assert world.now - begun <= timedelta(seconds=150)
    assert attached == 12


def test_refused_credentials_stop_all_reading_until_a_person_reconnects(world: World):
    inbox = world.inbox()
    token = pipeline.claim(world.context, inbox.id)
    assert token is not None
    mailbox = world.mailboxes["acme/alice"]
    mailbox.broken = lambda: AuthRequired("The password was refused: give a new one.")
    pipeline.poll(world.context, inbox.id, token)
    mailbox.broken = None
    for _ in range(50):
        world.now += timedelta(days=1)
        assert pipeline.claim_due(world.context) == []
    admin.resume(world.context, admin.the_inbox(world.context, inbox.name, "acme"))
    assert [each for each, _ in pipeline.claim_due(world.context)] == [inbox.id]


def test_an_inbox_is_not_polled_a_second_before_its_server_allows(world: World):
    inbox = world.inbox()
    token = pipeline.claim(world.context, inbox.id)
    assert token is not None
    world.mailboxes["acme/alice"].broken = lambda: Throttled("Patience.", timedelta(minutes=40))
    pipeline.poll(world.context, inbox.id, token)
    world.now += timedelta(minutes=40) - timedelta(seconds=1)
    assert pipeline.claim_due(world.context) == []
    world.now += timedelta(seconds=1) + schedule.SPREAD
    assert [each for each, _ in pipeline.claim_due(world.context)] == [inbox.id]


def test_a_notice_that_vanished_is_done(world: World):
    inbox = world.inbox()
    world.deliver(dsn())
    token = pipeline.claim(world.context, inbox.id)
    assert token is not None
    polled = pipeline.poll(world.context, inbox.id, token)
    world.mailboxes["acme/alice"].gone.add(0)
    assert pipeline.process(world.context, inbox.id, polled.notice_ids, "task") == {"gone": 1}


def test_a_notice_that_breaks_the_reader_is_quarantined_and_the_others_go_on(world: World, monkeypatch):
    world.inbox()
    pipeline.register(world.context, [sent(1)])
    world.deliver(dsn(own_id="poison@mx.example"))
    world.deliver(dsn())
    real = process_room.detect

    def detect(raw: bytes) -> DeliveryReport:
        if b"poison" in raw:
            raise RecursionError
        return real(raw)

    monkeypatch.setattr(process_room, "detect", detect)
    assert world.work() == {"quarantined": 1, "attached": 1}


def test_a_notice_that_breaks_the_books_is_quarantined_after_some_tries(world: World, monkeypatch):
    world.inbox()
    pipeline.register(world.context, [sent(1), sent(2)])
    world.deliver(dsn("send-2@crm.example", own_id="poison@mx.example"))
    world.deliver(dsn())
    from worker.store import ledger

    real = ledger.judge

    def judge(notice, found, rules, around):
        if "send-2@crm.example" in notice.report.original.message_ids:
            raise ZeroDivisionError
        return real(notice, found, rules, around)

    monkeypatch.setattr(ledger, "judge", judge)
    assert world.work() == {"attached": 1}
    for _ in range(10):
        world.now += timedelta(minutes=10)
        if counts := world.work():
            break
    assert counts == {"quarantined": 1}


def test_text_that_databases_refuse_is_kept_without_it(world: World, monkeypatch):
    world.inbox()
    pipeline.register(world.context, [sent(1)])
    world.deliver(dsn())
    bad = "550 5.1.1 \x00 no \udcff such user"

    def detect(_raw: bytes) -> DeliveryReport:
        recipient = RecipientReport(
            final_recipient="bob@customer.example", action=Action.FAILED, smtp_code="550", diagnostic_code=bad
        )
        report = pipeline_detect(dsn())
        return replace(report, kind=Kind.BOUNCE, recipients=(recipient,), reporting_mta="mx\x00")

    pipeline_detect = process_room.detect
    monkeypatch.setattr(process_room, "detect", detect)
    assert world.work() == {"attached": 1}
    assert world.timeline()[0]["diagnostic"] == "550 5.1.1  no ? such user"


def test_events_wait_in_the_outbox_until_the_crm_takes_them_in_order(world: World):
    world.inbox()
    pipeline.register(world.context, [sent(1)])
    world.deliver(dsn())
    taken: list[str] = []

    def refuse(event_id: str, payload: object) -> None:
        raise ConnectionError("CRM away")

    world.context = replace(world.context, deliver=refuse)
    world.work()
    assert pipeline.notify(world.context) == 0
    world.context = replace(world.context, deliver=lambda _, payload: taken.append(payload["type"]))
    world.now += timedelta(hours=13)
    assert pipeline.notify(world.context) == 2
    assert taken == ["bounce.attached", "contact.excluded"]
    assert pipeline.notify(world.context) == 0


def test_two_workers_with_the_same_notice_attach_it_once(world: World):
    inbox = world.inbox()
    pipeline.register(world.context, [sent(1)])
    world.deliver(dsn())
    token = pipeline.claim(world.context, inbox.id)
    assert token is not None
    polled = pipeline.poll(world.context, inbox.id, token)
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(4) as pool:
        jobs = [
            pool.submit(pipeline.process, world.context, inbox.id, polled.notice_ids, f"task {n}") for n in range(8)
        ]
        total = sum(sum(job.result().values()) for job in jobs)
    assert total == 1
    assert len(world.timeline()) == 1


def test_two_workers_with_two_copies_of_a_notice_attach_it_once(world: World):
    one, two = world.inbox("alice"), world.inbox("team")
    pipeline.register(world.context, [sent(1)])
    for name in ("alice", "team"):
        world.deliver(dsn(), name)
    from concurrent.futures import ThreadPoolExecutor

    found = []
    for inbox in (one, two):
        token = pipeline.claim(world.context, inbox.id)
        assert token is not None
        found.append((inbox.id, pipeline.poll(world.context, inbox.id, token).notice_ids))
    with ThreadPoolExecutor(2) as pool:
        jobs = [pool.submit(pipeline.process, world.context, inbox, ids, "task") for inbox, ids in found]
        ends = sorted(state for job in jobs for state in job.result())
    assert ends == ["attached", "duplicate"]
    assert len(world.timeline()) == 1
    with reading(world.context.engine) as connection:
        assert not notices.any_pending(connection)


def test_removing_an_inbox_keeps_what_stands_on_timelines_unless_purged(world: World):
    inbox = world.inbox()
    pipeline.register(world.context, [sent(1)])
    world.deliver(dsn())
    world.work()
    admin.remove(world.context, inbox)
    assert len(world.timeline()) == 1
    again = world.inbox()
    admin.remove(world.context, again, purge=True)
    assert world.timeline() == []
