"""Header fields as they stand in the wild: unfolded, looked up by name, decoded only where somebody asks."""

import re
from collections.abc import Collection, Iterable
from collections.abc import Set as AbstractSet
from datetime import UTC, datetime, timedelta
from typing import Final

from worker.words import decode_words

# RFC 5322, 2.2: a name of printable ASCII without the colon. "Action : failed" (white space before the colon) is
# obsolete syntax (RFC 5322, 4.5) that gateways still write. Possessive quantifiers keep a hostile line linear.
FIELD: Final = re.compile(r"^([!-9;-~]{1,76}+)[ \t]*+:(.*+(?:\n[ \t]++\S.*+)*+)", re.MULTILINE)
FOLD: Final = re.compile(r"\n[ \t]+")
PARAMETER: Final = re.compile(r';\s*+([\w*-]{1,40}+)\s*+=\s*+(?:"((?:[^"\\\n]|\\.)*+)"|([^;\s]*+))')
MESSAGE_ID: Final = re.compile(r"<\s*([^<>\s]{1,250}@[^<>\s]{1,250}|[^<>\s@]{3,250})\s*>")
COMMENT: Final = re.compile(r"\([^()]*+\)")
DATE: Final = re.compile(
    r"(\d{1,2})[ -]+([A-Za-z]{3})[a-z]*[ -]+(\d{2,4})\s+(\d{1,2}):(\d{2})(?::(\d{2}))?\s*(?:([+-])(\d{2}):?(\d{2}))?"
)
MONTHS: Final = {
    "jan": 1, "feb": 2, "mar": 3, "apr": 4, "may": 5, "jun": 6, "jul": 7, "aug": 8, "sep": 9, "oct": 10, "nov": 11,
    "dec": 12,
}  # fmt: skip


class Fields:
    """A block of header fields, by their names in lower case; the first field of a name wins."""

    __slots__ = ("_by_name",)

    def __init__(self, items: Iterable[tuple[str, str]]) -> None:
        by_name: dict[str, list[str]] = {}
        for name, value in items:
            key = name.lower()
            if key in by_name:
                by_name[key].append(value)
            else:
                by_name[key] = [value]
        self._by_name = by_name

    def __contains__(self, name: str) -> bool:
        return name in self._by_name

    def __bool__(self) -> bool:
        return bool(self._by_name)

    def first(self, name: str) -> str | None:
        """Return the first field called `name` (lower case), unfolded and stripped; None where there is none."""
        values = self._by_name.get(name)
        if values is None:
            return None
        return unfold(values[0]) if "\n" in values[0] else values[0].strip()

    def every(self, name: str) -> tuple[str, ...]:
        """Return all fields called `name` (lower case), unfolded and stripped."""
        return tuple(map(unfold, self._by_name[name])) if name in self._by_name else ()

    def every_of(self, names: Collection[str]) -> list[str]:
        """Return all fields of these names (lower case), name by name, unfolded and stripped."""
        if self._by_name.keys().isdisjoint(names):  # mostly there is none
            return []
        return [unfold(value) for name in names if name in self._by_name for value in self._by_name[name]]

    def has_any(self, names: AbstractSet[str]) -> bool:
        """Whether there is a field of one of these names (lower case)."""
        return not names.isdisjoint(self._by_name)

    def text(self, name: str) -> str:
        """Return the first field called `name` with its encoded words decoded; empty where there is none."""
        return decode_words(self.first(name) or "")


NO_FIELDS: Final = Fields(())


def read_fields(block: str) -> Fields:
    """Return the fields of a header block; lines that are no fields are passed over."""
    return Fields(FIELD.findall(block))


def read_items(block: str) -> list[tuple[str, str]]:
    """Return name, in lower case, and value of each field of a header block, in order."""
    return [(name.lower(), value) for name, value in FIELD.findall(block)]


def unfold(value: str) -> str:
    """Return a field's body on one line (RFC 5322, 2.2.3)."""
    return (FOLD.sub(" ", value) if "\n" in value else value).strip()


def parameters(value: str) -> dict[str, str]:
    """Return the parameters of a structured field such as Content-Type, names in lower case (RFC 2045, 5.1)."""
    found = PARAMETER.findall(value)
    return {name.lower().rstrip("*"): (quoted.replace("\\", "") or plain) for name, quoted, plain in reversed(found)}


def message_ids(value: str) -> tuple[str, ...]:
    """Return the Message-IDs of a field without angle brackets; one without brackets is taken as it stands."""
    found = MESSAGE_ID.findall(value)
    if not found and "@" in value and len(value.split()) == 1:
        return (value.strip("<>"),)
    return tuple(dict.fromkeys(found))


def without_comments(value: str) -> str:
    """Return a structured field without its comments (RFC 5322, 3.2.2)."""
    return COMMENT.sub("", value).strip() if "(" in value else value.strip()


def read_date(value: str | None) -> datetime | None:
    """Return an RFC 5322 date in UTC; one without a numeric zone is taken as UTC. None where it is no date."""
    found = DATE.search(value) if value else None
    if found is None:
        return None
    day, month, year, hour, minute, second, sign, zone_hours, zone_minutes = found.groups()
    try:
        full_year = int(year) if len(year) == 4 else int(year) % 100 + (2000 if int(year) % 100 < 50 else 1900)
        number = MONTHS[month.lower()]
        moment = datetime(full_year, number, int(day), int(hour), int(minute), min(int(second or 0), 59), tzinfo=UTC)
        if sign is None:
            return moment
        offset = timedelta(hours=int(zone_hours), minutes=int(zone_minutes))
        return moment + offset if sign == "-" else moment - offset
    except (KeyError, ValueError, OverflowError):
        return None
