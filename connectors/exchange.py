"""An Exchange server of one's own, by EWS. Reading stops at a sync state of each folder.

An idle poll asks one SyncFolderItems per folder. New messages cost one GetItem for their properties, and no body.

A first poll leads the sync state past all that a folder holds, ids only, and then lists what arrived since the given
moment. In this order nothing is missed: what came before the end of the walk is in the listing, unless it is gone; what
came after it is told by the sync state. What came between the walk and the listing is told by both, and dropped once.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Final

from connectors._exchange_cursor import Backlog, Place, Reading, fingerprint
from connectors._exchange_folders import JUNK, all_folders, default_folders, find_folders
from connectors._exchange_http import ExchangeSession
from connectors._exchange_items import SENT
from connectors._exchange_questions import Questions
from connectors.base import SENT_LIMIT, CredentialStore, Cursor, Envelope, Fetched, Folder, MessageRef, Page
from connectors.errors import CursorExpired, Unavailable
from connectors.network import Dial, dial
from connectors.settings import ExchangeSettings

PAGE: Final = 200
"""Messages in one page."""

WALK: Final = 512
"""Ids in one page of a walk: Exchange gives no more at once."""

WALK_PAGES: Final = 25
"""Pages that one poll walks at most. The rest is left to the next one."""

OVERLAP: Final = 25
"""How many listed messages a page of the listing shows again, to find the place after deletions."""

LISTED_LIMIT: Final = 2_000
"""How many listed messages a cursor remembers to drop them when they come again; more may come twice."""

_CLOCKS: Final = timedelta(hours=1)
"""How far our clock and the server's may be apart before something comes twice."""


class ExchangeConnector:
    """See `Connector`. Keeps its connection from the first poll or fetch until `close`."""

    def __init__(self, settings: ExchangeSettings, credentials: CredentialStore, dial: Dial = dial) -> None:
        self._settings = settings
        self._session = ExchangeSession(settings, credentials, dial)

    def poll(self, since: Cursor | datetime) -> Page:
        reading = Reading.start(since) if isinstance(since, datetime) else Reading.from_cursor(since)
        with self._session.use():
            turn = _Turn(Questions(self._session), reading.since)
            for name, place in self._places(reading).items():
                turn.read(name, place)
            envelopes = tuple(turn.questions.envelopes(turn.refs))
        cursor = replace(reading, places=turn.places).cursor()
        return Page(envelopes=envelopes, cursor=cursor, has_more=turn.has_more)

    def fetch(self, ref: MessageRef, max_bytes: int) -> Fetched:
        with self._session.use():
            return Questions(self._session).content(ref, max_bytes)

    def folders(self) -> Sequence[Folder]:
        with self._session.use():
            return all_folders(self._session, Questions(self._session).mailbox, self._settings.folders)

    def sent(self, since: datetime, until: datetime) -> Sequence[Envelope]:
        with self._session.use():
            questions = Questions(self._session)
            refs = questions.last_sent(since, until, SENT_LIMIT)
            found = [
                each
                for start in range(0, len(refs), PAGE)
                for each in questions.envelopes(refs[start : start + PAGE], SENT)
            ]
        return [each for each in found if each.received_at is None or since <= each.received_at <= until]

    def close(self) -> None:
        self._session.close()

    def _places(self, reading: Reading) -> dict[str, Place]:
        """Return where to read on in each folder. One that is new to us is walked as at a first poll."""
        chosen = self._settings.folders
        if not chosen:
            folders = default_folders()
        elif all(name in reading.places for name in chosen):
            return {name: reading.places[name] for name in chosen}
        else:
            folders = find_folders(self._session, Questions(self._session).mailbox, chosen)
        known = {name: place for name, place in reading.places.items() if folders.get(name) == place.folder}
        return {name: known.get(name) or Place(folder) for name, folder in folders.items()}


@dataclass(slots=True)
class _Turn:
    """One poll: what it has found so far, and how far it got."""

    questions: Questions
    since: datetime
    refs: list[str] = field(default_factory=list)
    places: dict[str, Place] = field(default_factory=dict)
    has_more: bool = False
    pages_left: int = WALK_PAGES

    def read(self, name: str, place: Place) -> None:
        """Read on in one folder, as far as there is room in the page."""
        if place.is_walking:
            try:
                place = self._walk(place)
            except CursorExpired:
                if place.state is None and place.folder == JUNK:
                    return  # this mailbox has no junk folder: we look for it again each time
                if place.state is None:
                    raise Unavailable(f"The folder {name!r} is gone; it will be looked for again.") from None
                raise
        elif place.backlog is None:
            place = self._sync(place)
        if place.backlog is not None:
            place = self._list(place)
        self.has_more = self.has_more or place.is_walking or place.backlog is not None
        self.places[name] = place

    def _walk(self, place: Place) -> Place:
        is_empty = place.state is None
        while self.pages_left > 0:
            self.pages_left -= 1
            changes = self.questions.changes(place.folder, place.state, WALK)
            place = replace(place, state=changes.state)
            is_empty = is_empty and not changes.count
            if changes.is_last:
                now = datetime.now(UTC)
                anything = not is_empty and self.since <= now + timedelta(days=1)
                backlog = Backlog(self.since.isoformat()) if anything else None
                return replace(place, is_walking=False, backlog=backlog, walked_at=now.isoformat(timespec="seconds"))
        return place

    def _list(self, place: Place) -> Place:
        """List the next page of a backlog. What is missing from it now came, or went, by the sync state."""
        backlog, room = place.backlog, PAGE - len(self.refs)
        if backlog is None or room <= 0:
            return place
        since, start = datetime.fromisoformat(backlog.since), max(0, backlog.offset - OVERLAP)
        page = self.questions.listing(place.folder, since, start, room + backlog.offset - start)
        prints = [fingerprint(ref) for ref, _ in page.rows]
        done = set(backlog.tail)
        if start and not done.intersection(prints):  # so many were deleted that we have lost the place
            return replace(place, backlog=replace(backlog, offset=0, tail=()))
        found = list(zip(page.rows, prints, strict=True))
        new = [(ref, at, mark) for (ref, at), mark in found if mark not in done and (at is None or at >= self.since)]
        self.refs += [ref for ref, _, _ in new]
        doubtful = [mark for _, at, mark in new if at is None or at >= _doubtful_from(place)]
        place = replace(place, listed=(*place.listed, *doubtful)[-LISTED_LIMIT:])
        if page.is_last:
            return replace(place, backlog=None)
        return replace(place, backlog=_moved(backlog, [at for _, at in page.rows], prints, start))

    def _sync(self, place: Place) -> Place:
        """Read what has come to a folder whose sync state is up to date."""
        room = PAGE - len(self.refs)
        if room <= 0:
            self.has_more = True
            return place
        changes = self.questions.changes(place.folder, place.state, room)
        known = set(place.listed)
        self.refs += [ref for ref in dict.fromkeys(changes.created) if fingerprint(ref) not in known]
        self.has_more = self.has_more or not changes.is_last
        return replace(place, state=changes.state, listed=() if changes.is_last else place.listed)


def _doubtful_from(place: Place) -> datetime:
    """Return from when on a listed message may have come after the walk."""
    walked_at = datetime.fromisoformat(place.walked_at) if place.walked_at else datetime.min.replace(tzinfo=UTC)
    return walked_at - _CLOCKS if place.walked_at else walked_at


def _moved(backlog: Backlog, moments: Sequence[datetime | None], prints: Sequence[str], start: int) -> Backlog:
    """Return the place after a page that began at `start`.

    Counting begins anew at the last message's second, so that deletions before it move nothing. A server that doesn't
    keep to the order gets no such favour.
    """
    tail = tuple(prints[-2 * OVERLAP :])
    told = [moment for moment in moments if moment is not None]
    last = told[-1] if told else None
    in_order = len(told) == len(moments) and all(one <= other for one, other in pairwise(told))
    if last is not None and in_order and last > datetime.fromisoformat(backlog.since):
        return Backlog(last.isoformat(), told.count(last), tail)
    if start + len(prints) <= backlog.offset:
        raise Unavailable("The server's listing doesn't get on; it will be tried again.")
    return Backlog(backlog.since, start + len(prints), tail)
