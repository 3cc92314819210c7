"""An inbox that can't be read says in one sentence what to do, and polling it backs off."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.live.deployment import Deployment
from tests.live.mailstack import MailStack

pytestmark = pytest.mark.live


@pytest.mark.parametrize(
    ("change", "words", "state"),
    [
        ({"--password-env": "WRONG_PASSWORD"}, "password", "needs_attention"),
        ({"--host": "no-such-host.invalid"}, "no-such-host.invalid", "active"),
        ({"--port": "1"}, "127.0.0.1", "active"),
        ({"--ca-file": None}, "certificate", "active"),
        ({"--folder": "No Such Folder"}, "No Such Folder", "active"),
    ],
    ids=["password", "host", "port", "certificate", "folder"],
)
def test_what_is_wrong_is_said_and_polling_backs_off(
    tmp_path: Path, mail_stack: MailStack, change: dict[str, str | None], words: str, state: str
):
    cli = Deployment(tmp_path, INBOX_PASSWORD=mail_stack.password, WRONG_PASSWORD="not-the-password")
    address = mail_stack.fresh_inbox()
    options = {
        "--account": "acme",
        "--address": address,
        "--provider": "imap",
        "--host": "127.0.0.1",
        "--port": str(mail_stack.ports.imaps),
        "--ca-file": mail_stack.ca_file,
        "--password-env": "INBOX_PASSWORD",
    } | change
    cli.command("inbox", "add", "alice", *(word for pair in options.items() if pair[1] for word in pair if word))
    said = cli.command("poll", "--once", code=1)
    assert words in said
    assert "Traceback" not in said
    assert "not-the-password" not in said
    (row,) = cli.rows("inbox", "list")
    assert words in row["attention"]
    assert row["attention"].endswith(".")
    assert row["state"] == state
    assert datetime.fromisoformat(row["next_poll_at"]) > datetime.now(UTC) + timedelta(seconds=15)
    assert words in cli.command("inbox", "check", code=1)


def test_a_new_password_makes_it_read_again(tmp_path: Path, mail_stack: MailStack):
    cli = Deployment(tmp_path, INBOX_PASSWORD=mail_stack.password, WRONG_PASSWORD="no")
    address = mail_stack.fresh_inbox()
    server = ("--host", "127.0.0.1", "--port", str(mail_stack.ports.imaps), "--ca-file", mail_stack.ca_file)
    named = ("--account", "acme", "--address", address, "--provider", "imap")
    cli.command("inbox", "add", "alice", *named, *server, "--password-env", "WRONG_PASSWORD")
    cli.command("poll", "--once", code=1)
    cli.command("inbox", "resume", "alice", "--password-env", "INBOX_PASSWORD")
    cli.command("poll", "--once")
    (row,) = cli.rows("inbox", "list")
    assert (row["state"], row["attention"], row["failures"]) == ("active", None, 0)
