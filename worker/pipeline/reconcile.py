"""Which ids did our emails leave under? The Sent folder knows; headers only, and each email is looked for few times."""

import logging
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final

from connectors import Connector, ConnectorError, Envelope
from worker.domain import SentEmail
from worker.match import aliases
from worker.pipeline.context import Context
from worker.store import lookups, sends
from worker.store.database import reading, writing
from worker.store.inboxes import Inbox

log = logging.getLogger(__name__)

SPANS: Final = 5
"""How many stretches of time one poll may ask the Sent folder for."""
LATE: Final = sum(lookups.AGAIN, timedelta())
"""How much later than it says a copy may have been put into its folder: as long as we go on looking.

Its place in time (IMAP's INTERNALDATE) is then that of the putting; when it was sent its own date tells.
"""


def reconcile(context: Context, inbox: Inbox, connector: Connector) -> int:
    """Look for sends whose ids we don't know, or that a notice may mean; return how many ids were learned.

    A Sent folder that can't be read stops nobody: what matters is in the inbox.
    """
    now = context.now()
    with reading(context.engine) as connection:
        ids = lookups.due(connection, inbox.account, inbox.name, now)
        wanted = list(sends.load(connection, inbox.account, ids).values()) if ids else []
    if not ids:
        return 0
    looked: list[SentEmail] = []
    envelopes: list[Envelope] = []
    try:
        for span in list(_spans(wanted))[:SPANS]:
            looked += span
            since, until = span[0].sent_at - aliases.APART, span[-1].sent_at + aliases.APART + LATE
            envelopes += connector.sent(since, until)
    except ConnectorError as error:
        log.warning("inbox.sent_folder_failed", extra={"inbox": inbox.id, "error": type(error).__name__})
        looked = wanted
    learned = list(aliases.learn(looked, envelopes))
    found = {send.id for send, _ in learned}
    unknown = set(ids) - {send.id for send in wanted}  # forgotten meanwhile
    with writing(context.engine) as connection:
        sends.add_aliases(connection, learned, context.digest)
        lookups.looked(connection, inbox.account, found, ({send.id for send in looked} | unknown) - found, now)
    return len(learned)


def _spans(wanted: Sequence[SentEmail]) -> Iterator[list[SentEmail]]:
    """Yield emails that were sent close together: one question to the server for each lot."""
    lot: list[SentEmail] = []
    end: datetime | None = None
    for send in sorted(wanted, key=lambda send: send.sent_at):
        if end is not None and send.sent_at > end:
            yield lot
            lot = []
        lot.append(send)
        end = send.sent_at + 2 * aliases.APART
    if lot:
        yield lot
