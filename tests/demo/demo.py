"""The main job on the embedded default: real notices in two accounts' inboxes, worked off by `bounce-worker run`.

This script only lays out mailboxes and a CRM's list of sends, as a CRM and its mail provider would, and then types the
commands that an operator types. It writes no row: all that it shows was read through a connector and committed by a
Celery task.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
CORPUS = HERE.parent / "corpus"
DATA = HERE.parents[1] / "demo-data"
COMMAND = str(Path(sys.executable).with_name("bounce-worker"))
ORDINARY_PER_INBOX = 150
NAMES = ("Ada", "Bruno", "Chiara", "Dag", "Elif", "Farid", "Greta", "Hana", "Ivo", "Jana", "Kofi", "Lena")


@dataclass(frozen=True)
class Inbox:
    """A connected inbox of the demo, and the folders of the corpus whose notices lie in it."""

    account: str
    name: str
    address: str
    samples: tuple[str, ...]

    @property
    def maildir(self) -> Path:
        return DATA / "mail" / self.account / self.name


INBOXES = (
    Inbox("acme", "alice", "alice@sender.test", ("lab/postfix", "lab/sendmail", "made")),
    Inbox("globex", "sales", "sales@globex.example", ("lab/exim", "lab/opensmtpd")),
)


def main() -> None:
    """Lay out the scene, run the worker, show what it found."""
    started = time.monotonic()
    shutil.rmtree(DATA, ignore_errors=True)
    environment = {
        **os.environ,
        "BOUNCE_WORKER_DATA": str(DATA / "worker"),
        "BOUNCE_WORKER_SENDS_DAYS": "0",  # the notices are real and their emails may be old
        "COLUMNS": os.environ.get("COLUMNS", "118"),
    }
    for variable in ("DATABASE_URL", "REDIS_URL", "BOUNCE_WORKER_KEYS", "BOUNCE_WORKER_CRM_TASK"):
        environment.pop(variable, None)
    sends = lay_out()
    notices = sum(1 for inbox in INBOXES for _ in samples(inbox))
    say(
        f"Two accounts, {len(INBOXES)} inboxes: {notices} notices from Postfix, Sendmail, Exim, OpenSMTPD, Gmail,"
        f" Exchange and others lie among {ORDINARY_PER_INBOX * len(INBOXES)} ordinary messages;"
        f" the CRM sent {len(sends)} emails."
    )

    def run(*arguments: str) -> None:
        print(f"\n$ bounce-worker {' '.join(arguments)}", flush=True)
        subprocess.run([COMMAND, *arguments], env=environment, check=True)

    run("apply", str((DATA / "inboxes.toml").relative_to(Path.cwd())))
    run("sends", "import", str((DATA / "sends.jsonl").relative_to(Path.cwd())))
    run("run", "--until-idle")
    for account in dict.fromkeys(inbox.account for inbox in INBOXES):
        say(f"What the contacts of {account} now have on their timelines:")
        run("timeline", "--all", "--account", account)
    say("Why is the worker so sure? Every verdict shows its evidence:")
    run("bounces", "show", telling_bounce(environment))
    say("What was not proven waits for a person, and has touched nobody:")
    run("review", "list")
    run("inbox", "list")
    print(
        f"\nDone in {time.monotonic() - started:.0f} s. All of it lies in {DATA.name}/ (make clean removes it). Next:\n"
        "  bounce-worker scan PATH --sends sends.jsonl   a dry run over mail of your own (Maildir, mbox, .eml)\n"
        "  bounce-worker inbox add --help                connect an inbox\n"
        "  README.md, “Connecting your CRM”              register sends, receive events"
    )


def say(sentence: str) -> None:
    """Print a sentence between commands."""
    print(f"\n── {sentence}", flush=True)


def telling_bounce(environment: dict[str, str]) -> str:
    """Return the id of a bounce that was matched by id and whose server said something."""
    command = [COMMAND, "timeline", "--all", "--json"]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    entries = [json.loads(line) for line in done.stdout.splitlines()]
    best = next(e for e in reversed(entries) if e["reason"] == "unknown_user" and e["diagnostic"])
    return str(best["id"])[:12]


def samples(inbox: Inbox) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield an inbox's notices and what is known of them."""
    for folder in inbox.samples:
        for path in sorted((CORPUS / folder).glob("*.eml")):
            yield path, json.loads(path.with_suffix(".json").read_text())


def lay_out() -> list[dict[str, Any]]:
    """Write the mailboxes, the CRM's sends and the declaration of inboxes; return the sends."""
    sends: list[dict[str, Any]] = []
    for inbox in INBOXES:
        for folder in ("cur", "new", "tmp"):
            (inbox.maildir / folder).mkdir(parents=True)
        for number, (path, known) in enumerate(samples(inbox)):
            deliver(inbox, f"notice-{number:03}", path.read_bytes())
            if send := send_for(inbox, known, len(sends)):
                sends.append(send)
        deliver(inbox, "forged", forged(inbox))
        for number in range(ORDINARY_PER_INBOX):
            deliver(inbox, f"mail-{number:03}", ordinary(inbox, number))
        sends += [delivered(inbox, len(sends) + n) for n in range(10)]
    (DATA / "sends.jsonl").write_text("".join(json.dumps(send) + "\n" for send in sends))
    (DATA / "inboxes.toml").write_text("\n".join(declaration(inbox) for inbox in INBOXES))
    return sends


def deliver(inbox: Inbox, name: str, raw: bytes) -> None:
    """Put a message in a mailbox, as a mail server does."""
    (inbox.maildir / "new" / f"{time.time_ns()}.{name}.demo").write_bytes(raw)


def declaration(inbox: Inbox) -> str:
    """Return an inbox as `bounce-worker apply` reads it."""
    return (
        f'[[inbox]]\naccount = "{inbox.account}"\nname = "{inbox.name}"\naddress = "{inbox.address}"\n'
        f'provider = "maildir"\nsince = 2020-01-01\nsettings = {{path = "{inbox.maildir}"}}\n'
    )


def send_for(inbox: Inbox, known: dict[str, Any], number: int) -> dict[str, Any] | None:
    """Return the email that a notice answers, as the CRM registered it when it was sent."""
    original = known.get("original") or {}
    if not original.get("message_id") or not known.get("recipients"):
        return None
    addresses = dict.fromkeys(r.get("original_recipient") or r["final_recipient"] for r in known["recipients"])
    date = original.get("date")
    sent_at = parsedate_to_datetime(date) if date else datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
    return send(inbox, number, original["message_id"], list(addresses), sent_at, original.get("subject"))


def forged(inbox: Inbox) -> bytes:
    """Return a notice that names one of the CRM's emails, but a recipient to whom it wasn't written."""
    real = next(path for path, _ in samples(inbox) if "user-unknown" in path.name)
    other = real.read_bytes().replace(b"nobody@customer.test", b"the-boss@customer.test")
    return other.replace(b"Subject: ", b"Subject: Re: ", 1)


def delivered(inbox: Inbox, number: int) -> dict[str, Any]:
    """Return an email that simply arrived."""
    address = f"{NAMES[number % len(NAMES)].lower()}@fine.example"
    return send(
        inbox, number, f"fine-{number}@crm.example", [address], datetime(2026, 11, 22, 9, 0, tzinfo=UTC), "Hello"
    )


def send(
    inbox: Inbox, number: int, message_id: str, addresses: list[str], sent_at: datetime, subject: str | None
) -> dict[str, Any]:
    """Return one send in the CRM's JSON; every third belongs to a sequence."""
    sequence = {"sequence_id": "autumn", "enrollment_id": f"e-{number}"} if number % 3 == 2 else {}
    return {
        "id": f"{inbox.account}-{number}",
        "account": inbox.account,
        "inbox": inbox.name,
        "kind": "sequence" if sequence else "one_to_one",
        **sequence,
        "message_id": message_id,
        "sent_at": (sent_at if sent_at.tzinfo else sent_at.replace(tzinfo=UTC)).isoformat(),
        "subject": subject,
        "from": inbox.address,
        "recipients": [{"address": a, "contact_id": f"{a.partition('@')[0]}-{number}"} for a in addresses],
    }


def ordinary(inbox: Inbox, number: int) -> bytes:
    """Return a message such as people write."""
    name = NAMES[number % len(NAMES)]
    return (
        f"From: {name} <{name.lower()}@fine.example>\r\nTo: {inbox.address}\r\nSubject: Re: lunch on day {number}\r\n"
        f"Date: {format_datetime(datetime(2026, 11, 22, 8, tzinfo=UTC))}\r\nMessage-ID: <day-{number}@fine.example>\r\n"
        f"\r\nSounds good, see you then.\r\n{name}\r\n"
    ).encode()


if __name__ == "__main__":
    main()
