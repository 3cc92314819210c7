"""What the command line shows of a bounce whose send has become too old and is gone."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.fakes.notices import dsn
from tests.live.deployment import Deployment

BOB = "bob@customer.example"


def test_a_bounce_whose_send_is_gone_is_shown_and_lifted(tmp_path: Path):
    for folder in ("new", "cur", "tmp"):
        (tmp_path / "mail" / folder).mkdir(parents=True)
    (tmp_path / "mail" / "new" / "1.notice").write_bytes(dsn())
    cli = Deployment(tmp_path)
    cli.command(
        *("inbox", "add", "alice", "--account", "acme", "--address", "alice@acme.example"),
        *("--provider", "maildir", "--path", str(tmp_path / "mail"), "--since", "2020-01-01"),
    )
    old = {
        "id": "s-1",
        "account": "acme",
        "inbox": "alice",
        "kind": "one_to_one",
        "sent_at": (datetime.now(UTC) - timedelta(days=60)).isoformat(),
        "message_id": "<send-1@crm.example>",
        "recipients": [{"address": BOB, "contact_id": "c-1"}],
    }
    cli.register([old])
    cli.command("poll", "--once")
    before = cli.rows("timeline", "--all")
    cli.environment["BOUNCE_WORKER_SENDS_DAYS"] = "30"
    cli.command("poll", "--once")
    assert cli.rows("timeline", "--all") == before
    assert "sends are kept for 30 days" in cli.command("sends", "import", "-", input=json.dumps(old), code=1)
    assert "send-1@crm.example" in cli.command("bounces", "show", before[0]["id"][:6])
    cli.command("bounces", "unbounce", BOB, "-a", "acme", "--by", "ann", "--why", "he called")
    (entry,) = cli.rows("timeline", "--all")
    assert entry["ended_by"] == "unbounced"
    held = json.loads(cli.output("contact", "export", BOB, "-a", "acme"))["held"]
    assert "bounces" in held
    assert not held.keys() & {"sends", "send_recipients"}
