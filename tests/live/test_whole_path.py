"""The main job with nothing faked: mail goes out through Postfix, what comes back lies in Dovecot, IMAP is polled, a
Celery worker on Redis works it off, and the timelines say what was sent — twice over, with nothing doubled."""

import json
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.live.deployment import ROOT, Deployment
from tests.live.mailstack import MailStack

pytestmark = [pytest.mark.live, pytest.mark.timeout(240)]

CASES: dict[str, tuple[list[str], set[tuple[str, str, str]]]] = {
    # name: (recipients, what ends on the timeline: address, type, reason)
    "unknown-user": (["nobody@customer.test"], {("nobody@customer.test", "hard", "unknown_user")}),
    "mailbox-full": (["full@customer.test"], {("full@customer.test", "hard", "mailbox_full")}),
    "policy-reject": (["carol@policy.test"], {("carol@policy.test", "hard", "policy")}),
    "content-reject": (["carol@content.test"], {("carol@content.test", "hard", "content")}),
    "too-large": (["carol@tiny.test"], {("carol@tiny.test", "hard", "content")}),
    "one-of-two-fails": (
        ["bob@customer.test", "noone@customer.test"],
        {("noone@customer.test", "hard", "unknown_user")},
    ),
    "host-down": (["carol@dead.test"], {("carol@dead.test", "soft", "temporary")}),
    "sieve-reject": (["refuse@customer.test"], {("refuse@customer.test", "hard", "policy")}),
    "vacation": (["away@customer.test"], set()),
    "arrives": (["bob@customer.test"], set()),
}
NOTICES = 10
"""What comes back: one message a failing recipient, a warning before the host that is down, and a vacation reply."""
EXPECTED = {(name, *outcome) for name, (_, outcomes) in CASES.items() for outcome in outcomes}


@pytest.fixture(params=["sqlite", "postgresql"])
def deployment(
    request: pytest.FixtureRequest, tmp_path: Path, redis_url: str, mail_stack: MailStack
) -> Iterator[Deployment]:
    flush(redis_url)
    more = {} if request.param == "sqlite" else {"DATABASE_URL": request.getfixturevalue("postgres_url")}
    with Deployment(
        tmp_path,
        REDIS_URL=redis_url,
        INBOX_PASSWORD=mail_stack.password,
        BOUNCE_WORKER_CRM_TASK="crm.events",
        **more,
    ) as deployment:
        yield deployment


def compose_command(service: str) -> list[str]:
    """Return what compose.yaml runs for a service."""
    services = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    return [str(word) for word in services[service]["command"]]


def flush(redis_url: str) -> None:
    from redis import Redis

    with Redis.from_url(redis_url) as redis:
        redis.flushall()


def connect_inbox(deployment: Deployment, stack: MailStack, address: str) -> None:
    deployment.command(
        *("inbox", "add", "alice", "--account", "acme", "--address", address, "--provider", "imap"),
        *("--host", stack.host, "--port", str(stack.ports.imaps), "--ca-file", stack.ca_file),
        *("--password-env", "INBOX_PASSWORD", "--since", "2026-01-01"),
    )


def send_all(stack: MailStack, sender: str) -> list[dict[str, Any]]:
    """Send one email a case through Postfix; return the CRM's record of each."""
    sends = []
    for number, (name, (recipients, _)) in enumerate(CASES.items()):
        message = EmailMessage()
        message["From"], message["To"] = sender, ", ".join(recipients)
        message["Subject"] = f"Quarterly offer [{name}]"
        message["Message-ID"] = f"<{name}.{uuid.uuid4().hex}@crm.sender.test>"
        message.set_content("Hello,\nthis is our offer.\n" + ("filler\n" * 800 if name == "too-large" else ""))
        stack.submit(message, recipients, sender)
        sequence = {"sequence_id": "q", "enrollment_id": f"e-{name}"} if number % 2 else {}
        sends.append(
            {
                "id": name,
                "account": "acme",
                "inbox": "alice",
                "kind": "sequence" if sequence else "one_to_one",
                **sequence,
                "message_id": message["Message-ID"],
                "sent_at": datetime.now(UTC).isoformat(),
                "subject": message["Subject"],
                "recipients": [{"address": a, "contact_id": f"c-{a.partition('@')[0]}"} for a in recipients],
            }
        )
    return sends


def outcome(deployment: Deployment) -> set[tuple[str, str, str, str]]:
    return {(e["send_id"], e["address"], e["type"], e["reason"]) for e in deployment.rows("timeline", "--all")}


def crm_events(deployment: Deployment) -> list[dict[str, Any]]:
    """Return what the CRM's own Celery worker has taken from its queue."""
    file = deployment.folder / "crm.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def types(events: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [event for event in events if event["type"] == kind]


def test_what_was_sent_is_what_the_timelines_say(deployment: Deployment, mail_stack: MailStack, redis_url: str):
    inbox = mail_stack.fresh_inbox()
    connect_inbox(deployment, mail_stack, inbox)
    assert "✓ sign-in" in deployment.command("inbox", "check", "alice")
    sends = send_all(mail_stack, inbox)
    late = [send for send in sends if send["id"] in ("unknown-user", "mailbox-full")]
    deployment.register([send for send in sends if send not in late])
    for service in ("worker", "scheduler"):
        deployment.start(*compose_command(service))
    deployment.start_celery(
        "tests.fakes.crm", "crm", CRM_BROKER=redis_url, CRM_FILE=str(deployment.folder / "crm.jsonl")
    )

    # The host that is down: a warning first, which the failure then supersedes.
    deployment.until(lambda: ("host-down", "carol@dead.test", "pending", "temporary") in outcome(deployment), "pending")
    # The notices that came before their sends were registered are found again.
    deployment.register(late)
    try:
        deployment.until(lambda: outcome(deployment) == EXPECTED, "every outcome on its timeline")
    except AssertionError:
        assert outcome(deployment) == EXPECTED  # shows what differs
        raise

    entries = {entry["send_id"]: entry for entry in deployment.rows("timeline", "--all")}
    assert len(entries["host-down"]["report_ids"]) == 2
    for entry in entries.values():
        assert entry["matched_by"] == "original_message_id"
        assert any(line["kind"] == "task" and "Celery task" in line["text"] for line in entry["evidence"])
    assert {e["contact_id"] for e in deployment.rows("timeline", "c-nobody")} == {"c-nobody"}

    # Twice over: every UID void, every notice read again.
    before = deployment.rows("timeline", "--all")
    mail_stack.set_uid_validity(987_654, user=inbox)
    (health,) = deployment.rows("inbox", "list")
    deployment.until(lambda: duplicates(deployment) >= len(EXPECTED), "every notice read a second time")
    assert deployment.rows("timeline", "--all") == before
    assert health["state"] == "active"
    assert set(mail_stack.flags(user=inbox)) == {""}, "reading must leave no trace in the inbox"

    failed = {name for name, *_ in EXPECTED}
    deployment.until(
        lambda: len(types(crm_events(deployment), "bounce.attached")) == len(failed), "every event in the CRM"
    )
    events = crm_events(deployment)
    assert len({event["id"] for event in events}) == len(events)
    assert {event["bounce"]["send_id"] for event in types(events, "bounce.attached")} == failed
    ended = {event["enrollment_id"] for event in types(events, "sequence.unenroll")}
    assert ended == {f"e-{name}" for name in ("mailbox-full", "content-reject", "one-of-two-fails", "sieve-reject")}


def duplicates(deployment: Deployment) -> int:
    (health,) = deployment.rows("inbox", "list")
    return int(health["notices"].get("duplicate", 0))


def test_what_the_broker_loses_the_sweep_finds(deployment: Deployment, mail_stack: MailStack, redis_url: str):
    inbox = mail_stack.fresh_inbox()
    connect_inbox(deployment, mail_stack, inbox)
    sends = send_all(mail_stack, inbox)
    deployment.register(sends)
    scheduler = deployment.start("scheduler")
    deployment.until(lambda: queued(redis_url) > 0, "tasks in the broker")
    flush(redis_url)
    scheduler.terminate()
    scheduler.wait(20)
    # The lease of the lost poll runs out by itself; a person needn't wait for it.
    deployment.command("inbox", "resume", "alice")
    mail_stack.wait_for_mail(NOTICES, user=inbox)
    deployment.command("poll", "alice", "--once")
    assert outcome(deployment) == EXPECTED
    before = deployment.rows("timeline", "--all")
    deployment.command("poll", "alice", "--once")
    assert len(deployment.rows("timeline", "--all")) == len(before)


def queued(redis_url: str) -> int:
    from redis import Redis

    with Redis.from_url(redis_url) as redis:
        return int(redis.llen("bounce:bounce"))
