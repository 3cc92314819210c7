"""What a `Cursor` of a Gmail inbox says: where reading stands in the mailbox's history."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Final, Self

from connectors.base import Cursor
from connectors.errors import CursorExpired

MESSAGE_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
HISTORY_ID: Final = re.compile(r"[0-9]{1,20}")  # an unsigned number of 64 bits

NOTHING: Final[Mapping[str, str]] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Awaited:
    """What Gmail's search hasn't found and may find yet: its index lags behind its history.

    It is looked for from `since` on, and for the last time after `until`; both are seconds since 1970.
    """

    since: int
    until: int
    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """Where reading stands.

    At first what was received since `since` is listed; then comes what `history` has told since. In both, `page` is
    the page to go on with: a token, "" for the first one, None where there is none to go on with. `asked` counts pages,
    so that tokens that go round in circles come to an end.

    `todo` has the messages that a page brought and that nobody has seen yet, with their threads; `tries` counts how
    often Gmail has failed to tell of any of them. `seen` has those that
    were handed out and may be told of again before `history` gets on. `complete` is the moment at which `history` was
    the mailbox's own, and `awaited` is what a search may yet find of messages that the history told of. `again` is the
    time just before the first listing, which is listed once more: its `ids` were found already.
    """

    history: str
    since: int | None = None
    page: str | None = None
    asked: int = 0
    tries: int = 0
    todo: Mapping[str, str] = field(default_factory=lambda: NOTHING)
    seen: tuple[str, ...] = ()
    complete: int = 0
    awaited: tuple[Awaited, ...] = ()
    again: Awaited | None = None

    @property
    def has_more(self) -> bool:
        return bool(self.todo) or self.page is not None

    @classmethod
    def from_cursor(cls, cursor: Cursor) -> Self:
        try:
            return cls(**_checked(json.loads(cursor)))
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
            raise CursorExpired(
                "This inbox's reading position can't be read: its recent mail is read again."
            ) from error

    def cursor(self) -> Cursor:
        blank = Reading(history="")
        fields: dict[str, Any] = {"history": self.history}
        for name in ("since", "page", "asked", "tries", "complete"):
            if getattr(self, name) != getattr(blank, name):
                fields[name] = getattr(self, name)
        if self.todo:
            fields["todo"] = dict(self.todo)
        if self.seen:
            fields["seen"] = self.seen
        if self.awaited:
            fields["awaited"] = [_fields(each) for each in self.awaited]
        if self.again:
            fields["again"] = _fields(self.again)
        return Cursor(json.dumps(fields, separators=(",", ":")))


def whole_second(moment: datetime) -> int:
    """Return the second that a moment lies in, since 1970 and never before."""
    span = moment.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC) if moment.year > 1 else None
    return 0 if span is None else max(0, span.days * 86_400 + span.seconds)


def _checked(fields: Mapping[str, Any]) -> dict[str, Any]:
    read: dict[str, Any] = {"history": _matched(HISTORY_ID, fields["history"])}
    for name in ("since", "asked", "tries", "complete"):
        if name in fields:
            read[name] = int(fields[name])
    if "page" in fields:
        read["page"] = str(fields["page"])
    read["todo"] = {_matched(MESSAGE_ID, ref): str(thread) for ref, thread in fields.get("todo", {}).items()}
    read["seen"] = _ids(fields.get("seen", ()))
    read["awaited"] = tuple(_awaited(*each) for each in fields.get("awaited", ()))
    if "again" in fields:
        read["again"] = _awaited(*fields["again"])
    return read


def _fields(awaited: Awaited) -> list[Any]:
    return [awaited.since, awaited.until, awaited.ids]


def _awaited(since: int, until: int, ids: Sequence[Any]) -> Awaited:
    return Awaited(since=int(since), until=int(until), ids=_ids(ids))


def _ids(values: Sequence[Any]) -> tuple[str, ...]:
    return tuple(_matched(MESSAGE_ID, value) for value in values)


def _matched(pattern: re.Pattern[str], value: object) -> str:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise ValueError
    return value
