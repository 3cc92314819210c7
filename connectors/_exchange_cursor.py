"""What a `Cursor` of an Exchange inbox says: where reading stands in each folder."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Self

from connectors.base import Cursor
from connectors.errors import CursorExpired


@dataclass(frozen=True, slots=True)
class Backlog:
    """Where listing stands in what was there at the first poll, oldest first.

    Of what was received since `since`, `offset` messages are done. Somebody may delete some of those meanwhile, which
    moves all that come after; so `tail` has the fingerprints of the last ones, by which we find the place again.
    """

    since: str
    offset: int = 0
    tail: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Place:
    """Where reading stands in one folder.

    At first the server's sync state is led past all that the folder holds (`is_walking`). Then the `backlog` is listed.
    What comes later is told by the sync state. What came between the end of the walk, `walked_at`, and the listing is
    told by both: `listed` has fingerprints of what was listed from that time.
    """

    folder: str
    state: str | None = None
    is_walking: bool = True
    backlog: Backlog | None = None
    walked_at: str = ""
    listed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Reading:
    """The moment that the first poll was given, and a place in each folder, by the name that it was chosen by."""

    since: datetime
    places: Mapping[str, Place]

    @classmethod
    def start(cls, since: datetime) -> Self:
        # Exchange tells whole seconds: what came within the first one counts.
        return cls(since.astimezone(UTC).replace(microsecond=0), {})

    @classmethod
    def from_cursor(cls, cursor: Cursor) -> Self:
        try:
            fields = json.loads(cursor)
            places = {str(name): _place(**place) for name, place in fields["folders"].items()}
            return cls(datetime.fromisoformat(fields["since"]).astimezone(UTC), places)
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
            raise CursorExpired(
                "This inbox's reading position can't be read: its recent mail is read again."
            ) from error

    def cursor(self) -> Cursor:
        places = {name: _fields(place) for name, place in self.places.items()}
        return Cursor(json.dumps({"since": self.since.isoformat(), "folders": places}, separators=(",", ":")))


def fingerprint(ref: str) -> str:
    """Return a short name for a reference: an item id has 150 characters or more."""
    return hashlib.blake2b(ref.encode(), digest_size=9).hexdigest()


def _fields(place: Place) -> dict[str, Any]:
    blank = asdict(Place(""))
    return {name: value for name, value in asdict(place).items() if name == "folder" or value != blank[name]}


def _place(
    *,
    folder: str,
    state: str | None = None,
    is_walking: bool = True,
    backlog: Mapping[str, Any] | None = None,
    walked_at: str = "",
    listed: Sequence[str] = (),
) -> Place:
    if {type(folder), type(state), type(walked_at)} - {str, type(None)}:
        raise TypeError
    if (state is None and not is_walking) or not f"{folder}{state}".isprintable():
        raise ValueError
    datetime.fromisoformat(walked_at or "2000-01-01")
    if backlog is not None:
        datetime.fromisoformat(backlog["since"])
        read = Backlog(str(backlog["since"]), max(0, int(backlog["offset"])), tuple(map(str, backlog["tail"])))
    else:
        read = None
    return Place(folder, state, bool(is_walking), read, walked_at, tuple(map(str, listed)))
