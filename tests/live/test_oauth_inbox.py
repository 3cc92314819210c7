"""An inbox that is signed in to by OAuth, from the command line to the timeline."""

import json
from pathlib import Path

import pytest

from tests.fakes.notices import dsn
from tests.live.deployment import Deployment
from tests.live.mailstack import MailStack
from tests.live.test_watch import SEND

pytestmark = pytest.mark.live


def test_a_token_that_runs_out_needs_a_person_and_loses_nothing(tmp_path: Path, mail_stack: MailStack):
    cli = Deployment(tmp_path)
    address = mail_stack.fresh_inbox()
    grant = tmp_path / "grant.json"

    def store(token: str) -> None:
        grant.write_text(json.dumps({"type": "bearer", "access_token": token}))

    store(mail_stack.token(address))
    cli.command(
        *("inbox", "add", "alice", "--account", "acme", "--address", address, "--provider", "imap"),
        *("--host", "127.0.0.1", "--port", str(mail_stack.ports.imaps), "--ca-file", str(mail_stack.ca_file)),
        *("--sign-in", "oauthbearer", "--credentials", str(grant), "--since", "2026-11-01"),
    )
    cli.register([SEND])
    assert "✓ sign-in" in cli.command("inbox", "check", "alice")
    cli.command("poll", "--once")

    store(expired := mail_stack.token(address, life=-30))
    cli.command("inbox", "resume", "alice", "--credentials", str(grant))
    mail_stack.deliver_all([dsn()], user=address)
    said = cli.command("poll", "--once", code=1)
    assert "inbox resume --credentials" in said
    assert expired not in said
    assert [row["state"] for row in cli.rows("inbox", "list")] == ["needs_attention"]

    store(mail_stack.token(address))
    cli.command("inbox", "resume", "alice", "--credentials", str(grant))
    assert "1 attached" in cli.command("poll", "--once")
    logs = b"".join(path.read_bytes() for path in (tmp_path / "data").iterdir())
    assert expired.encode() not in logs
    assert mail_stack.token(address).partition(".")[0].encode() not in logs  # no token's beginning lies readable
