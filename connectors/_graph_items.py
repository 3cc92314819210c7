"""What we ask about a message, and the `Envelope` that its properties make. No body is among them.

``internetMessageHeaders`` is the header as it came, and comes only where $select names it. What never passed a mail
server has none. The message class is the extended property 0x001A (MS-OXPROPS, PidTagMessageClass).
"""

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any, Final

from connectors._headers import ENVELOPE_FIELDS, HEADER_LIMIT, SENT_FIELDS
from connectors.base import SENT_HEADERS, Envelope, MessageRef

Entry = Mapping[str, Any]
"""A message as Graph tells it."""

SELECT: Final = "id,receivedDateTime,conversationId,internetMessageId,subject,from,internetMessageHeaders"
SENT_SELECT: Final = (
    "id,receivedDateTime,sentDateTime,conversationId,internetMessageId,subject,toRecipients,ccRecipients,"
    "internetMessageHeaders"
)
EXPAND: Final = "singleValueExtendedProperties($filter=id eq 'String 0x001A')"
# Copies in Sent Items often have no internetMessageHeaders; their own fields are kept by name (PS_INTERNET_HEADERS).
_NAMED: Final = "String {00020386-0000-0000-C000-000000000046} Name "
_NAMED_ASKED: Final = " or ".join(f"id eq '{_NAMED}{name}'" for name in SENT_HEADERS if name.startswith("X-"))
SENT_EXPAND: Final = f"singleValueExtendedProperties($filter={_NAMED_ASKED})"
_PROPERTY: Final = re.compile(r"(\w+) 0x([0-9a-f]{1,8})", re.IGNORECASE)
_SPECIALS: Final = re.compile(r'[()<>@,:;\\"\[\]]')
_PEOPLE: Final = 500


def envelope(entry: Entry) -> Envelope:
    """Return what is known of a new message.

    Where there is no header, subject and sender are taken from its properties, but only if the class is known: without
    both nothing may speak against a message (see `worker.screen`).
    """
    item_class = _item_class(entry)
    headers = dict(_internet_headers(entry, ENVELOPE_FIELDS))
    if not headers and item_class is not None:
        headers = dict(_own_properties(entry))
    return Envelope(
        ref=MessageRef(entry["id"]),
        headers=headers or None,
        item_class=item_class,
        thread_id=_text(entry, "conversationId") or None,
        received_at=moment(entry.get("receivedDateTime")),
    )


def is_unknown(entry: Entry) -> bool:
    """Tell whether an entry has neither header nor class, as where a delta query leaves out what it was asked for."""
    return _item_class(entry) is None and next(_internet_headers(entry, ENVELOPE_FIELDS), None) is None


def sent_envelope(entry: Entry) -> Envelope:
    """Return what is known of a message that was sent: under which ids, and to whom."""
    headers = dict(_named(entry)) | dict(_internet_headers(entry, SENT_FIELDS))
    for key, value in _sent_properties(entry):
        headers[key] = value
    at = moment(entry.get("sentDateTime")) or moment(entry.get("receivedDateTime"))
    return Envelope(
        ref=MessageRef(entry["id"]),
        headers=headers,
        thread_id=_text(entry, "conversationId") or None,
        received_at=at,
    )


def moment(value: object) -> datetime | None:
    try:
        date = datetime.fromisoformat(str(value or ""))
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _internet_headers(entry: Entry, wanted: frozenset[str]) -> Iterator[tuple[str, str]]:
    seen: set[str] = set()
    for pair in _list(entry, "internetMessageHeaders"):
        key = str(pair.get("name") or "").strip().lower()
        if key in wanted and key not in seen:
            seen.add(key)
            yield key, _flat(pair.get("value"))  # an empty value says something too


def _own_properties(entry: Entry) -> Iterator[tuple[str, str]]:
    if subject := _text(entry, "subject"):
        yield "subject", subject
    if sender := _person(entry.get("from")):
        yield "from", sender
    if message_id := _text(entry, "internetMessageId"):
        yield "message-id", message_id


def _sent_properties(entry: Entry) -> Iterator[tuple[str, str]]:
    """Yield what Exchange itself knows of a message that was sent; its Message-ID is the one that went out."""
    for key, name in (("message-id", "internetMessageId"), ("subject", "subject")):
        if text := _text(entry, name):
            yield key, text
    for key, name in (("to", "toRecipients"), ("cc", "ccRecipients")):
        if people := ", ".join(filter(None, map(_person, _list(entry, name)[:_PEOPLE]))):
            yield key, people[:HEADER_LIMIT]
    if sent := moment(entry.get("sentDateTime")):
        yield "date", format_datetime(sent)


def _item_class(entry: Entry) -> str | None:
    for each in _list(entry, "singleValueExtendedProperties"):
        # Graph spells the id in its own way: 0x1a for 0x001A.
        found = _PROPERTY.fullmatch(str(each.get("id") or "").strip())
        if found and found[1].lower() == "string" and int(found[2], 16) == 0x1A:
            return _flat(each.get("value")) or None
    return None


def _named(entry: Entry) -> Iterator[tuple[str, str]]:
    for each in _list(entry, "singleValueExtendedProperties"):
        key = str(each.get("id") or "").rpartition(" Name ")[2].strip().lower()
        if key in SENT_FIELDS:
            yield key, _flat(each.get("value"))


def _person(recipient: object) -> str:
    known = recipient.get("emailAddress") if isinstance(recipient, Mapping) else None
    if not isinstance(known, Mapping):
        return ""
    name, address = _flat(known.get("name")), _flat(known.get("address"))
    if not address or name == address:
        return address or name
    if _SPECIALS.search(name):  # "Builder, Bob" would read as two (RFC 5322, 3.2.3)
        name = '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return f"{name} <{address}>" if name else address


def _list(entry: Entry, name: str) -> list[Mapping[str, Any]]:
    found = entry.get(name)
    return [each for each in found if isinstance(each, Mapping)] if isinstance(found, list) else []


def _text(entry: Entry, name: str) -> str:
    return _flat(entry.get(name))


def _flat(value: object) -> str:
    return " ".join(value[:HEADER_LIMIT].split()) if isinstance(value, str) else ""
