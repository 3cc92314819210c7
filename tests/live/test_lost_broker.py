"""Redis is emptied again and again under real processes, and all lands once; an inbox that hangs delays no other."""

import json
import socket
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from threading import Event, Thread
from typing import Self

import pytest
import sqlalchemy as sa

from tests.fakes.notices import dsn
from tests.live.deployment import Deployment
from tests.live.servers import redis_server
from worker import tasks
from worker.store.database import open_engine, reading, writing

pytestmark = [pytest.mark.live, pytest.mark.timeout(240)]

NOTICES = 100


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'data' / 'bounce-worker.sqlite3'}"
    return request.getfixturevalue("postgres_url")


@pytest.fixture
def broker() -> Iterator[str]:
    """A Redis of the worker's own: what is emptied holds nothing of the CRM's."""
    with redis_server() as url:
        yield url


@pytest.fixture
def deployment(tmp_path: Path, broker: str, redis_url: str, database_url: str) -> Iterator[Deployment]:
    with Deployment(
        tmp_path,
        REDIS_URL=broker,
        DATABASE_URL=database_url,
        PASSWORD="secret",
        BOUNCE_WORKER_CRM_TASK="crm.events",
        BOUNCE_WORKER_CRM_BROKER=redis_url,
        BOUNCE_WORKER_CRM_QUEUE="lost-broker",
    ) as made:
        yield made


def connect_maildir(deployment: Deployment, name: str) -> Path:
    folder = deployment.folder / name
    for part in ("cur", "new", "tmp"):
        (folder / part).mkdir(parents=True)
    deployment.command(
        *("inbox", "add", name, "--account", "acme", "--address", f"{name}@acme.example"),
        *("--provider", "maildir", "--path", str(folder), "--since", "2026-01-01"),
    )
    return folder


def deliver(folder: Path, number: int) -> None:
    raw = dsn(f"send-{number}@crm.example", own_id=f"n-{number}@mx.example")
    (folder / "tmp" / f"{number}").write_bytes(raw)
    (folder / "tmp" / f"{number}").rename(folder / "new" / f"{number}")


def register(deployment: Deployment, inbox: str, numbers: range) -> None:
    deployment.register(
        [
            {
                "id": f"s-{number}",
                "account": "acme",
                "inbox": inbox,
                "kind": "one_to_one",
                "message_id": f"send-{number}@crm.example",
                "sent_at": datetime.now(UTC).isoformat(),
                "recipients": [{"address": "bob@customer.example", "contact_id": f"c-{number}"}],
            }
            for number in numbers
        ]
    )


class Emptying:
    """Empties a Redis every few milliseconds, as long as it's entered, and counts the tasks that it takes away."""

    def __init__(self, broker: str) -> None:
        self._broker = broker
        self._stop = Event()
        self._thread = Thread(target=self._run)
        self.lost: Counter[str] = Counter()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(30)

    def _run(self) -> None:
        from redis import Redis

        with Redis.from_url(self._broker) as redis:
            while not self._stop.wait(0.002):
                tasks, _ = redis.pipeline().lrange("bounce:bounce", 0, -1).flushall().execute()
                self.lost.update(json.loads(task)["headers"]["task"] for task in tasks)


TEN_MINUTES_LATER = {
    "inboxes": ("lease_until", "next_poll_at"),
    "leases": ("until",),
    "notices": ("next_attempt_at",),
    "outbox": ("next_attempt_at",),
}


def let_ten_minutes_pass(url: str) -> None:
    """Have whatever waits for its turn or for a lost lease wait no longer."""
    engine = open_engine(url)
    with writing(engine) as connection:
        for table, columns in TEN_MINUTES_LATER.items():
            for column in columns:
                sooner = f"{column} - interval '10 min'" if engine.name == "postgresql" else EARLIER.format(column)
                connection.execute(sa.text(f"UPDATE {table} SET {column} = {sooner} WHERE {column} IS NOT NULL"))
    engine.dispose()


EARLIER = "strftime('%Y-%m-%d %H:%M:%f000', {}, '-10 minutes')"


def attached(url: str) -> int:
    engine = open_engine(url)
    with reading(engine) as connection:
        number = connection.execute(sa.text("SELECT count(*) FROM timeline")).scalar_one()
    engine.dispose()
    return int(number)


def test_redis_may_be_emptied_at_any_moment(deployment: Deployment, broker: str, database_url: str, redis_url: str):
    folder = connect_maildir(deployment, "alice")
    register(deployment, "alice", range(NOTICES))
    told = deployment.folder / "crm.jsonl"
    deployment.start("scheduler")
    with Emptying(broker) as emptying:
        deployment.until(lambda: emptying.lost[tasks.POLL] > 0, "a poll lost, its inbox held for six minutes")
        deployment.start("worker", "--concurrency", "1")
        deployment.start_celery("tests.fakes.crm", "lost-broker", CRM_BROKER=redis_url, CRM_FILE=str(told))
        for number in range(NOTICES):
            deliver(folder, number)
        let_ten_minutes_pass(database_url)

        def notices_lost() -> bool:
            if not emptying.lost[tasks.PROCESS]:
                let_ten_minutes_pass(database_url)
            return emptying.lost[tasks.PROCESS] > 0

        deployment.until(notices_lost, "notices that wait, and no queue that knows of them")
        assert attached(database_url) < NOTICES
    turns = iter(range(1_000_000))

    def all_landed() -> bool:
        if next(turns) % 20 == 0:  # every five seconds
            let_ten_minutes_pass(database_url)
        return attached(database_url) == NOTICES and len(events()) >= NOTICES

    def events() -> list[dict]:
        found = [json.loads(line) for line in told.read_text().splitlines()] if told.exists() else []
        return [event for event in found if event["type"] == "bounce.attached"]

    deployment.until(all_landed, "every notice on its timeline and told", limit=120)
    entries = deployment.rows("timeline", "--all")
    assert sorted(entry["send_id"] for entry in entries) == sorted(f"s-{number}" for number in range(NOTICES))
    assert {event["bounce"]["send_id"] for event in events()} == {entry["send_id"] for entry in entries}
    by_id = {(event["id"], event["bounce"]["send_id"]) for event in events()}
    assert len(by_id) == NOTICES, "whatever is told twice is told under the same id"


def test_an_inbox_whose_server_never_answers_delays_no_other(deployment: Deployment, database_url: str):
    """Two processes work; one of them waits for a server that took its connection and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        deployment.command(
            *("inbox", "add", "stuck", "--account", "acme", "--address", "stuck@acme.example", "--provider", "imap"),
            *("--host", "127.0.0.1", "--port", str(silent.getsockname()[1]), "--security", "none"),
            *("--username", "stuck", "--password-env", "PASSWORD"),
        )
        folder = connect_maildir(deployment, "fine")
        register(deployment, "fine", range(3))
        deployment.start("worker", "--concurrency", "2")
        deployment.start("scheduler")
        silent.settimeout(60)
        taken, _ = silent.accept()  # from here on, one of the two waits
        with taken:
            for number in range(3):
                deliver(folder, number)
                deployment.until(lambda wanted=number + 1: attached(database_url) == wanted, "the other inbox is read")
            stuck = next(row for row in deployment.rows("inbox", "list") if row["name"] == "stuck")
            assert (stuck["last_poll_at"], stuck["attention"]) == (None, None), "it still waits"
