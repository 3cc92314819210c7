"""A CRM in one file: it writes through a connected inbox, hears what bounced, and knows whom not to write to again.

    python crm.py serve                          take the webhook's calls…
    python crm.py feed                           …or ask for events instead
    python crm.py send bob@customer.test c-1     write to a contact
    python crm.py timeline c-1                   what happened to them
    python crm.py unbounce bob@customer.test "he called, his mailbox works"

README.md, "Connecting your CRM", walks through it. Of bounce-worker it needs `worker.client` and nothing else.
"""

import os
import smtplib
import sqlite3
import ssl
import sys
from collections.abc import Iterable
from contextlib import closing
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import make_msgid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

from worker.client import ApiProblem, BounceEvent, BounceWorker, ContactEvent, Event, InvalidEvent, Send, To, verify

SETTINGS: Final = {
    "BOUNCE_URL": "http://127.0.0.1:8000",
    "BOUNCE_KEY": "",  # of `bounce-worker keys create`
    "WEBHOOK_SECRET": "",  # of `bounce-worker webhooks add`; while it is changed both, with a comma between
    "INBOX": "alice",  # the connected inbox…
    "INBOX_ADDRESS": "alice@sender.test",  # …and its address
    "SMTP_HOST": "127.0.0.1",
    "SMTP_PORT": "587",
    "SMTP_PASSWORD": "",  # where there is one: sign in, by STARTTLS
    "CRM_PORT": "8001",
    "CRM_DATABASE": "crm.sqlite3",
}
TABLES: Final = """
CREATE TABLE IF NOT EXISTS events (id TEXT PRIMARY KEY, contact_id TEXT, line TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS feed (id INTEGER PRIMARY KEY, position TEXT NOT NULL);
"""
MOST: Final = 1024 * 1024  # bytes of a call; an event has some thousands


def setting(name: str) -> str:
    return os.environ.get(name) or SETTINGS[name]


def database() -> sqlite3.Connection:
    connection = sqlite3.connect(setting("CRM_DATABASE"))
    connection.executescript(TABLES)
    return connection


def keep(connection: sqlite3.Connection, events: Iterable[Event]) -> None:
    """Put events on the timelines. Each may come more than once: its id is the key, so a repeat changes nothing."""
    rows = [(event.id, getattr(event, "contact_id", None), line(event)) for event in events]
    connection.executemany("INSERT OR IGNORE INTO events VALUES (?, ?, ?)", rows)


def line(event: Event) -> str:
    """Say an event in a line. The server's words are a stranger's: they are shown, and never obeyed."""
    match event:
        case BounceEvent(bounce=why) | ContactEvent(bounce=why):
            said = f"{why.type}, {why.reason}, fault: {why.fault}; {why.diagnostic or 'no words'}"
            return f"{why.ended_at or why.occurred_at:%Y-%m-%d %H:%M}  {event.type}  {event.address} ({said})"
        case _:  # a sequence to end, an inbox that needs a person, an incident, …
            return f"{datetime.now(UTC):%Y-%m-%d %H:%M}  {event.type}"


def send(worker: BounceWorker, address: str, contact_id: str) -> None:
    """Write to a contact, unless that is known to be of no use."""
    status = worker.email_status([address])[address]
    if not status.may_email:
        sys.exit(f"{address} gets no mail: {status.status} ({status.email_hard_bounce_reason}).")
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = setting("INBOX_ADDRESS"), address, "Our offer"
    message["Message-ID"] = name = make_msgid(domain=setting("INBOX_ADDRESS").partition("@")[2])
    message.set_content("Hello,\nthis is our offer.\n")
    email = Send(
        id=name,
        inbox=setting("INBOX"),
        kind="one_to_one",
        sent_at=datetime.now(UTC),
        message_id=name,
        recipients=[To(address=address, contact_id=contact_id)],
    )
    # Registered first: should this program end between the two, no bounce is without its email.
    if refused := worker.register(email).refused:
        sys.exit(refused[0].why)
    with smtplib.SMTP(setting("SMTP_HOST"), int(setting("SMTP_PORT"))) as smtp:
        if password := setting("SMTP_PASSWORD"):
            smtp.starttls(context=ssl.create_default_context())
            smtp.login(setting("INBOX_ADDRESS"), password)
        smtp.send_message(message)
    print(f"Sent to {address}.")


class Calls(BaseHTTPRequestHandler):
    """Takes the webhook's calls: 2xx says that the event is kept; after anything else it comes again."""

    def do_POST(self) -> None:
        try:
            body = self.rfile.read(min(int(self.headers["Content-Length"] or 0), MOST))
            event = verify(setting("WEBHOOK_SECRET").split(","), dict(self.headers), body)
        except InvalidEvent as problem:
            self.send_error(400, str(problem))
            return
        with closing(database()) as connection, connection:  # committed at its end, before the answer
            keep(connection, [event])
        self.send_response(204)
        self.end_headers()


def read_feed(worker: BounceWorker) -> None:
    """Ask for events, for ever. The position is kept in the same transaction as the events before it."""
    with closing(database()) as connection:
        (position,) = connection.execute("SELECT max(position) FROM feed").fetchone()
        for events, following in worker.events(position):
            with connection:
                keep(connection, events)
                connection.execute("INSERT OR REPLACE INTO feed VALUES (1, ?)", [following])


def main(*words: str) -> None:
    with BounceWorker(setting("BOUNCE_URL"), setting("BOUNCE_KEY")) as worker:
        match words:
            case ["serve"]:
                ThreadingHTTPServer(("127.0.0.1", int(setting("CRM_PORT"))), Calls).serve_forever()
            case ["feed"]:
                read_feed(worker)
            case ["send", address, contact_id]:
                send(worker, address, contact_id)
            case ["timeline", contact_id]:
                query = "SELECT line FROM events WHERE contact_id = ? ORDER BY rowid"
                print(*(text for (text,) in database().execute(query, [contact_id])), sep="\n")
            case ["unbounce", address, why]:
                print(f"Lifted by decision {worker.unbounce(address, why)}.")
            case _:
                sys.exit(__doc__)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except (ApiProblem, OSError) as problem:
        sys.exit(str(problem))
