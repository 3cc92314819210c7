"""The query options that the documentation of each request allows; whatever else is asked is refused."""

import re
from datetime import UTC, datetime
from urllib.parse import parse_qsl

from tests.fakes.graph.fields import FOLDER, MESSAGE

_EXPAND = re.compile(r"singleValueExtendedProperties\(\$filter=(id eq '[^']+'(?: or id eq '[^']+')*)\)")
_CONDITION = re.compile(r"(receivedDateTime|sentDateTime) (ge|gt|le|lt) (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)")
_ORDER = re.compile(r"(receivedDateTime|sentDateTime)(?: (asc|desc))?")


class Refused(Exception):
    """A query that Graph would answer with 400."""


def options(query: str, allowed: set[str]) -> dict[str, str]:
    """Return the options of a query; each only once, and only the allowed ones."""
    pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
    found = dict(pairs)
    if len(found) != len(pairs) or not allowed >= found.keys():
        raise Refused(f"options {sorted(name for name, _ in pairs)}, allowed {sorted(allowed)}")
    if not found.get("$top", "1").isdigit() or not 1 <= int(found.get("$top", "1")) <= 1000:
        raise Refused("$top is 1 to 1000")
    return found


def selected(given: dict[str, str], *, of_folder: bool = False) -> list[str]:
    table = FOLDER if of_folder else MESSAGE
    names = given["$select"].split(",") if "$select" in given else [name for name in table if name in DEFAULT]
    if unknown := set(names) - set(table):
        raise Refused(f"$select of {sorted(unknown)}")
    return names


DEFAULT = {"id", "receivedDateTime", "subject", "from", "body", "displayName", "parentFolderId", "childFolderCount"}
"""Some of what comes without $select; never internetMessageHeaders."""


def expanded(given: dict[str, str]) -> list[str]:
    if "$expand" not in given:
        return []
    if not (found := _EXPAND.fullmatch(given["$expand"])):
        raise Refused(f"$expand {given['$expand']}")
    return re.findall(r"id eq '([^']+)'", found[1])


def delta_since(given: dict[str, str]) -> datetime | None:
    """Read the only $filter that a delta query takes."""
    if "$filter" not in given:
        return None
    found = _CONDITION.fullmatch(given["$filter"])
    if not found or found[1] != "receivedDateTime" or found[2] not in ("ge", "gt"):
        raise Refused(f"$filter {given['$filter']}: only a value of 'receivedDateTime ge value' is supported")
    return _moment(found[3])


def conditions(given: dict[str, str]) -> list[tuple[str, str, datetime]]:
    """Read the $filter of a listing."""
    if "$filter" not in given:
        return []
    found = [_CONDITION.fullmatch(each) for each in given["$filter"].split(" and ")]
    if not all(found):
        raise Refused(f"$filter {given['$filter']}")
    return [(each[1], each[2], _moment(each[3])) for each in found if each]


def order(given: dict[str, str]) -> tuple[str, bool] | None:
    """Read $orderby. What it sorts by must come first in $filter, if there is one (graph/api/user-list-messages)."""
    if "$orderby" not in given:
        return None
    if not (found := _ORDER.fullmatch(given["$orderby"])):
        raise Refused(f"$orderby {given['$orderby']}")
    asked = conditions(given)
    if asked and asked[0][0] != found[1]:
        raise Refused("InefficientFilter")
    return found[1], found[2] == "desc"


def holds(operator: str, left: datetime, right: datetime) -> bool:
    return {"ge": left >= right, "gt": left > right, "le": left <= right, "lt": left < right}[operator]


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)
