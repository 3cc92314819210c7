"""The path, over a fake mailbox, on both databases."""

import importlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from random import Random

import pytest

from connectors import AuthRequired, CursorExpired, MaildirSettings, Throttled, Unavailable
from tests.fakes.mailbox import FakeMailbox
from tests.fakes.notices import NOW, dsn, ordinary
from tests.fakes.sends import sent
from worker import admin, pipeline
from worker.classify import default_rule_paths, load_rules
from worker.domain import Action, DeliveryReport, Kind, RecipientReport
from worker.pipeline import Context
from worker.store import notices, outbox
from worker.store.database import migrate, open_engine, reading, writing
from worker.store.inboxes import Inbox, InboxState
from worker.store.keyring import KeyRing, load_digester, new_key

process_room = importlib.import_module("worker.pipeline.process")  # the package's `process` is its function
RULES = load_rules(default_rule_paths())
RING = KeyRing.parse([new_key()])


@dataclass
class World:
    """A deployment of one account with a clock that the test owns."""

    context: Context
    mailboxes: dict[str, FakeMailbox]
    delivered: list[dict]
    now: datetime = NOW
    task: int = 0

    def inbox(self, name: str = "alice", account: str = "acme") -> Inbox:
        self.mailboxes[f"{account}/{name}"] = FakeMailbox()
        settings = MaildirSettings(path="/nowhere")
        since = NOW - timedelta(days=1)
        request = admin.InboxRequest(
            account=account, name=name, address=f"{name}@{account}.example", settings=settings, since=since
        )
        return admin.add_inbox(self.context, request)

    def deliver(self, raw: bytes, name: str = "alice", account: str = "acme") -> None:
        self.mailboxes[f"{account}/{name}"].deliver(raw, NOW)

    def work(self) -> dict[str, int]:
        """Poll every active inbox and work off all that is due, as the tasks would."""
        counts: dict[str, int] = {}
        for inbox, _ in admin.all_inboxes(self.context):
            more = inbox.state is InboxState.ACTIVE
            while more:
                token = pipeline.claim(self.context, inbox.id)
                assert token is not None
                polled = pipeline.poll(self.context, inbox.id, token)
                more = polled.has_more
                for batch in pipeline.batches(polled.notice_ids):
                    self._process(inbox.id, batch, counts)
        for inbox_id, batches in pipeline.sweep(self.context).items():
            for batch in batches:
                self._process(inbox_id, batch, counts)
        while pipeline.notify(self.context):
            pass
        return counts

    def _process(self, inbox_id: str, batch: list[int], counts: dict[str, int]) -> None:
        self.task += 1
        for state, number in pipeline.process(self.context, inbox_id, batch, f"task {self.task}").items():
            counts[state] = counts.get(state, 0) + number

    def timeline(self, account: str = "acme") -> list[dict]:
        return admin.timeline(self.context, account)

    def events(self) -> list[tuple[str, str]]:
        with reading(self.context.engine) as connection:
            return [(row.type, row.event_id) for row in outbox.all_rows(connection)]


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.live)])
def world(request: pytest.FixtureRequest, tmp_path) -> Iterator[World]:
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'test.sqlite3'}"
    else:
        url = request.getfixturevalue("postgres_url")
    engine = open_engine(url)
    migrate(engine)
    with writing(engine) as connection:
        digest = load_digester(connection, RING)
    mailboxes: dict[str, FakeMailbox] = {}
    delivered: list[dict] = []
    clock: list[World] = []
    context = Context(
        engine=engine,
        ring=RING,
        digest=digest,
        rules=RULES,
        connect=lambda inbox: mailboxes[f"{inbox.account}/{inbox.name}"],
        deliver=lambda _, payload: delivered.append(payload),
        now=lambda: clock[0].now,
        chance=Random(1),
    )
    clock.append(World(context=context, mailboxes=mailboxes, delivered=delivered))
    yield clock[0]
    engine.dispose()


def test_a_bounce_lands_on_the_timeline_with_its_evidence(world: World):
    world.inbox()
    pipeline.register(world.context, [sent(1)])
    world.deliver(ordinary())
    world.deliver(dsn())
    assert world.work() == {"attached": 1}
    (entry,) = world.timeline()
    assert (entry["contact_id"], entry["address"]) == ("c-bob", "bob@customer.example")
    assert (entry["type"], entry["reason"], entry["fault"]) == ("hard", "unknown_user", "address")
    assert (entry["matched_by"], entry["status"], entry["smtp_code"]) == ("original_message_id", "5.1.1", "550")
    assert [line["kind"] for line in entry["evidence"]] == ["match", "match", "server", "rule", "notice", "task"]
    assert entry["evidence"][-1]["text"] == "task 1"
    assert [kind for kind, _ in world.events()] == ["bounce.attached", "contact.excluded"]
    assert [event["bounce"]["id"] for event in world.delivered] == [entry["id"]] * 2


def test_ordinary_mail_is_not_downloaded(world: World):
    world.inbox()
    for number in range(10):
        world.deliver(ordinary(number))
    assert world.work() == {}
    assert world.mailboxes["acme/alice"].fetched == []


def test_a_second_run_changes_nothing(world: World):
    world.inbox()
    pipeline.register(world.context, [sent(1)])
    world.deliver(dsn())
    world.work()
    before = world.timeline(), world.events()
    world.now += timedelta(hours=1)
    assert world.work() == {}
    assert (world.timeline(), world.events()) == before


@pytest.mark.parametrize("loss", ["wiped cursor", "changed UIDVALIDITY"])
def test_reading_an_inbox_again_doubles_nothing(world: World, loss: str):
    inbox = world.inbox()
    pipeline.register(world.context, [sent(1)])
    world.deliver(dsn())
    world.work()
    before = world.timeline(), world.events()
    mailbox = world.mailboxes["acme/alice"]
    mailbox.epoch += 1
    if loss == "wiped cursor":
        with writing(world.context.engine) as connection:
            from worker.store import inboxes

            inboxes.change(connection, inbox.id, cursor=None)
    else:
        mailbox.expired = lambda: CursorExpired("The mailbox was rebuilt.")
    world.deliver(dsn("send-2@crm.example", own_id="notice-2@mx.example"))
    pipeline.register(world.context, [sent(2)])
    assert world.work() == {"duplicate": 1, "attached": 1}
    assert world.timeline()[:1] == before[0]
    assert len(world.timeline()) == 2


def test_the_same_notice_in_two_inboxes_counts_once(world: World):
    world.inbox("alice")
    world.inbox("team")
    pipeline.register(world.context, [sent(1)])
    world.deliver(dsn(), "alice")
    world.deliver(dsn(received="from a by b; Sun, 22 Nov 2026 11:30:00 +0000"), "team")
    assert world.work() == {"attached": 1, "duplicate": 1}
    assert len(world.timeline()) == 1


def test_two_reports_about_one_send_are_one_bounce_with_a_history(world: World):
    world.inbox()
    pipeline.register(world.context, [sent(1)])
    delay = [("bob@customer.example", "delayed", "4.4.1", "smtp; connection timed out")]
    world.deliver(dsn(recipients=delay, own_id="delay@mx.example", date="Sun, 22 Nov 2026 10:30:00 +0000"))
    world.work()
    (entry,) = world.timeline()
    assert entry["type"] == "pending"
    world.deliver(dsn(recipients=[("bob@customer.example", "failed", "4.4.7", "smtp; 421 timed out")]))
    world.work()
    (entry,) = world.timeline()
    assert (entry["type"], len(entry["report_ids"])) == ("soft", 2)


def test_mail_that_was_never_sent_through_the_crm_touches_nobody(world: World):
    world.inbox()
    world.deliver(dsn("private@laptop.example"))
    assert world.work() == {"unmatched": 1}
    assert world.timeline() == []
    assert world.events() == []


def test_of_an_unmatched_notice_only_keyed_hashes_stay(world: World):
    world.inbox()
    world.deliver(dsn("private@laptop.example", [("doctor@clinic.example", "failed", "5.1.1", "smtp; 550 no")]))
    world.work()
    with reading(world.context.engine) as connection:
        for table in ("notices", "notice_keys", "reports", "review", "outbox", "bounces"):
            kept = connection.exec_driver_sql(f"SELECT * FROM {table}").all()
            assert "clinic" not in str(kept)
            assert "laptop" not in str(kept)
        assert connection.exec_driver_sql("SELECT count(*) FROM notice_keys").scalar() == 2
    world.now += timedelta(days=15)
    pipeline.sweep(world.context)
    with reading(world.context.engine) as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM notice_keys").scalar() == 0


def test_a_send_that_is_registered_after_its_notice_finds_it(world: World):
    world.inbox()
    world.deliver(dsn())
    assert world.work() == {"unmatched": 1}
    assert pipeline.register(world.context, [sent(1)]) == 1
    assert world.work() == {"attached": 1}
    assert len(world.timeline()) == 1


def test_a_message_id_that_the_crm_learns_later_finds_its_notice(world: World):
    world.inbox()
    pipeline.register(world.context, [sent(1, message_id=None)])
    world.deliver(dsn())
    assert world.work() == {"unmatched": 1}
    pipeline.register(world.context, [sent(1)])
    assert world.work() == {"attached": 1}


def test_a_send_and_its_notice_that_cross_are_found_by_the_sweep(world: World):
    world.inbox()
    world.deliver(dsn())
    world.work()
    # As if the send's transaction had not seen the notice's: registered without re-queueing.
    from worker.store import sends

    with writing(world.context.engine) as connection:
        sends.register(connection, [sent(1)], world.context.digest, world.now)
    assert world.work() == {"attached": 1}


def test_accounts_are_strictly_apart(world: World):
    world.inbox("alice", "acme")
    world.inbox("alice", "globex")
    pipeline.register(world.context, [sent(1)])
    world.deliver(dsn(), "alice", "globex")
    assert world.work() == {"unmatched": 1}
    assert world.timeline("acme") == world.timeline("globex") == []


def test_each_recipient_has_its_own_verdict_and_the_others_are_untouched(world: World):
    world.inbox()
    people = ("bob@customer.example", "carol@customer.example", "dave@customer.example")
    pipeline.register(world.context, [sent(1, *people)])
    refused = [
        (people[0], "failed", "5.1.1", "smtp; 550 5.1.1 User unknown"),
        (people[1], "delayed", "4.2.2", "smtp; 452 4.2.2 Mailbox full"),
    ]
    world.deliver(dsn(recipients=refused))
    world.work()
    assert {(entry["address"], entry["type"]) for entry in world.timeline()} == {
        (people[0], "hard"),
        (people[1], "pending"),
    }


def test_a_recipient_that_was_not_written_to_waits_for_a_person(world: World):
    world.inbox()
    pipeline.register(world.context, [sent(1)])
    world.deliver(dsn(recipients=[("ceo@customer.example", "failed", "5.1.1", "smtp; 550 no such user")]))
    assert world.work() == {"review": 1}
    assert world.timeline() == []
    (waiting,) = admin.waiting(world.context, "acme")
    assert (waiting["address"], waiting["contact_id"], waiting["send_id"]) == ("ceo@customer.example", None, "s-1")
    assert world.events() == []


def separate_notice(subject: str) -> bytes:
    """A notice that gives back no id, as gateways write them."""
    return (
        "Return-Path: <>\r\nFrom: Postmaster <postmaster@customer.example>\r\nTo: alice@acme.example\r\n"
        "Subject: Undeliverable mail\r\nDate: Sun, 22 Nov 2026 10:03:00 +0000\r\nMessage-ID: <sep@customer.example>\r\n"
        "Auto-Submitted: auto-replied\r\n\r\nYour message could not be delivered.\r\n\r\n"
        f"Subject: {subject}\r\n\r\n<bob@customer.example>: 550 5.1.1 User unknown\r\n"
    ).encode()


def test_a_separate_notice_is_matched_by_what_it_says(world: World):
    world.inbox()
    pipeline.register(world.context, [sent(1, subject="Quarterly offer for Bob"), sent(2, subject="Something else")])
    world.now = NOW - timedelta(hours=1, minutes=50)
    world.mailboxes["acme/alice"].deliver(separate_notice("Quarterly offer for Bob"), world.now)
    assert world.work() == {"attached": 1}
    (entry,) = world.timeline()
    assert (entry["send_id"], entry["matched_by"]) == ("s-1", "separate_notice")
    assert entry["confidence"] < 0.9


def test_a_separate_notice_that_could_mean_two_emails_waits_with_its_candidates(world: World):
    world.inbox()
    pipeline.register(world.context, [sent(n, subject="Quarterly offer") for n in (1, 2)])
    world.deliver(separate_notice("Quarterly offer"))
    assert world.work() == {"review": 1}
    (waiting,) = admin.waiting(world.context, "acme")
    assert {candidate["send_id"] for candidate in waiting["candidates"]} == {"s-1", "s-2"}
    assert world.timeline() == []


def test_a_separate_notice_that_came_before_its_send_is_found_by_its_recipient(world: World):
    world.inbox()
    world.deliver(separate_notice("Quarterly offer for Bob"))
    assert world.work() == {"unmatched": 1}
    assert pipeline.register(world.context, [sent(1, subject="Quarterly offer for Bob")]) == 1
    assert world.work() == {"attached": 1}


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
