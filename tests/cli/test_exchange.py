"""The main job over an Exchange mailbox, run as an operator runs it; the server is the tests' fake."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.fakes.ews.server import FakeExchange
from tests.fakes.notices import dsn, ordinary
from tests.live.deployment import Deployment

SEND = {
    "id": "s-1",
    "account": "acme",
    "inbox": "carol",
    "kind": "one_to_one",
    "sent_at": "2026-11-22T10:00:00Z",
    "message_id": "<send-1@crm.example>",
    "recipients": [{"address": "bob@customer.example", "contact_id": "c-1"}],
}


@pytest.fixture
def exchange():
    with FakeExchange() as fake:
        yield fake


@pytest.fixture
def cli(tmp_path: Path) -> Deployment:
    return Deployment(tmp_path, CAROL_PASSWORD="secret", OLD_PASSWORD="of last year")


def add(cli: Deployment, endpoint: str, *more: str, code: int = 0, password: str = "CAROL_PASSWORD") -> str:
    return cli.command(
        *("inbox", "add", "carol", "--account", "acme", "--address", "alice@sender.test", "--provider", "exchange"),
        *("--endpoint", endpoint, "--username", "alice", "--sign-in", "basic", "--password-env", password),
        *("--since", "2026-11-01", *more),
        code=code,
    )


def test_the_main_job(cli: Deployment, exchange: FakeExchange):
    yesterday = datetime.now(UTC) - timedelta(days=1)
    exchange.store.deliver(dsn(), "inbox", yesterday)
    exchange.store.deliver(ordinary(), "inbox", yesterday)
    add(cli, exchange.endpoint)
    said = cli.command("inbox", "check", "carol")
    assert "✓ sign-in" in said
    assert "Read: Inbox (2)" in said
    assert "bounce about bob@customer.example" in said
    cli.register([SEND])
    rows = cli.rows("scan", "--inbox", "carol", "--since", "2026-11-01")
    assert [row["would"] for row in rows] == ["attach"]
    assert "1 attached" in cli.command("poll", "--once")
    (entry,) = cli.rows("timeline", "--all")
    assert (entry["type"], entry["reason"], entry["matched_by"]) == ("hard", "unknown_user", "original_message_id")
    assert "0 new messages looked at" in cli.command("poll", "--once")


def test_a_password_that_is_refused_stops_polling_until_a_person_gives_another(cli: Deployment, exchange: FakeExchange):
    add(cli, exchange.endpoint, password="OLD_PASSWORD")
    assert "password" in cli.command("poll", "--once", code=1)
    assert [row["state"] for row in cli.rows("inbox", "list")] == ["needs_attention"]
    asked = exchange.requests
    assert "0 inboxes polled" in cli.command("poll", "--once")
    assert exchange.requests == asked
    cli.command("inbox", "resume", "carol", "--password-env", "CAROL_PASSWORD")
    cli.command("poll", "--once")
    assert [row["state"] for row in cli.rows("inbox", "list")] == ["active"]


def test_the_cloud_is_refused_as_soon_as_it_is_typed(cli: Deployment):
    said = add(cli, "https://outlook.office365.com/EWS/Exchange.asmx", code=1)
    assert "office365" in said
    assert cli.rows("inbox", "list") == []
