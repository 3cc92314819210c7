"""What a `Cursor` of a Microsoft 365 inbox says: where reading stands in each folder."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Self

from connectors.base import Cursor
from connectors.errors import CursorExpired

NEARLY_ALL: Final = 4_500
"""A delta query with a filter tells 5,000 messages at most, and doesn't say that there are more
(https://learn.microsoft.com/graph/delta-query-messages): from so many on we list the folder, and begin a new one."""

OVERLAP: Final = timedelta(days=1)
"""How far a new delta query reaches back before the newest message that the last one told: mail may be late."""


@dataclass(frozen=True, slots=True)
class Backlog:
    """Where listing stands in what was received from `since` on, oldest first.

    `tail` has fingerprints of what was told of the first second, so that no offset is needed: deletions would move it.
    """

    since: str
    tail: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Place:
    """Where reading stands in one folder: the link to ask next, of a delta query over what was received `since`.

    `is_over` tells that nothing more is to be asked for now. `told` counts messages since the query began; `newest` is
    when the newest of them was received, and `complete` the same at the end of the last round. `is_long` tells that
    this round had messages before its last page: while it was read, more may have come. `mark` is the fingerprint of a
    link of this round and `steps` the number of links so far, by which links that lead in a circle are found.
    """

    folder: str
    since: str
    link: str | None = None
    is_over: bool = False
    told: int = 0
    newest: str = ""
    complete: str = ""
    is_long: bool = False
    mark: str = ""
    steps: int = 0
    backlog: Backlog | None = None

    def moved(self, link: str, received: Sequence[datetime | None], *, is_over: bool) -> "Place":
        """Return the place after a page of messages that were `received` then.

        Raises `CursorExpired` where the links lead in a circle, which is found in Brent's way.
        """
        # Mail that was put there may bear any date; one in the future must not hide what comes until then.
        now = _seconds(datetime.now(UTC))
        newest = max([self.newest, *(min(_seconds(each), now) for each in received if each is not None)])
        after = replace(self, link=link, told=self.told + len(received), newest=newest)
        if is_over:
            ended = replace(after, is_over=not self.is_long, is_long=False, mark="", steps=0)
            return replace(_looked_after(ended), complete=newest)
        own, steps = fingerprint(link), self.steps + 1
        if own == (self.mark or fingerprint(self.link or "")):
            raise CursorExpired("The server's pages lead in a circle: recent mail is read again.")
        is_next_mark = steps & (steps - 1) == 0
        mark = own if is_next_mark else self.mark
        return replace(after, is_over=False, is_long=self.is_long or bool(received), mark=mark, steps=steps)


@dataclass(frozen=True, slots=True)
class Reading:
    """The moment that the first poll was given, and a place in each folder, by the name that it was chosen by."""

    since: datetime
    places: Mapping[str, Place]

    @classmethod
    def start(cls, since: datetime) -> Self:
        # Graph tells whole seconds: what came within the first one counts.
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

    def place(self, folder: str) -> Place:
        """Return the place at which a folder is begun."""
        return Place(folder, _seconds(self.since))

    def cursor(self) -> Cursor:
        places = {name: _fields(place) for name, place in self.places.items()}
        return Cursor(json.dumps({"since": self.since.isoformat(), "folders": places}, separators=(",", ":")))


def fingerprint(text: str) -> str:
    """Return a short name for a link or a reference, which have 150 characters or more."""
    return hashlib.blake2b(text.encode(errors="replace"), digest_size=9).hexdigest()


def _looked_after(place: Place) -> Place:
    """At the end of a round that may not have told all: have the folder listed, and begin another query."""
    if place.told < NEARLY_ALL:
        return place
    first = datetime.fromisoformat(place.since)
    known = max(first, datetime.fromisoformat(place.complete) - OVERLAP) if place.complete else first
    again = replace(place, told=0, backlog=Backlog(_seconds(known)))
    # The new query reaches back over the last round: what was moved here meanwhile isn't in the listing for sure.
    for begin in (known, datetime.fromisoformat(place.newest or place.since) - OVERLAP):
        if begin >= first + timedelta(hours=1):
            return replace(again, since=_seconds(begin), link=None, is_over=False)
    return again  # so many within a day: another query would tell the same ones


def _seconds(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="seconds")


def _fields(place: Place) -> dict[str, Any]:
    blank = asdict(Place("", ""))
    always = ("folder", "since")
    return {name: value for name, value in asdict(place).items() if name in always or value != blank[name]}


def _place(
    *,
    folder: str,
    since: str,
    link: str | None = None,
    is_over: bool = False,
    told: int = 0,
    newest: str = "",
    complete: str = "",
    is_long: bool = False,
    mark: str = "",
    steps: int = 0,
    backlog: Mapping[str, Any] | None = None,
) -> Place:
    if {type(folder), type(since), type(link), type(mark)} - {str, type(None)} or not folder:
        raise TypeError
    listing = None if backlog is None else _backlog(**backlog)
    if is_over and link is None:
        raise ValueError
    return Place(
        folder=folder,
        since=_moment(since),
        link=link,
        is_over=bool(is_over),
        told=int(told),
        newest=_moment(newest) if newest else "",
        complete=_moment(complete) if complete else "",
        is_long=bool(is_long),
        mark=mark,
        steps=int(steps),
        backlog=listing,
    )


def _backlog(*, since: str, tail: Sequence[str] = ()) -> Backlog:
    return Backlog(_moment(since), tuple(map(str, tail)))


def _moment(text: str) -> str:
    return _seconds(datetime.fromisoformat(text))
