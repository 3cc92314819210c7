"""Any IMAP server (RFC 3501). Reading stops at a UID of each folder, which stands only under its UIDVALIDITY (2.3.1.1).

An idle poll asks one STATUS per folder and opens none.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Self

from imapclient import IMAPClient
from imapclient.exceptions import IMAPClientAbortError, IMAPClientError

import connectors._imap_commands as ask
import connectors._imap_folders as named
from connectors._headers import parse_headers
from connectors._imap_commands import Status
from connectors._imap_idle import ImapDoorbell
from connectors._imap_session import ImapSession
from connectors.base import CredentialStore, Cursor, Envelope, Fetched, Folder, FolderRole, MessageRef, Page
from connectors.errors import CursorExpired, MessageGone, Misconfigured
from connectors.network import Dial, dial
from connectors.settings import ImapSettings

__all__ = ["ImapConnector", "ImapDoorbell"]

PAGE: Final = 200
"""Messages in one page."""

POLLED: Final = ("INBOX", FolderRole.JUNK, FolderRole.ARCHIVE)
"""What is read where no folders are chosen: folders by name or by what they are for. The archive, because a person who
puts a notice away between two polls must not hide it from us."""

LOOK_AGAIN: Final = timedelta(hours=1)
"""When a folder is looked for again that an inbox didn't have; a LIST at each poll would cost more than the poll."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where reading stands in a folder: all up to the UID `last` is done.

    `walk_end` is the highest UID that the first poll met. Up to there we read only what arrived since the moment that
    the first poll was given; what comes after it is new, whatever its date.
    """

    uidvalidity: int
    last: int
    walk_end: int = 0


@dataclass(frozen=True, slots=True)
class Reading:
    """What a `Cursor` says: the first poll's moment, a place in each folder, and folders that were found by a role.

    `looked_at` is when folders were last looked for by their roles.
    """

    since: datetime
    places: Mapping[str, Place]
    roles: Mapping[FolderRole, str] = field(default_factory=dict)
    looked_at: datetime | None = None

    @classmethod
    def from_cursor(cls, cursor: Cursor) -> Self:
        try:
            fields = json.loads(cursor)
            places = {folder: Place(*map(int, place)) for folder, place in fields["folders"].items()}
            roles = {FolderRole(role): str(name) for role, name in fields["roles"].items()}
            looked_at = datetime.fromisoformat(fields["looked_at"]) if fields["looked_at"] else None
            return cls(datetime.fromisoformat(fields["since"]), places, roles, looked_at)
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            raise CursorExpired(
                "This inbox's reading position can't be read: its recent mail is read again."
            ) from error

    def cursor(self) -> Cursor:
        places = {name: [place.uidvalidity, place.last, place.walk_end] for name, place in self.places.items()}
        looked_at = self.looked_at.isoformat(timespec="seconds") if self.looked_at else None
        fields = {"since": self.since.isoformat(), "folders": places, "roles": dict(self.roles), "looked_at": looked_at}
        return Cursor(json.dumps(fields))

    def place(self, folder: str, status: Status) -> Place:
        """Return where to read on. A folder that is new to us is walked like at a first poll, so none is skipped."""
        place = self.places.get(folder)
        if place is None:
            return Place(status.uidvalidity, 0, status.top)
        if place.uidvalidity != status.uidvalidity or place.last > status.top:
            raise CursorExpired(f"The server has renumbered {folder!r}: its recent mail is read again.")
        return place


class ImapConnector:
    """See `Connector`. Keeps its connection from the first poll or fetch until `close`."""

    def __init__(self, settings: ImapSettings, credentials: CredentialStore, dial: Dial = dial) -> None:
        self._session = ImapSession(settings, credentials, dial)
        self._chosen = tuple(map(named.by_name_or_role, settings.folders))
        self._walk: tuple[Cursor, Mapping[str, Status]] | None = None  # the last page's cursor, where more waits

    def poll(self, since: Cursor | datetime) -> Page:
        # INTERNALDATE counts whole seconds: what came within the first one counts.
        reading = (
            Reading(since.astimezone(UTC).replace(microsecond=0), {})
            if isinstance(since, datetime)
            else Reading.from_cursor(since)
        )
        (known, statuses), self._walk = self._walk or ("", {}), None
        with self._session.use() as client:
            if walking := known == since:
                # A large folder costs its server most when it is opened: it stays open from page to page.
                page = self._page(client, reading, statuses)
            else:
                self._leave()
                # All before any reading: what arrives meanwhile has a higher UID and waits for the next poll.
                reading, statuses = self._statuses(client, reading)
                page = self._page(client, reading, statuses)
        if page.has_more:
            self._walk = page.cursor, statuses
        return replace(page, has_more=page.has_more or walking)  # what has come since the first page is asked for last

    def fetch(self, ref: MessageRef, max_bytes: int) -> Fetched:
        folder, uidvalidity, uid = _parse_ref(ref)
        with self._session.use() as client:
            if self._select_again(client, folder) != uidvalidity:
                raise MessageGone(f"The server has renumbered {folder!r} since it named this message.")
            raw = ask.body(client, uid, max_bytes + 1)  # one more tells whether there are more
        return Fetched(raw=raw[:max_bytes], truncated=len(raw) > max_bytes)

    def folders(self) -> Sequence[Folder]:
        with self._session.use() as client:
            self._leave()
            polled = self._chosen or POLLED
            return [
                Folder(name=name, role=role, polled=name in polled or role in polled, messages=_count(client, name))
                for name, role in named.roles(client).items()
            ]

    def sent(self, since: datetime, until: datetime) -> Sequence[Envelope]:
        with self._session.use() as client:
            folder = named.folders_by_role(client).get(FolderRole.SENT)
            if folder is None:
                return []
            uidvalidity = self._session.select(folder)
            found = [
                _envelope(MessageRef(f"{uidvalidity}:{uid}:{folder}"), answer, named.sent_headers(answer))
                for uid, answer in named.sent_messages(client, since, until)
            ]
        return [each for each in found if each.received_at is None or since <= each.received_at <= until]

    def close(self) -> None:
        self._session.logout()

    def _statuses(self, client: IMAPClient, reading: Reading) -> tuple[Reading, dict[str, Status]]:
        """Return the STATUS of each folder to read. A role that no folder had is looked for again now and then."""
        now = datetime.now(UTC)
        look = reading.looked_at is None or not now - LOOK_AGAIN < reading.looked_at <= now
        statuses: dict[str, Status] = {}
        roles: dict[FolderRole, str] = {}
        existing: Mapping[FolderRole, str] | None = None
        for wanted in self._chosen or POLLED:
            if not isinstance(wanted, FolderRole):
                statuses[wanted] = _status(client, wanted)
                continue
            name = reading.roles.get(wanted)
            status = ask.status(client, name) if name else None
            if status is None and (name or look or self._chosen):  # it has another name now, or there is one at last
                existing = named.folders_by_role(client) if existing is None else existing
                name = existing.get(wanted)
                status = ask.status(client, name) if name else None
            if name and status:
                roles[wanted], statuses[name] = name, status
            elif self._chosen:
                raise _no_folder(client, named.role_name(wanted))
        looked_at = reading.looked_at if existing is None else now
        return replace(reading, roles=roles, looked_at=looked_at), statuses

    def _page(self, client: IMAPClient, reading: Reading, statuses: Mapping[str, Status]) -> Page:
        envelopes: list[Envelope] = []
        places = {}
        has_more = False
        for folder, status in statuses.items():
            place = reading.place(folder, status)
            if place.last < status.top and len(envelopes) < PAGE:
                if self._session.select(folder) != status.uidvalidity:
                    raise CursorExpired(f"The server has renumbered {folder!r}: its recent mail is read again.")
                uids, place = _search(client, place, status, reading.since, room=PAGE - len(envelopes))
                envelopes += _envelopes(client, folder, place, uids, reading.since)
            places[folder] = place
            has_more = has_more or place.last < status.top
        return Page(envelopes=tuple(envelopes), cursor=replace(reading, places=places).cursor(), has_more=has_more)

    def _leave(self) -> None:
        """Leave the open folder. A server may refuse CLOSE, though it mustn't here (RFC 3501, 6.4.2): so be it."""
        try:
            self._session.deselect()
        except IMAPClientAbortError:
            raise
        except IMAPClientError:
            pass

    def _select_again(self, client: IMAPClient, folder: str) -> int:
        try:
            return self._session.select(folder)
        except IMAPClientAbortError:
            raise
        except IMAPClientError as error:
            if folder in ask.folder_names(client):
                raise
            raise MessageGone(f"The folder {folder!r} of this message is gone.") from error


def _count(client: IMAPClient, folder: str) -> int | None:
    status = ask.status(client, folder)
    return None if status is None else status.messages


def _status(client: IMAPClient, folder: str) -> Status:
    status = ask.status(client, folder)
    if status is None:
        raise _no_folder(client, folder)
    return status


def _no_folder(client: IMAPClient, wanted: str) -> Misconfigured:
    existing = ", ".join(sorted(ask.folder_names(client))[:20])
    return Misconfigured(f"There is no folder {wanted!r} in this inbox: choose among {existing}.")


def _search(client: IMAPClient, place: Place, status: Status, since: datetime, room: int) -> tuple[list[int], Place]:
    """Return the next UIDs, at most `room`, and the place up to which this covers the folder. UIDs may be sparse.

    So few that all have room aren't searched for: a FETCH passes over those that aren't there (RFC 3501, 6.4.8).
    """
    found: list[int] = []
    low = place.last + 1
    if place.walk_end < low and status.top - place.last <= room:
        return list(range(low, status.top + 1)), replace(place, last=status.top)
    for span in ask.spans(status.messages):
        if low > status.top or len(found) >= room:
            break
        walking = low <= place.walk_end
        high = min(low + span - 1, place.walk_end if walking else status.top)
        found += ask.search(client, low, high, since if walking else None)
        low = high + 1
    if len(found) > room:
        found = found[:room]
        low = found[-1] + 1
    return found, replace(place, last=low - 1)


def _envelopes(client: IMAPClient, folder: str, place: Place, uids: list[int], since: datetime) -> Iterator[Envelope]:
    """Yield the envelopes of those messages that are still there; in a first walk only of those since."""
    answers = ask.headers(client, uids) if uids else {}
    for uid in uids:
        if uid in answers:
            block = ask.header_block(answers[uid])
            headers = None if block is None else parse_headers(block)
            envelope = _envelope(MessageRef(f"{place.uidvalidity}:{uid}:{folder}"), answers[uid], headers)
            if uid > place.walk_end or envelope.received_at is None or envelope.received_at >= since:
                yield envelope


def _envelope(ref: MessageRef, answer: Mapping[bytes, Any], headers: Mapping[str, str] | None) -> Envelope:
    size = answer.get(b"RFC822.SIZE")
    return Envelope(
        ref=ref,
        headers=headers,
        size=size if isinstance(size, int) else None,
        received_at=_utc(answer.get(b"INTERNALDATE")),
    )


def _utc(date: datetime | None) -> datetime | None:
    try:
        return None if date is None else (date if date.tzinfo else date.replace(tzinfo=UTC)).astimezone(UTC)
    except OverflowError:  # the year 1, say
        return None


def _parse_ref(ref: MessageRef) -> tuple[str, int, int]:
    uidvalidity, _, rest = ref.partition(":")
    uid, _, folder = rest.partition(":")
    if not (uidvalidity.isdecimal() and uid.isdecimal() and folder):
        raise MessageGone("This reference names no message of an IMAP inbox.")
    return folder, int(uidvalidity), int(uid)
