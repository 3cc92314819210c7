"""Near-real-time: a notice that arrives is on the timeline long before the inbox's turn to be polled."""

from datetime import datetime
from pathlib import Path

import pytest

from tests.fakes.notices import dsn
from tests.live.deployment import Deployment
from tests.live.mailstack import MailStack

pytestmark = pytest.mark.live

SEND = {
    "id": "s-1",
    "account": "acme",
    "inbox": "alice",
    "kind": "one_to_one",
    "sent_at": "2026-11-22T10:00:00Z",
    "message_id": "<send-1@crm.example>",
    "recipients": [{"address": "bob@customer.example", "contact_id": "c-1"}],
}


def test_the_server_rings_and_the_bounce_is_there(tmp_path: Path, mail_stack: MailStack):
    a_day = "86400"
    with Deployment(tmp_path, BOUNCE_WORKER_POLL_SECONDS=a_day, INBOX_PASSWORD=mail_stack.password) as cli:
        address = mail_stack.fresh_inbox()
        cli.command(
            *("inbox", "add", "alice", "--account", "acme", "--address", address, "--provider", "imap"),
            *("--host", "127.0.0.1", "--port", str(mail_stack.ports.imaps), "--ca-file", str(mail_stack.ca_file)),
            *("--password-env", "INBOX_PASSWORD"),
        )
        cli.register([SEND])
        cli.start("run", "--no-web")
        cli.start("watch")
        cli.until(lambda: "Watching 1 inboxes" in (tmp_path / "watch-1.log").read_text(), "the inbox is watched")

        def polled_since_it_is_watched() -> bool:
            (row,) = cli.rows("inbox", "list")
            return row["caught_up_at"] is not None and in_hours(row["next_poll_at"])

        cli.until(polled_since_it_is_watched, "all polls that were due are done")
        mail_stack.deliver_all([dsn()], user=address)
        cli.until(lambda: len(cli.rows("timeline", "--all")) == 1, "the bounce is on the timeline")


def in_hours(moment: str) -> bool:
    at = datetime.fromisoformat(moment)
    return (at - datetime.now(at.tzinfo)).total_seconds() > 3600
