"""A mailbox of Microsoft 365, by Microsoft Graph. Reading stops at a link of a delta query of each folder.

An idle poll asks one delta query per folder, and new messages come with it: their headers and their class, no body.

A first poll's queries begin at the given moment. Such a query tells 5,000 messages at most, so where one has told
nearly as many, the folder is listed as well, oldest first, and another query is begun.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from connectors._graph_cursor import Backlog, Place, Reading, fingerprint
from connectors._graph_folders import MAY_BE_MISSING, all_folders, default_folders, find_folders
from connectors._graph_http import GraphSession, TooLarge
from connectors._graph_items import Entry, envelope, is_unknown, moment, sent_envelope
from connectors._graph_messages import PAGE, Messages
from connectors.base import SENT_LIMIT, CredentialStore, Cursor, Envelope, Fetched, Folder, MessageRef, Page
from connectors.errors import CursorExpired, MessageGone, Unavailable
from connectors.network import Dial, dial
from connectors.settings import Office365Settings

EMPTY_PAGES: Final = 10
"""Pages without a message that one poll follows in one folder; Graph may send many before a message."""

QUOTA: Final = 10_000
"""https://learn.microsoft.com/graph/throttling-limits#outlook-service-limits"""

LONG_ENOUGH: Final = 30.0
"""For how many seconds a poll asks on; with its last request it stays below the time that a task has."""


class Office365Connector:
    """See `Connector`. Keeps its connection from the first poll or fetch until `close`."""

    def __init__(self, settings: Office365Settings, credentials: CredentialStore, dial: Dial = dial) -> None:
        self._settings = settings
        self._session = GraphSession(settings, credentials, dial)

    def poll(self, since: Cursor | datetime) -> Page:
        reading = Reading.start(since) if isinstance(since, datetime) else Reading.from_cursor(since)
        # A cursor that was made for another cloud, or by somebody else, must not send the token there.
        if not all(self._session.is_own(place.link) for place in reading.places.values() if place.link):
            raise CursorExpired("This inbox was read at another address before: its recent mail is read again.")
        turn = _Turn(Messages(self._session))
        for name, place in self._places(reading).items():
            turn.read(name, place)
        envelopes = tuple(map(envelope, turn.entries()))
        cursor = replace(reading, places=turn.places).cursor()
        return Page(envelopes=envelopes, cursor=cursor, has_more=turn.has_more)

    def fetch(self, ref: MessageRef, max_bytes: int) -> Fetched:
        try:
            return Messages(self._session).content(ref, max_bytes)
        except CursorExpired:  # 410
            raise MessageGone("The message isn't in the mailbox any more.") from None

    def folders(self) -> Sequence[Folder]:
        return all_folders(self._session, self._settings.folders)

    def sent(self, since: datetime, until: datetime) -> Sequence[Envelope]:
        try:
            return [sent_envelope(each) for each in Messages(self._session).last_sent(since, until, SENT_LIMIT)]
        except MessageGone:
            return []

    def quota(self) -> str:
        return (
            f"{self._session.requests:,} of the {QUOTA:,} requests were sent that an app may send a mailbox in ten"
            " minutes; an idle poll takes one for each folder."
        )

    def close(self) -> None:
        self._session.close()

    def _places(self, reading: Reading) -> dict[str, Place]:
        """Return where to read on in each folder. One that is new to us is read as at a first poll."""
        chosen = self._settings.folders
        if not chosen:
            folders = default_folders()
        elif all(name in reading.places for name in chosen):
            return {name: reading.places[name] for name in chosen}
        else:
            folders = find_folders(self._session, chosen)
        known = {name: place for name, place in reading.places.items() if folders.get(name) == place.folder}
        return {name: known.get(name) or reading.place(folder) for name, folder in folders.items()}


@dataclass(slots=True)
class _Turn:
    """One poll: what it has found so far, and how far it got."""

    messages: Messages
    found: dict[str, Entry] = field(default_factory=dict)
    places: dict[str, Place] = field(default_factory=dict)
    has_more: bool = False
    ends_at: float = field(default_factory=lambda: time.monotonic() + LONG_ENOUGH)

    def read(self, name: str, place: Place) -> None:
        """Read on in one folder, unless the others have filled a page: the next poll begins with them again."""
        if self._is_full():
            self.has_more = True
            self.places[name] = place
            return
        try:
            place = self._follow(place)
            if place.backlog is not None and not self._is_full():
                place = self._list(place, place.backlog)
        except MessageGone:
            if place.folder in MAY_BE_MISSING:
                return  # this mailbox has no such folder: we look for it again each time
            if place.link is None:
                raise Unavailable(f"The folder {name!r} is gone; it will be looked for again.") from None
            raise CursorExpired(f"The folder {name!r} is gone or made anew: recent mail is read again.") from None
        self.has_more = self.has_more or not place.is_over or place.backlog is not None
        self.places[name] = place

    def entries(self) -> list[Entry]:
        """Return what was found. What a delta query left bare is asked for message by message, while there is time."""
        return [whole for each in self.found.values() if (whole := self._whole(each)) is not None]

    def _is_full(self) -> bool:
        return len(self.found) >= PAGE or self._is_late()

    def _is_late(self) -> bool:
        return time.monotonic() > self.ends_at

    def _follow(self, place: Place) -> Place:
        """Follow the links of a delta query up to a page that has messages, or the end of the round."""
        for _ in range(EMPTY_PAGES):
            changes = self.messages.changes(place)
            received = [moment(each.get("receivedDateTime")) for each in changes.entries]
            place = place.moved(changes.link, received, is_over=changes.is_over)
            self.found |= {each["id"]: each for each in changes.entries}
            if changes.is_over or changes.entries or self._is_late():
                break
        return place

    def _list(self, place: Place, backlog: Backlog) -> Place:
        """List the next page of a backlog."""
        entries, is_last = self.messages.listing(place.folder, backlog)
        known = set(backlog.tail)
        new = [each for each in entries if fingerprint(each["id"]) not in known]
        self.found |= {each["id"]: each for each in new}
        return replace(place, backlog=None if is_last else _moved(backlog, entries, new))

    def _whole(self, entry: Entry) -> Entry | None:
        if not is_unknown(entry) or self._is_late():
            return entry
        try:
            return self.messages.one(entry["id"])
        except MessageGone:
            return None
        except TooLarge:
            return entry


def _moved(backlog: Backlog, entries: Sequence[Entry], new: Sequence[Entry]) -> Backlog:
    """Return the place after a page of a listing: at the second in which its last message came."""
    moments = [moment(each.get("receivedDateTime")) for each in entries]
    last = moments[-1] if moments else None
    if last is None or not new or last < datetime.fromisoformat(backlog.since):
        raise Unavailable("The server's listing doesn't get on; it will be tried again.")
    at = last.isoformat(timespec="seconds")
    tail = tuple(fingerprint(each["id"]) for each, came in zip(entries, moments, strict=True) if came == last)
    return Backlog(at, tail)
