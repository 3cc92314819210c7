"""The example CRM from end to end, with nothing faked: real mail, a real bounce, the real processes."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
import urllib3
from standardwebhooks import Webhook

from tests.live.deployment import ROOT, Deployment
from tests.live.mailstack import MailStack
from tests.live.processes import free_ports, listens
from worker.client import BounceWorker

pytestmark = [pytest.mark.live, pytest.mark.timeout(240)]

CRM = Path(__file__).with_name("crm.py")
NOBODY = "nobody@customer.test"
FIRST = ["bounce.attached", "contact.excluded"]
LIFTED = ["bounce.updated", "contact.unbounced"]


@dataclass
class Crm:
    """The example, as its developer runs it."""

    deployment: Deployment
    settings: dict[str, str]

    @property
    def environment(self) -> dict[str, str]:
        return {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **self.settings}

    def run(self, *words: str, code: int = 0) -> str:
        command = [sys.executable, str(CRM), *words]
        done = subprocess.run(
            command, env=self.environment, capture_output=True, text=True, check=False, timeout=60, cwd=ROOT
        )
        assert done.returncode == code, done.stdout + done.stderr + self.deployment.logs()
        return done.stdout + done.stderr

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        return self.deployment.start_program([sys.executable, str(CRM), *words], words[0], **self.settings)

    def types(self, contact: str) -> list[str]:
        return [line.split()[2] for line in self.run("timeline", contact).splitlines() if line]

    def calls(self) -> int:
        """Return how many of the webhook's calls it took, by its own log."""
        return (self.deployment.folder / "serve.log").read_text().count('"POST / HTTP/1.1" 204')

    def until(self, contact: str, types: list[str]) -> None:
        self.deployment.until(lambda: self.types(contact) == types, f"{types} on the timeline of {contact}")


@pytest.fixture
def crm(tmp_path: Path, mail_stack: MailStack) -> Iterator[Crm]:
    """A CRM with a connected inbox and a key, beside `bounce-worker run`."""
    address = mail_stack.fresh_inbox()
    api, hook = free_ports(2)
    with Deployment(tmp_path, INBOX_PASSWORD=mail_stack.password) as deployment:
        deployment.command(
            *("inbox", "add", "alice", "--account", "acme", "--address", address, "--provider", "imap"),
            *("--host", mail_stack.host, "--port", str(mail_stack.ports.imaps), "--ca-file", mail_stack.ca_file),
            *("--password-env", "INBOX_PASSWORD"),
        )
        scopes = [word for scope in ("send", "read", "manage") for word in ("--scope", scope)]
        (key,) = deployment.rows("keys", "create", "crm", "--account", "acme", *scopes)
        settings = {
            "BOUNCE_URL": f"http://127.0.0.1:{api}",
            "BOUNCE_KEY": key["key"],
            "INBOX_ADDRESS": address,
            "SMTP_PORT": str(mail_stack.ports.smtp),
            "CRM_PORT": str(hook),
            "CRM_DATABASE": str(tmp_path / "crm.sqlite3"),
        }
        deployment.start("run", "--port", str(api))
        deployment.until(lambda: listens(api), "the API")
        yield Crm(deployment, settings)


def connect_webhook(crm: Crm) -> str:
    """Have the CRM called, and serve the calls; return the webhook's id. Its secret is one of two, as in rotation."""
    port = int(crm.settings["CRM_PORT"])
    (added,) = crm.deployment.rows("webhooks", "add", f"http://127.0.0.1:{port}/", "--account", "acme")
    crm.settings["WEBHOOK_SECRET"] = f"whsec_{'A' * 43}=,{added['secret']}"
    crm.start("serve")
    crm.deployment.until(lambda: listens(port), "the CRM")
    return added["id"]


def test_a_bounce_arrives_by_webhook_and_is_lifted(crm: Crm):
    webhook = connect_webhook(crm)
    assert crm.deployment.command("webhooks", "test", webhook) == "It took the test event.\n"

    assert crm.run("send", NOBODY, "c-1") == f"Sent to {NOBODY}.\n"
    crm.run("send", "bob@customer.test", "c-2")
    crm.until("c-1", FIRST)
    told = crm.run("timeline", "c-1")
    assert "hard, unknown_user, fault: address; " in told
    assert "550 5.1.1" in told
    assert crm.types("c-2") == []
    refused = crm.run("send", NOBODY, "c-1", code=1)
    assert refused == f"{NOBODY} gets no mail: previously_bounced_in_account (unknown_user).\n"

    assert crm.run("unbounce", NOBODY, "she called, it works now").startswith("Lifted by decision")
    crm.until("c-1", [*FIRST, *LIFTED])
    crm.run("send", NOBODY, "c-1")  # it may be written to again, and bounces anew
    crm.until("c-1", [*FIRST, *LIFTED, *FIRST])


def test_the_same_call_twice_is_on_the_timeline_once(crm: Crm):
    webhook = connect_webhook(crm)
    crm.run("send", NOBODY, "c-1")
    crm.until("c-1", FIRST)
    before = crm.run("timeline", "c-1")
    with BounceWorker(crm.settings["BOUNCE_URL"], crm.settings["BOUNCE_KEY"]) as worker:
        events, _ = next(worker.events())
    calls = crm.calls()
    for event in events:
        crm.deployment.command("webhooks", "replay", webhook, "--event", event.id)
    crm.deployment.until(lambda: crm.calls() == calls + len(events), "the same calls again")
    assert crm.run("timeline", "c-1") == before


def test_a_forged_call_is_refused(crm: Crm):
    connect_webhook(crm)
    event = {"schema": 1, "id": "e-1", "type": "test", "account": "acme", "at": "2026-11-22T12:00:00Z"}
    body, now = json.dumps(event), datetime.now(UTC)
    stranger = Webhook("whsec_" + "B" * 43 + "=").sign("e-1", now, body)
    headers = {"webhook-id": "e-1", "webhook-timestamp": str(int(now.timestamp())), "webhook-signature": stranger}
    answer = urllib3.request("POST", f"http://127.0.0.1:{crm.settings['CRM_PORT']}/", body=body, headers=headers)
    assert answer.status == 400
    assert "The signature is wrong" in answer.data.decode()


def test_the_same_by_asking_for_events(crm: Crm):
    feed = crm.start("feed")
    crm.run("send", NOBODY, "c-1")
    crm.until("c-1", FIRST)
    crm.deployment.kill(feed)
    crm.run("unbounce", NOBODY, "she called, it works now")
    assert crm.types("c-1") == FIRST
    crm.start("feed")  # goes on where the other one was killed
    crm.until("c-1", [*FIRST, *LIFTED])
