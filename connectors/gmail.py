"""A mailbox of Gmail or Google Workspace, by the Gmail API. Reading stops at an id of the mailbox's history.

An idle poll is one history.list. New messages cost their headers, by batches, and no body; or with `prefilter` one
search for delivery reports, and no headers.

A first poll notes the history id and then lists what there is. In this order nothing is missed: what came before the
id is in the listing, unless it is gone; what came after it is told by the history. What came between the two is told by
both, and dropped once. What Gmail's search didn't know yet is found by listing the last hour once more, later. A poll
looks at no more messages than the mailbox's quota has room for; the others wait in the cursor.
"""

import time
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final

from connectors import _gmail_query as query
from connectors._gmail_cursor import Awaited, Reading, whole_second
from connectors._gmail_http import GmailSession
from connectors._gmail_labels import shown
from connectors._gmail_questions import Looked, Questions
from connectors._gmail_quota import GET, HISTORY, LIST, UNITS
from connectors._gmail_turn import LAG, OVERLAP, Turn
from connectors.base import (
    ENVELOPE_HEADERS,
    SENT_HEADERS,
    SENT_LIMIT,
    CredentialStore,
    Cursor,
    Envelope,
    Fetched,
    Folder,
    MessageRef,
    Page,
)
from connectors.errors import Misconfigured
from connectors.network import Dial, dial
from connectors.settings import GmailSettings

PAGE: Final = 100
"""Messages in one page: two batches."""

DAY: Final = 86_400


class GmailConnector:
    """See `Connector`. Keeps its connection from the first poll or fetch until `close`."""

    def __init__(
        self,
        settings: GmailSettings,
        credentials: CredentialStore,
        dial: Dial = dial,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._session = GmailSession(settings, credentials, dial)
        self._questions = Questions(self._session)
        self._clock = clock

    def poll(self, since: Cursor | datetime) -> Page:
        known = None if isinstance(since, datetime) else Reading.from_cursor(since)
        is_prefiltered = self._settings.prefilter
        with self._session.use():
            reading = known or self._start(since)
            turn = Turn(reading, self._questions, self._settings, int(self._clock()), is_first=known is None)
            if known or reading.has_more:
                turn.find()
            envelopes = turn.hand_out(PAGE) if is_prefiltered else self._look(turn)
        reading = turn.reading
        return Page(
            envelopes=tuple(envelopes), cursor=reading.cursor(), has_more=reading.has_more, prefiltered=is_prefiltered
        )

    def fetch(self, ref: MessageRef, max_bytes: int) -> Fetched:
        with self._session.use():
            return self._questions.content(ref, max_bytes)

    def folders(self) -> Sequence[Folder]:
        with self._session.use():
            return shown(self._questions.labels(), self._questions.counts)

    def sent(self, since: datetime, until: datetime) -> Sequence[Envelope]:
        searched = query.between(whole_second(since), whole_second(until), "in:sent")
        with self._session.use():
            meter = self._session.meter
            found = self._questions.messages(searched, everywhere=False)
            refs, room = list(found.messages)[:SENT_LIMIT], meter.room()
            # Half a minute's quota is worth going on with; all of it there never is, as asking has cost some already.
            if room < min(len(refs) * UNITS[GET], meter.limit // 2):
                meter.refuse(min(len(refs) * UNITS[GET], meter.limit // 2))
            looked = dict(self._questions.headers(refs[: room // UNITS[GET]], SENT_HEADERS)).values()
        envelopes = [each.envelope for each in looked if isinstance(each, Looked)]
        return [each for each in envelopes if each.received_at is None or since <= each.received_at <= until]

    def quota(self) -> str:
        meter = self._session.meter
        used = f"{meter.limit - meter.room():,} of the {meter.limit:,} units that reading may use in a minute were used"
        each = f"new mail {UNITS[LIST]} in all" if self._settings.prefilter else f"a new message {UNITS[GET]}"
        return f"{used}; an idle poll costs {UNITS[HISTORY]}, {each}, a notice that is fetched {UNITS[GET]}."

    def close(self) -> None:
        self._session.close()

    def _start(self, since: Cursor | datetime) -> Reading:
        """Note where the history stands, and whose mailbox the sign-in leads to."""
        address, history = self._questions.profile()
        if _plain(address) != _plain(self._settings.address):
            raise Misconfigured(
                f"The sign-in leads to the mailbox {address} and not to {self._settings.address}:"
                " sign in with that one, or correct the address."
            )
        now = int(self._clock())
        first = whole_second(since) if isinstance(since, datetime) else 0
        if first > now + DAY:
            return Reading(history=history, complete=now)
        again = Awaited(since=max(first, now - OVERLAP), until=now + LAG, ids=())
        return Reading(history=history, since=first, page="", complete=now, again=again)

    def _look(self, turn: Turn) -> list[Envelope]:
        """Read the headers of as many messages as the quota has room for."""
        meter, waiting = self._session.meter, list(turn.reading.todo)
        refs = waiting[: min(PAGE, meter.room() // UNITS[GET])]
        if waiting and not refs and not turn.has_moved:
            meter.refuse(min(PAGE, len(waiting), max(1, meter.limit // UNITS[GET])) * UNITS[GET])
        return turn.look(refs, dict(self._questions.headers(refs, ENVELOPE_HEADERS)))


def _plain(address: str) -> str:
    """Return an address as Gmail compares them (https://support.google.com/mail/answer/7436150)."""
    local, _, domain = address.lower().rpartition("@")
    if domain not in ("gmail.com", "googlemail.com"):
        return f"{local}@{domain}"
    return f"{local.partition('+')[0].replace('.', '')}@gmail.com"
