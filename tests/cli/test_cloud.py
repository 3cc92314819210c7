"""The main job over Gmail and Office 365, run as an operator runs it; what stands in for them is the tests' own."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.connectors.mailboxes import GmailMailbox, Mailbox, Office365Mailbox
from tests.fakes.gmail.server import FakeGmail
from tests.fakes.graph.server import FakeGraph
from tests.fakes.notices import dsn, ordinary
from tests.live.deployment import Deployment


@dataclass
class Cloud:
    """A provider's mailbox as an operator connects it; `tokens` is what the provider accepts."""

    provider: str
    mailbox: Mailbox
    address: str
    api: str
    tokens: set[str]


@pytest.fixture
def gmail(emulate) -> Iterator[Cloud]:
    with FakeGmail(emulate.fresh_mailbox()) as fake:
        yield Cloud("gmail", GmailMailbox(fake), fake.mailbox.address, fake.url, fake.tokens)


@pytest.fixture
def office365() -> Iterator[Cloud]:
    with FakeGraph() as fake:
        yield Cloud("office365", Office365Mailbox(fake), fake.store.address, fake.api, fake.tokens)


@pytest.fixture(params=["gmail", "office365"])
def cloud(request) -> Cloud:
    return request.getfixturevalue(request.param)


@pytest.fixture
def cli(tmp_path: Path) -> Deployment:
    return Deployment(tmp_path)


def grant(cli: Deployment, token: str) -> str:
    file = cli.folder / "grant.json"
    file.write_text(json.dumps({"type": "bearer", "access_token": token}))
    return str(file)


def add(cli: Deployment, cloud: Cloud, token: str | None = None) -> None:
    cli.command(
        *("inbox", "add", "gina", "--account", "acme", "--address", cloud.address, "--provider", cloud.provider),
        *("--api", cloud.api, "--credentials", grant(cli, token or next(iter(cloud.tokens))), "--since", "2026-11-01"),
    )


def send(cloud: Cloud) -> dict:
    return {
        "id": "s-1",
        "account": "acme",
        "inbox": "gina",
        "kind": "one_to_one",
        "sent_at": (datetime.now(UTC) - timedelta(days=2)).isoformat(),
        "message_id": "<send-1@crm.example>",
        "recipients": [{"address": "bob@customer.example", "contact_id": "c-1"}],
    }


def test_the_main_job(cli: Deployment, cloud: Cloud):
    yesterday = datetime.now(UTC) - timedelta(days=1)
    cloud.mailbox.deliver_all([dsn(), ordinary()], at=yesterday)
    add(cli, cloud)
    said = cli.command("inbox", "check", "gina")
    assert "✓ sign-in" in said
    assert "bounce about bob@customer.example" in said
    assert "✓ quota" in said
    assert "an idle poll" in said
    cli.register([send(cloud)])
    rows = cli.rows("scan", "--inbox", "gina", "--since", "2026-11-01")
    assert [row["would"] for row in rows] == ["attach"]
    assert "1 attached" in cli.command("poll", "--once")
    (entry,) = cli.rows("timeline", "--all")
    assert (entry["type"], entry["reason"], entry["matched_by"]) == ("hard", "unknown_user", "original_message_id")
    assert "0 new messages looked at" in cli.command("poll", "--once")
    assert cloud.mailbox.is_untouched()


def test_a_sign_in_that_is_refused_stops_polling_until_a_person_signs_in_again(cli: Deployment, cloud: Cloud):
    add(cli, cloud, "of last year")
    assert "inbox resume --credentials" in " ".join(cli.command("poll", "--once", code=1).split())
    assert [row["state"] for row in cli.rows("inbox", "list")] == ["needs_attention"]
    assert "0 inboxes polled" in cli.command("poll", "--once")
    cli.command("inbox", "resume", "gina", "--credentials", grant(cli, next(iter(cloud.tokens))))
    cli.command("poll", "--once")
    assert [row["state"] for row in cli.rows("inbox", "list")] == ["active"]


def test_an_id_that_the_provider_gave_is_learned_from_the_sent_folder(cli: Deployment, cloud: Cloud):
    """The CRM registers the send without a Message-ID, as it often must."""
    sent_at = datetime.now(UTC) - timedelta(days=2)
    copy = (
        f"From: gina@acme.example\r\nTo: bob@customer.example\r\nSubject: Offer\r\n"
        f"Date: {sent_at:%a, %d %b %Y %H:%M:%S +0000}\r\nMessage-ID: <send-1@crm.example>\r\n\r\nHello\r\n"
    ).encode()
    cloud.mailbox.deliver_all([copy], "Sent", sent_at)
    cloud.mailbox.deliver_all([dsn()], at=datetime.now(UTC) - timedelta(days=1))
    add(cli, cloud)
    cli.register([send(cloud) | {"message_id": None, "subject": "Offer", "sent_at": sent_at.isoformat()}])
    cli.command("poll", "--once")
    cli.command("poll", "--once")
    (entry,) = cli.rows("timeline", "--all")
    assert (entry["send_id"], entry["matched_by"]) == ("s-1", "original_message_id")
