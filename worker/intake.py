"""Reading what the CRM says it sent: one JSON object a send, the same in files, in the API and on the queue. Pure."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from worker.domain import LATE_FIELDS, Recipient, Role, SendKind, SentEmail, bare_id, utc

REQUIRED: Final = ("id", "account", "inbox", "kind", "sent_at", "recipients")
OPTIONAL: Final = tuple("from" if name == "sender" else name for name in LATE_FIELDS)  # a keyword of Python's
LONGEST: Final = 2_000
"""Characters kept of any one field: RFC 5322, 2.1.1 allows lines of 998, and a subject may be folded."""


class InvalidSend(ValueError):
    """A send that can't be taken; the text says which field and why."""


def parse_line(line: str) -> SentEmail:
    """Read one line of a sends file. Raises `InvalidSend`."""
    try:
        data = json.loads(line)
    except ValueError as error:
        raise InvalidSend(f"is not JSON ({error})") from None
    if not isinstance(data, dict):
        raise InvalidSend("must be a JSON object")
    return parse_send(data)


def parse_send(data: Mapping[str, Any]) -> SentEmail:
    """Build a send from its JSON object; fields that we don't know are ignored. Raises `InvalidSend`."""
    if missing := [name for name in REQUIRED if data.get(name) in (None, "", [])]:
        raise InvalidSend(f"lacks {', '.join(missing)}")
    texts = {name: _text(data, name) for name in (*REQUIRED[:3], *OPTIONAL)}
    message_id = texts.pop("message_id")
    return SentEmail(
        id=texts.pop("id") or "",
        account=texts.pop("account") or "",
        inbox=texts.pop("inbox") or "",
        sender=texts.pop("from"),
        kind=_kind(data["kind"]),
        sent_at=_moment(data["sent_at"]),
        recipients=_recipients(data["recipients"]),
        message_id=bare_id(message_id) if message_id else None,
        **texts,
    )


def _text(data: Mapping[str, Any], name: str) -> str | None:
    value = data.get(name)
    if value is None:
        return None
    if not isinstance(value, str | int):
        raise InvalidSend(f"has a {name} that is not text")
    return str(value)[:LONGEST]


def _kind(value: object) -> SendKind:
    try:
        return SendKind(str(value))
    except ValueError:
        raise InvalidSend(f"has the kind {value!r}; use one_to_one or sequence") from None


def _moment(value: object) -> datetime:
    try:
        return utc(datetime.fromisoformat(str(value)))
    except ValueError:
        raise InvalidSend(
            f"has the sent_at {value!r}; use ISO 8601 with a zone, such as 2026-11-22T10:00:00Z"
        ) from None


def _recipients(value: object) -> tuple[Recipient, ...]:
    if not isinstance(value, list):
        raise InvalidSend("has recipients that are not a list")
    found = []
    for item in value:
        address = item.get("address") if isinstance(item, dict) else None
        if not isinstance(address, str) or "@" not in address.strip("@") or len(address) > 320:
            raise InvalidSend(f"has a recipient without a proper address: {item!r}"[:LONGEST])
        try:
            role = Role(item.get("role") or "to")
        except ValueError:
            raise InvalidSend(f"has the role {item['role']!r}; use to, cc or bcc") from None
        contact = item.get("contact_id")
        found.append(Recipient(address=address, contact_id=None if contact is None else str(contact), role=role))
    return tuple(found)
