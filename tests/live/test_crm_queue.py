"""A CRM that runs Celery and no HTTP: its own queue brings sends, and events come back by a task of its own.

The CRM's side is a plain Celery application on a real Redis: it imports nothing of ours and knows two names.
"""

import json
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NoReturn

import psycopg
import pytest
from celery import Celery
from psycopg import sql
from redis import Redis

from tests.chaos.proxy import Proxy
from tests.fakes.notices import dsn
from tests.fakes.sends import row as send
from tests.live.deployment import Deployment
from tests.live.servers import RedisServer
from worker.admin import AdminProblem
from worker.config import ConfigProblem
from worker.crm_intake import Intake
from worker.store import outbox, sends
from worker.store.database import open_engine, reading

pytestmark = [pytest.mark.live, pytest.mark.timeout(120)]

REGISTER = "bounce_worker.register_sends"
SENDS = "bounce-sends"
TAKEN = "bounce-sends.taken"


@pytest.fixture
def broker(redis_url: str) -> str:
    """The CRM's own broker, empty."""
    url = f"{redis_url.rpartition('/')[0]}/5"
    with Redis.from_url(url) as redis:
        redis.flushdb()
    return url


@pytest.fixture
def crm(broker: str) -> Iterator[Celery]:
    """The CRM's application; it may write pickles, which ours never opens."""
    with Celery("crm", broker=broker, set_as_current=False) as app:
        yield app


@pytest.fixture
def deployment(tmp_path: Path, broker: str) -> Iterator[Deployment]:
    with Deployment(tmp_path, BOUNCE_WORKER_CRM_BROKER=broker, BOUNCE_WORKER_CRM_TASK="crm.events") as deployment:
        yield deployment


@pytest.fixture
def database(deployment: Deployment) -> str:
    """The deployment's SQLite, made ready."""
    deployment.command("inbox", "list")
    return f"sqlite:///{deployment.folder / 'data/bounce-worker.sqlite3'}"


def register(crm: Celery, *sends: object, task_id: str | None = None) -> None:
    crm.send_task(REGISTER, args=[list(sends)], queue=SENDS, task_id=task_id)


def registered(database: str) -> list[str]:
    """Return the ids of all sends, as the database has them."""
    engine = open_engine(database)
    try:
        with reading(engine) as connection:
            return sorted(each.id for each in sends.load_all(connection, "acme"))
    finally:
        engine.dispose()


def told(database: str) -> list[str]:
    """Return the types of all events there are."""
    engine = open_engine(database)
    try:
        with reading(engine) as connection:
            return [each.type for each in outbox.all_rows(connection)]
    finally:
        engine.dispose()


def events(deployment: Deployment, kind: str) -> list[dict[str, Any]]:
    """Return what the CRM's own worker has taken from its queue, of one type."""
    file = deployment.folder / "crm.jsonl"
    lines = file.read_text().splitlines() if file.exists() else []
    return [event for event in map(json.loads, lines) if event["type"] == kind]


def start_crm(deployment: Deployment, broker: str) -> None:
    file = str(deployment.folder / "crm.jsonl")
    deployment.start_celery("tests.fakes.crm", "crm", CRM_BROKER=broker, CRM_FILE=file)


def test_sends_are_taken_and_events_come_back_without_http(
    deployment: Deployment, crm: Celery, broker: str, database: str
):
    new = deployment.folder / "mail/new"
    new.mkdir(parents=True)
    deployment.command(
        *("inbox", "add", "alice", "--account", "acme", "--address", "alice@acme.example"),
        *("--provider", "maildir", "--path", str(new.parent), "--since", "2020-01-01"),
    )
    deployment.start("run", "--no-web")
    deployment.start("intake")
    start_crm(deployment, broker)
    register(crm, send(1), send(2))
    deployment.until(lambda: registered(database) == ["s-1", "s-2"], "both sends registered")
    (new.parent / "1.notice").write_bytes(dsn())
    (new.parent / "1.notice").rename(new / "1.notice")  # whole at once, as a mail server delivers
    deployment.until(lambda: bool(events(deployment, "contact.excluded")), "the bounce in the CRM")
    (attached,) = events(deployment, "bounce.attached")
    assert (attached["contact_id"], attached["bounce"]["send_id"]) == ("c-1", "s-1")


def test_what_is_refused_comes_back_as_an_event_and_the_rest_is_kept(
    deployment: Deployment, crm: Celery, broker: str, database: str
):
    deployment.start("run", "--no-web")
    deployment.start("intake")
    start_crm(deployment, broker)
    register(crm, send(1), send(2, kind="newsletter"), {"account": "acme", "id": "s-3"}, "no send", 7)
    deployment.until(lambda: bool(events(deployment, "sends.refused")), "the refusal in the CRM")
    (refused,) = events(deployment, "sends.refused")
    assert [(each["row"], each["id"]) for each in refused["refused"]] == [(1, "s-2"), (2, "s-3")]
    assert refused["refused"][0]["why"] == "It has the kind 'newsletter'; use one_to_one or sequence."
    assert refused["refused"][1]["why"] == "It lacks inbox, kind, sent_at, recipients."
    assert registered(database) == ["s-1"]


def test_the_same_message_twice_registers_once(deployment: Deployment, crm: Celery, broker: str, database: str):
    deployment.start("intake")
    for _ in range(2):
        register(crm, send(1), {"account": "acme", "id": "s-9"}, task_id="the-same")
    register(crm, send(2))
    deployment.until(lambda: "s-2" in registered(database), "the last message")
    assert registered(database) == ["s-1", "s-2"]
    assert told(database) == ["sends.refused"]


class Canary:
    """Unpickling it makes a file: whoever opens the pickle is found out."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.file),)


def test_a_pickle_is_refused_unopened_and_the_next_message_taken(
    deployment: Deployment, crm: Celery, database: str, tmp_path: Path
):
    canary = tmp_path / "canary"
    crm.send_task(REGISTER, args=[[Canary(canary)]], queue=SENDS, serializer="pickle")
    register(crm, send(1))
    deployment.start("intake")
    deployment.until(lambda: registered(database) == ["s-1"], "the message after the pickle")
    assert "It isn't JSON" in deployment.logs()
    assert not canary.exists()


def test_what_is_no_message_of_sends_stops_nothing(deployment: Deployment, crm: Celery, database: str):
    crm.send_task("crm.another_task", queue=SENDS)
    crm.send_task(REGISTER, queue=SENDS)
    crm.send_task(REGISTER, args=[[send(1)], "too", "many"], queue=SENDS)
    crm.send_task(REGISTER, args=[send(2)], queue=SENDS)  # no list: one send alone is taken as well
    register(crm, send(3))
    deployment.start("intake")
    deployment.until(lambda: registered(database) == ["s-2", "s-3"], "what could be read")


def test_our_own_queue_refuses_pickles_too(tmp_path: Path, broker: str):
    canary = tmp_path / "canary"
    with Celery("stranger", broker=broker, set_as_current=False) as stranger, Redis.from_url(broker) as redis:
        stranger.conf.broker_transport_options = {"global_keyprefix": "bounce:"}
        stranger.send_task("bounce.poll_inbox", args=[Canary(canary), 1], queue="bounce", serializer="pickle")
        stranger.send_task("bounce.sweep", queue="bounce", serializer="json")
        assert redis.llen("bounce:bounce") == 2
        with Deployment(tmp_path, REDIS_URL=broker) as deployment:
            deployment.start("worker", "--concurrency", "1")
            deployment.until(lambda: redis.llen("bounce:bounce") == 0, "both messages taken")
            deployment.until(lambda: not redis.hlen("bounce:unacked"), "both messages settled")
            assert "ContentDisallowed" in deployment.logs()
    assert not canary.exists()


def test_a_message_that_a_killed_intake_held_is_taken_again(
    deployment: Deployment, crm: Celery, broker: str, database: str
):
    first = deployment.start("intake")
    register(crm, send(1))
    deployment.until(lambda: registered(database) == ["s-1"], "the intake works")
    with closing(sqlite3.connect(database.removeprefix("sqlite:///"), isolation_level=None)) as held:
        held.execute("BEGIN IMMEDIATE")  # so that the intake stands in the middle of the next message
        with Redis.from_url(broker) as redis:
            register(crm, send(2))
            deployment.until(lambda: redis.llen(SENDS) == 0 and redis.llen(TAKEN) == 1, "the message is taken")
            deployment.kill(first)
            held.execute("ROLLBACK")
            assert registered(database) == ["s-1"]
    deployment.start("intake")
    deployment.until(lambda: registered(database) == ["s-1", "s-2"], "the message is taken again")


def test_a_message_whose_line_is_cut_on_its_way_to_us_is_taken_again(tmp_path: Path, broker: str, crm: Celery):
    server, _, number = broker.removeprefix("redis://127.0.0.1:").partition("/")
    with (
        Proxy("crm", int(server)) as line,
        Deployment(tmp_path, BOUNCE_WORKER_CRM_BROKER=f"redis://127.0.0.1:{line.port}/{number}") as deployment,
    ):
        deployment.command("inbox", "list")
        database = f"sqlite:///{tmp_path / 'data/bounce-worker.sqlite3'}"
        deployment.start("intake")
        register(crm, send(1))
        deployment.until(lambda: registered(database) == ["s-1"], "the intake works")
        line.cut(after=400)  # what the broker says to an empty queue is a few bytes; a message is more
        register(crm, *(send(number) for number in range(2, 30)))
        deployment.until(lambda: "broker.unreachable" in deployment.logs(), "the line is dead")
        deployment.until(lambda: len(registered(database)) == 29, "the message is taken again")


def test_whatever_the_crm_has_celery_do_to_a_message_it_is_read(deployment: Deployment, crm: Celery, database: str):
    crm.send_task(REGISTER, args=[[send(1)]], queue=SENDS, compression="gzip")
    crm.send_task(REGISTER, args=[[send(2)]], queue=SENDS, priority=9)
    crm.send_task(REGISTER, args=[[send(3)]], queue=SENDS, priority=3, countdown=60, expires=90)
    deployment.start("intake")
    deployment.until(lambda: registered(database) == ["s-1", "s-2", "s-3"], "all are registered")


def test_a_message_that_we_fail_on_is_kept_apart_and_the_next_one_taken(broker: str, crm: Celery):
    failures, stop = [RuntimeError("a fault of ours"), AdminProblem("another")], threading.Event()

    def context() -> NoReturn:
        if not failures:
            stop.set()
            raise ConfigProblem("The database is away.")
        raise failures.pop()

    for number in (1, 2, 3):
        register(crm, send(number))
    Intake(broker, SENDS, context).run(stop)
    with Redis.from_url(broker) as redis:
        left = (redis.llen(f"{SENDS}.failed"), redis.llen(SENDS), redis.llen(TAKEN))
    assert left == (2, 0, 1), "two failed, and the third waits for the database"


def test_an_intake_whose_broker_dies_under_it_goes_on_by_itself(tmp_path: Path, own_redis: RedisServer):
    with (
        Deployment(tmp_path, BOUNCE_WORKER_CRM_BROKER=own_redis.url) as deployment,
        Celery("crm", broker=own_redis.url, set_as_current=False) as crm,
    ):
        deployment.command("inbox", "list")
        database = deployment.folder / "data/bounce-worker.sqlite3"
        deployment.start("intake")
        register(crm, send(1))
        deployment.until(lambda: registered(f"sqlite:///{database}") == ["s-1"], "the intake works")
        with (
            closing(sqlite3.connect(database, isolation_level=None)) as held,
            Redis.from_url(own_redis.url) as redis,
        ):
            held.execute("BEGIN IMMEDIATE")  # so that the broker is gone when the next message should be acknowledged
            register(crm, send(2))
            deployment.until(lambda: redis.llen(SENDS) == 0 and redis.llen(TAKEN) == 1, "the message is taken")
            own_redis.stop()
            held.execute("ROLLBACK")
        deployment.until(lambda: "broker.unreachable" in deployment.logs(), "it can't be acknowledged")
        own_redis.start()
        register(crm, send(3))
        deployment.until(lambda: registered(f"sqlite:///{database}") == ["s-1", "s-2", "s-3"], "the next is taken", 30)


@contextmanager
def database_away(url: str) -> Iterator[None]:
    """Throw everybody out of a database, and let nobody in."""
    server, _, name = url.rpartition("/")
    allow = sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}")
    with psycopg.connect(f"{server}/postgres", autocommit=True) as admin:
        admin.execute(allow.format(sql.Identifier(name), sql.SQL("false")))
        admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
        yield
        admin.execute(allow.format(sql.Identifier(name), sql.SQL("true")))


def test_what_the_crm_tells_its_own_workers_is_not_meant_for_ours(deployment: Deployment, crm: Celery, database: str):
    deployment.start("intake")
    register(crm, send(1))
    deployment.until(lambda: registered(database) == ["s-1"], "the intake works")
    assert crm.control.ping(timeout=1.0) == []
    crm.control.shutdown()
    register(crm, send(2))
    deployment.until(lambda: registered(database) == ["s-1", "s-2"], "it still works")


def test_while_the_database_is_away_nothing_is_lost(tmp_path: Path, crm: Celery, broker: str, postgres_url: str):
    with Deployment(tmp_path, BOUNCE_WORKER_CRM_BROKER=broker, DATABASE_URL=postgres_url) as deployment:
        deployment.command("inbox", "list")  # makes the database ready
        deployment.start("intake")
        register(crm, send(1))
        deployment.until(lambda: registered(postgres_url) == ["s-1"], "it works")
        with database_away(postgres_url):
            for number in range(2, 6):
                register(crm, send(number))
            deployment.until(lambda: deployment.logs().count("sends.put_off") >= 4, "all were tried in vain")
        deployment.until(lambda: len(registered(postgres_url)) == 5, "what was sent meanwhile")
