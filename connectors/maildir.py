"""A Maildir on disk (Maildir++ subfolders), read in the order in which its files arrived there.

A Maildir numbers nothing, so arrival is told by the inode's change time, which nobody can set: delivery, `cp -p`, rsync
and a restore all give a new one, whatever date the message bears. So does a flag that a person sets: a message may come
again, and is then known by its digest. It never fails to come. Two clocks and a listing that runs beside a delivery may
put an arrival somewhat before another that we have seen: that is what `OVERLAP` is for.
"""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePath
from typing import Final, Self

import connectors._maildir_files as files
from connectors._headers import ENVELOPE_FIELDS, HEADER_LIMIT, SENT_FIELDS, parse_headers
from connectors._maildir_files import MessageFile
from connectors.base import SENT_LIMIT, Cursor, Envelope, Fetched, Folder, FolderRole, MessageRef, Page
from connectors.errors import ConnectorError, CursorExpired, MessageGone, Misconfigured, Unavailable
from connectors.settings import MaildirSettings

PAGE: Final = 200
"""Messages in one page."""

OVERLAP: Final = 10 * 60 * 10**9
"""How far before the newest arrival we look for ones that we missed, in nanoseconds."""

SEEN_LIMIT: Final = 2_000
"""How many names a cursor remembers of a folder's overlap; where mail comes faster, the overlap is shorter."""

JUNK: Final = ".Junk"
ARCHIVE: Final = ".Archive"
SENT: Final = ".Sent"
ROLES: Final = {
    "INBOX": FolderRole.INBOX,
    JUNK: FolderRole.JUNK,
    ARCHIVE: FolderRole.ARCHIVE,
    SENT: FolderRole.SENT,
}

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Place:
    """Where reading stands in a folder: what arrived before `floor` is done, and of the rest what is `seen`.

    What arrived up to `walk_end` was there at the first poll, and is only read if it was written since the moment that
    the first poll was given. What comes later is new, whatever its date. Nanoseconds since 1970.
    """

    floor: int
    walk_end: int
    seen: frozenset[str] = frozenset()

    def is_done(self, message: MessageFile) -> bool:
        return message.arrived < self.floor or message.name in self.seen


@dataclass(frozen=True, slots=True)
class Reading:
    """What a `Cursor` says: the moment that the first poll was given, and a place in each folder."""

    since: datetime
    places: Mapping[str, Place]

    @classmethod
    def from_cursor(cls, cursor: Cursor) -> Self:
        try:
            fields = json.loads(cursor)
            places = {
                folder: Place(int(floor), int(walk_end), frozenset(map(str, seen)))
                for folder, (floor, walk_end, seen) in fields["folders"].items()
            }
            return cls(datetime.fromisoformat(fields["since"]), places)
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            raise CursorExpired("This inbox's reading position can't be read: recent mail is read again.") from error

    def cursor(self) -> Cursor:
        places = {name: [place.floor, place.walk_end, sorted(place.seen)] for name, place in self.places.items()}
        return Cursor(json.dumps({"since": self.since.isoformat(), "folders": places}))

    def place(self, folder: str, listed: Sequence[MessageFile]) -> Place:
        """Return where to read on. A folder that is new to us is walked like at a first poll, so none is skipped."""
        place = self.places.get(folder)
        if place is None:
            return Place(floor=0, walk_end=listed[-1].arrived if listed else 0)
        if place.floor > time.time_ns():
            raise CursorExpired("This machine's clock has gone back: recent mail is read again.")
        return place


class MaildirConnector:
    """See `Connector`. Holds nothing open between calls."""

    def __init__(self, settings: MaildirSettings) -> None:
        self._root = Path(settings.path)
        self._chosen = tuple("INBOX" if name.upper() == "INBOX" else name for name in settings.folders)

    def poll(self, since: Cursor | datetime) -> Page:
        # Copied files often keep whole seconds only: what was written within the first one counts.
        reading = (
            Reading(since.astimezone(UTC).replace(microsecond=0), {})
            if isinstance(since, datetime)
            else Reading.from_cursor(since)
        )
        envelopes: list[Envelope] = []
        places = {}
        has_more = False
        with self._translated():
            for folder, path in self._folders().items():
                listed = files.messages(path)
                place = reading.place(folder, listed)
                passed = _passed(listed, place, reading.since, room=PAGE - len(envelopes))
                envelopes += _envelopes(folder, path, (each for each, wanted in passed.items() if wanted))
                places[folder] = _moved(place, listed, set(passed))
                has_more = has_more or any(not places[folder].is_done(each) for each in listed)
        return Page(envelopes=tuple(envelopes), cursor=replace(reading, places=places).cursor(), has_more=has_more)

    def fetch(self, ref: MessageRef, max_bytes: int) -> Fetched:
        folder, _, name = ref.rpartition(":")
        with self._translated():
            path = self._path(folder)
            if path is None or not files.is_maildir(path):
                raise MessageGone(f"The folder {folder!r} of this message is gone.")
            try:
                raw = files.read(path, name, max_bytes + 1)  # one more tells whether there are more
            except FileNotFoundError as error:
                raise MessageGone("This message was deleted or moved.") from error
            except OSError as error:
                why = f"{path} holds a message that can't be read ({error.strerror})"
                raise Unavailable(f"{why}: give this program's user the right to read it.") from error
        return Fetched(raw=raw[:max_bytes], truncated=len(raw) > max_bytes)

    def folders(self) -> Sequence[Folder]:
        with self._translated():
            polled = self._folders()
            names = sorted(each.name for each in self._root.iterdir() if files.is_maildir(each))
            return [
                Folder(name=name, role=ROLES.get(name), messages=len(files.messages(path)), polled=name in polled)
                for name in ("INBOX", *names)
                if (path := self._path(name))
            ]

    def sent(self, since: datetime, until: datetime) -> Sequence[Envelope]:
        with self._translated():
            path = self._path(SENT)
            if path is None:
                return []
            within = [each for each in files.messages(path) if since <= (_moment(each.written) or since) <= until]
            return list(_envelopes(SENT, path, iter(within[-SENT_LIMIT:]), SENT_FIELDS))

    def close(self) -> None:
        """Nothing is open."""

    def _folders(self) -> dict[str, Path]:
        if not files.is_maildir(self._root):
            raise Misconfigured(f"{self._root} is no Maildir: name a folder that holds the folders new and cur.")
        if not self._chosen:
            others = {name: self._root / name for name in (JUNK, ARCHIVE)}
            return {"INBOX": self._root} | {name: path for name, path in others.items() if files.is_maildir(path)}
        return {folder: self._existing(folder) for folder in self._chosen}

    def _existing(self, folder: str) -> Path:
        path = self._path(folder)
        if path is None:
            names = sorted(each.name for each in self._root.iterdir() if files.is_maildir(each))
            choice = ", ".join(["INBOX", *names][:20])
            raise Misconfigured(f"There is no folder {folder!r} in {self._root}: choose among {choice}.")
        return path

    def _path(self, folder: str) -> Path | None:
        """Return where a folder lies: under its own name, or under its Maildir++ name, which starts with a dot."""
        if folder == "INBOX":
            return self._root
        if not folder or PurePath(folder).is_absolute() or ".." in PurePath(folder).parts:
            return None
        return next((path for name in (folder, f".{folder}") if files.is_maildir(path := self._root / name)), None)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except ConnectorError:
            raise
        except PermissionError as error:
            raise Misconfigured(f"{error.filename} can't be read: give this program's user the right to it.") from error
        except OSError as error:
            raise Unavailable(f"{self._root} can't be read ({error.strerror}); it will be tried again.") from error


def _passed(listed: Sequence[MessageFile], place: Place, since: datetime, room: int) -> dict[MessageFile, bool]:
    """Return the messages to go past next, oldest first, and whether each is wanted; at most `room` are."""
    written_since = (since - _EPOCH) // timedelta(microseconds=1) * 1000
    passed: dict[MessageFile, bool] = {}
    for message in listed:
        if place.is_done(message):
            continue
        wanted = message.arrived > place.walk_end or message.written >= written_since
        if wanted and room <= 0:
            break
        room -= wanted
        passed[message] = wanted
    return passed


def _moved(place: Place, listed: Sequence[MessageFile], passed: set[MessageFile]) -> Place:
    """Return the place after `passed`: what is seen stays in the cursor only as long as it lies in the overlap."""
    done = [each for each in listed if each in passed or place.is_done(each)]
    left = [each.arrived for each in listed if not (each in passed or place.is_done(each))]
    floor = max(place.floor, done[-1].arrived - OVERLAP) if done else place.floor
    if len(done) > SEEN_LIMIT:
        floor = max(floor, done[-SEEN_LIMIT - 1].arrived + 1)
    floor = min([floor, *left])
    return replace(place, floor=floor, seen=frozenset(each.name for each in done if each.arrived >= floor))


def _envelopes(
    folder: str, path: Path, messages: Iterator[MessageFile], wanted: frozenset[str] = ENVELOPE_FIELDS
) -> Iterator[Envelope]:
    """Yield the envelopes of those messages that are still there; one that can't be read stays known by its name."""
    for message in messages:
        headers: Mapping[str, str] | None = None
        try:
            headers = parse_headers(_header_block(path, message), wanted)
        except FileNotFoundError:
            continue
        except OSError:
            pass
        yield Envelope(
            ref=MessageRef(f"{folder}:{message.name}"),
            headers=headers,
            size=message.size,
            received_at=_moment(message.written),
        )


def _header_block(folder: Path, message: MessageFile) -> bytes:
    try:
        return files.read_file(message.path, HEADER_LIMIT)
    except FileNotFoundError:  # opened by a person since it was listed, and so renamed
        return files.read(folder, message.name, HEADER_LIMIT)


def _moment(nanoseconds: int) -> datetime | None:
    try:
        return _EPOCH + timedelta(microseconds=nanoseconds // 1000)
    except OverflowError:  # a file can be dated beyond the year 9999
        return None
