"""Telling the CRM that an inbox needs a person, in the transaction that found it out."""

from datetime import datetime

from sqlalchemy.engine import Connection

from worker import entry
from worker.store import outbox
from worker.store.inboxes import Inbox


def tell(connection: Connection, inbox: Inbox, state: str, what_to_do: str, now: datetime) -> None:
    """Put the event in the outbox."""
    event = entry.inbox_event(inbox.account, inbox.name, state, what_to_do, now)
    outbox.add(connection, [(event["id"], inbox.account, event["type"], event)], now)
