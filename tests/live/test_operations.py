"""A deployment as its operator sees it: one id from poll to webhook, nobody's words in logs, figures that are right,
processes that end in order, and one that makes no progress shown as such, and ended."""

import json
import os
import re
import signal
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.imap import HANG, FakeImap
from tests.fakes.notices import dsn, ordinary
from tests.fakes.otlp import Collector
from tests.fakes.receiver import Receiver
from tests.live.deployment import Deployment
from tests.live.processes import free_ports, until
from tests.live.servers import RedisServer

pytestmark = [pytest.mark.live, pytest.mark.timeout(180)]

WORDS = ("customer.example", "acme.example", "Lunch", "Offer", "canary", "Undelivered", "User unknown")
"""What stands in mail, addresses and secrets of these tests, and in no log."""
SEND = {
    "id": "s-1",
    "account": "acme",
    "inbox": "alice",
    "kind": "one_to_one",
    "sent_at": "2026-11-22T10:00:00Z",
    "message_id": "<send-1@crm.example>",
    "subject": "Offer canary-subject",
    "tracking_id": "canary-token",
    "recipients": [{"address": "bob@customer.example", "contact_id": "c-1"}],
}


@pytest.fixture
def deployment(tmp_path: Path, redis_url: str, postgres_url: str) -> Iterator[Deployment]:
    from redis import Redis

    with Redis.from_url(redis_url) as redis:
        redis.flushall()
    with Deployment(
        tmp_path,
        REDIS_URL=redis_url,
        DATABASE_URL=postgres_url,
        IMAP_PASSWORD="canary-password",
        BOUNCE_WORKER_LOG="json",
        BOUNCE_WORKER_CRM_TASK="crm.events",
        BOUNCE_WORKER_CRM_BROKER=redis_url,
    ) as running:
        yield running


def maildir(deployment: Deployment, name: str = "alice") -> Path:
    folder = deployment.folder / name
    for part in ("cur", "new", "tmp"):
        (folder / part).mkdir(parents=True)
    deployment.command(
        *("inbox", "add", name, "--account", "acme", "--address", f"{name}@acme.example"),
        *("--provider", "maildir", "--path", str(folder), "--since", "2026-01-01"),
    )
    return folder


def put(folder: Path, name: str, raw: bytes) -> None:
    (folder / "tmp" / name).write_bytes(raw)
    (folder / "tmp" / name).rename(folder / "new" / name)


def imap_inbox(deployment: Deployment, name: str, port: int) -> None:
    deployment.command(
        *("inbox", "add", name, "--account", "acme", "--address", f"{name}@acme.example", "--provider", "imap"),
        *("--host", "127.0.0.1", "--port", str(port), "--security", "none", "--username", f"{name}@acme.example"),
        *("--password-env", "IMAP_PASSWORD", "--since", "2026-01-01"),
    )


def all_logs(deployment: Deployment) -> str:
    return "\n".join(path.read_text() for path in sorted(deployment.folder.glob("*.log")))


def events(deployment: Deployment, role: str) -> list[dict[str, Any]]:
    """Return the JSON lines that the processes of a role have logged."""
    lines = [line for path in deployment.folder.glob(f"{role}-*.log") for line in path.read_text().splitlines()]
    return [json.loads(line) for line in lines if line.startswith("{")]


def scrape(port: int) -> dict[str, float]:
    """Return the figures of a /metrics, by name with labels."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    rows = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in rows}


def test_one_bounce_is_followed_from_poll_to_webhook_and_no_log_repeats_anybodys_words(deployment: Deployment):
    ports = dict(zip(("worker", "scheduler", "web"), free_ports(3), strict=True))
    refuses = {"LOGIN": "{tag} NO [AUTHENTICATIONFAILED] bob@customer.example canary-words"}
    with Receiver(lambda number: 500 if number == 1 else 204) as receiver, FakeImap(refuses) as broken:
        folder = maildir(deployment)
        imap_inbox(deployment, "broken", broken.port)
        (webhook,) = deployment.rows("webhooks", "add", f"{receiver.url}?canary=canary-path", "--account", "acme")
        receiver.secrets = [webhook["secret"]]
        deployment.register([SEND])
        put(folder, "1.notice.host", dsn())
        put(folder, "2.ordinary.host", ordinary())
        put(folder, "3.broken.host", dsn()[:700] + b"\xff\xfe canary-bytes")
        deployment.start("worker", "--metrics", f"127.0.0.1:{ports['worker']}")
        deployment.start("scheduler", "--metrics", f"127.0.0.1:{ports['scheduler']}")
        deployment.start("web", "--port", "0", "--metrics", f"127.0.0.1:{ports['web']}")
        deployment.start("watch")
        deployment.until(lambda: len(receiver.events) >= 2, "two events at the receiver")
        deployment.until(
            lambda: any(
                each["event"] == "event.handed_over" and "correlation_id" in each
                for each in events(deployment, "scheduler")
            ),
            "the event is handed over",
        )

        (correlation_id,) = {each.correlation_id for each in receiver.events if hasattr(each, "correlation_id")}
        followed = [
            (role, each["event"])
            for role in ("worker", "scheduler")
            for each in events(deployment, role)
            if each.get("correlation_id") == correlation_id
        ]
        assert {
            ("worker", "notice.found"),
            ("worker", "notice.ended"),
            ("worker", "bounce.judged"),
            ("scheduler", "event.handed_over"),
            ("scheduler", "webhook.called"),
        } <= set(followed)
        # One task rang for the next: their lines share the id of the first.
        lines = {each["event"]: each for each in events(deployment, "worker") if each.get("correlation_id")}
        assert lines["notice.found"]["root_id"] == lines["notice.ended"]["root_id"]

        polls = 'bounce_worker_polls_total{outcome="auth_required",provider="imap"}'
        deployment.until(lambda: scrape(ports["worker"]).get(polls) == 1, "the refused sign-in is counted")
        counted = scrape(ports["worker"])
        assert counted['bounce_worker_polls_total{outcome="ok",provider="maildir"}'] >= 1
        assert counted['bounce_worker_notices_total{kind="bounce",state="attached"}'] == 1
        verdict = 'fault="address",matched_by="original_message_id",reason="unknown_user",type="hard"'
        assert counted[f"bounce_worker_verdicts_total{{{verdict}}}"] == 1
        called = scrape(ports["scheduler"])
        assert called['bounce_worker_webhook_calls_total{outcome="failed"}'] == 1
        assert called['bounce_worker_inboxes{provider="imap",state="needs_attention"}'] == 1
        assert scrape(ports["web"])["bounce_worker_reviews_waiting"] == 1  # the notice that was cut off
        for role in ("worker", "scheduler", "web"):
            text = " ".join(scrape(ports[role]))
            assert not [word for word in ("alice", "acme", *WORDS) if word in text]

        for role in ("worker", "scheduler", "web", "watch"):
            deployment.until(lambda role=role: alive(deployment, role) == 0, f"{role} makes progress")
    told = all_logs(deployment)
    assert "inbox.polled" in told
    assert not [word for word in WORDS if word in told]


def alive(deployment: Deployment, role: str, *more: str) -> int:
    done = subprocess.run(
        [*deployment.program, "alive", role, *more], env=deployment.environment, capture_output=True, check=False
    )
    return done.returncode


def children(process: subprocess.Popen[bytes]) -> list[int]:
    return [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]


def test_a_worker_whose_children_hang_is_seen_and_ends_itself(deployment: Deployment):
    worker = deployment.start("worker", "--stuck-after", "3")
    deployment.until(lambda: alive(deployment, "worker", "--within", "5") == 0, "the worker makes progress")
    deployment.until(lambda: len(children(worker)) >= 2, "its children run")
    stopped = children(worker)
    assert len(stopped) >= 2
    for child in stopped:
        os.kill(child, signal.SIGSTOP)
    until(lambda: alive(deployment, "worker", "--within", "2") == 1, "it is seen", 30)
    assert worker.wait(30) == 70
    until(lambda: not any(Path(f"/proc/{child}").exists() for child in stopped), "its children are gone", 10)
    assert any(each["event"] == "worker.stuck" for each in events(deployment, "worker"))
    assert alive(deployment, "worker") == 1, "none runs any more"


def test_a_worker_outlives_a_broker_that_is_away(tmp_path: Path, own_redis: RedisServer):
    with Deployment(tmp_path, REDIS_URL=own_redis.url, BOUNCE_WORKER_LOG="json") as deployment:
        deployment.start("worker", "--stuck-after", "3")
        deployment.until(lambda: alive(deployment, "worker", "--within", "5") == 0, "it makes progress")
        own_redis.stop()
        until(lambda: alive(deployment, "worker", "--within", "4") == 1, "it is seen", 30)
        own_redis.start()
        deployment.until(lambda: alive(deployment, "worker", "--within", "3") == 0, "it goes on by itself", 60)
        assert not [each for each in events(deployment, "worker") if each["event"] == "worker.stuck"]


def test_a_worker_whose_broker_dies_while_all_its_children_work_goes_on_by_itself(
    tmp_path: Path, own_redis: RedisServer
):
    with Deployment(
        tmp_path, REDIS_URL=own_redis.url, BOUNCE_WORKER_LOG="json", IMAP_PASSWORD="canary-password"
    ) as deployment:
        with FakeImap({"LIST": HANG}) as slow:
            for name in ("alice", "bea"):
                imap_inbox(deployment, name, slow.port)
            deployment.start("worker", "--concurrency", "2")
            scheduler = deployment.start("scheduler")
            deployment.until(lambda: len([each for each in slow.commands if "LIST" in each]) == 2, "both children work")
            deployment.kill(scheduler)
            own_redis.stop()
        deployment.until(lambda: "cannot be acknowledged" in deployment.logs(), "what runs is given up")
        own_redis.start()
        deployment.until(lambda: alive(deployment, "worker", "--within", "3") == 0, "it goes on by itself", 60)


def unacknowledged(redis_url: str) -> tuple[int, int]:
    """Return how many tasks wait, and how many are held by somebody."""
    from redis import Redis

    with Redis.from_url(redis_url) as redis:
        return int(redis.llen("bounce:bounce")), int(redis.hlen("bounce:unacked"))


def test_a_running_task_ends_before_the_worker_does(deployment: Deployment, redis_url: str):
    with FakeImap({"LIST": HANG}) as slow:
        imap_inbox(deployment, "slow", slow.port)
        worker = deployment.start("worker")
        scheduler = deployment.start("scheduler")
        deployment.until(lambda: any("LIST" in each for each in slow.commands), "a poll that takes its time")
        end(scheduler)
        worker.send_signal(signal.SIGTERM)
        with pytest.raises(subprocess.TimeoutExpired):
            worker.wait(2)  # it lets the task end
    # The server is gone: the poll fails, and is noted down as every failed poll is.
    assert worker.wait(30) == 0
    assert [each["outcome"] for each in events(deployment, "worker") if each["event"] == "inbox.polled"] == [
        "unavailable"
    ]
    assert unacknowledged(redis_url)[1] == 0


def test_a_task_that_takes_too_long_goes_back_to_the_queue(deployment: Deployment, redis_url: str):
    with FakeImap({"LIST": HANG}) as slow:
        imap_inbox(deployment, "slow", slow.port)
        worker = deployment.start("worker", "--grace", "1")
        scheduler = deployment.start("scheduler")
        deployment.until(lambda: any("LIST" in each for each in slow.commands), "a poll that takes its time")
        end(scheduler)
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(30) == 0
        waiting, held = unacknowledged(redis_url)
        assert (waiting >= 1, held) == (True, 0)
        before = len(slow.commands)
        deployment.start("worker")
        until(lambda: any("LIST" in each for each in slow.commands[before:]), "another worker takes it", 30)


def end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0


@pytest.mark.parametrize("role", ["worker", "scheduler", "web", "watch", "intake"])
def test_every_process_ends_in_order(deployment: Deployment, role: str):
    more = ["--port", "0"] if role == "web" else []
    process = deployment.start(role, *more)
    deployment.until(lambda: alive(deployment, role) == 0, f"{role} runs")
    end(process)
    assert alive(deployment, role) == 1
    assert not list((deployment.folder / "data" / "run").glob(f"{role}-*")), "its mark is taken away"
    assert "Traceback" not in all_logs(deployment)
    assert not re.search(r'"level": "(error|critical)"', all_logs(deployment))


def test_spans_of_all_processes_make_one_trace_a_notice(deployment: Deployment):
    with Collector() as collector, Receiver() as receiver:
        deployment.environment |= {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_BSP_SCHEDULE_DELAY": "200"}
        folder = maildir(deployment)
        (webhook,) = deployment.rows("webhooks", "add", receiver.url, "--account", "acme")
        receiver.secrets = [webhook["secret"]]
        deployment.register([SEND])
        put(folder, "1.notice.host", dsn())
        for role in ("worker", "scheduler"):
            deployment.start(role)
        deployment.until(lambda: len(receiver.events) >= 2, "two events at the receiver")
        trace_id = receiver.events[0].correlation_id

        def of_notice() -> set[str]:
            return {span.name for span in list(collector.spans) if span.trace_id.hex() == trace_id}

        deployment.until(lambda: of_notice() >= {"found", "fetch", "detect", "notify", "webhook"}, "its trace")
        by_id = {span.span_id: span for span in list(collector.spans)}
        processed = [span for span in by_id.values() if span.name == "process_reports"]
        assert {by_id[span.parent_span_id].name for span in processed} == {"poll_inbox"}, "the headers carried it"
        assert not [word for word in WORDS if any(word.encode() in each.SerializeToString() for each in by_id.values())]
