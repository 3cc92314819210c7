"""Reading what the CRM says it sent: one JSON object a send, the same in files, in the API and on the queue. Pure."""

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from worker.domain import LATE_FIELDS, Recipient, Role, SendKind, SentEmail, bare_id, storable, utc

REQUIRED: Final = ("id", "account", "inbox", "kind", "sent_at", "recipients")
OPTIONAL: Final = tuple("from" if name == "sender" else name for name in LATE_FIELDS)  # a keyword of Python's
SUBJECT: Final = 2_000
"""Characters kept of a subject: RFC 5322, 2.1.1 allows lines of 998, and a subject may be folded."""
NAME: Final = 255
"""Characters of the CRM's own names: they are keys of our tables."""
ID: Final = 998
"""Characters of ids that travel in mail: a line (RFC 5322, 2.1.1)."""
LONGEST: Final = dict.fromkeys(("id", "account", "inbox", "sequence_id", "enrollment_id", "engagement_id"), NAME)
RECIPIENTS: Final = 1_000
ADDRESS: Final = 320
"""Characters of an address: 64, the sign and 255 (RFC 5321, 4.5.3.1)."""
AHEAD: Final = timedelta(days=1)
"""How far ahead of ours a CRM's clock may be."""


class InvalidSend(ValueError):
    """A send that can't be taken; the text says which field and why."""


def read_line(line: str | bytes) -> object:
    """Read one line of a sends file: what it holds, or the `InvalidSend` that says why it holds nothing."""
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        return InvalidSend(f"is not JSON ({error})")


def parse_line(line: str) -> SentEmail:
    """Read one line of a sends file. Raises `InvalidSend`."""
    data = read_line(line)
    if isinstance(data, InvalidSend):
        raise data
    if not isinstance(data, dict):
        raise InvalidSend("must be a JSON object")
    return parse_send(data)


def parse_send(data: Mapping[str, Any], now: datetime | None = None) -> SentEmail:
    """Build a send from its JSON object; fields that we don't know are ignored. Raises `InvalidSend`.

    With `now`, one that was sent in the future is refused: nothing would ever match it.
    """
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
        sent_at=_moment(data["sent_at"], now),
        recipients=_recipients(data["recipients"]),
        message_id=bare_id(message_id) if message_id else None,
        **texts,
    )


def _text(data: Mapping[str, Any], name: str) -> str | None:
    value = data.get(name)
    if value is None:
        return None
    if not isinstance(value, str | int) or isinstance(value, bool):
        raise InvalidSend(f"has a {name} that is not text")
    text = storable(str(value))
    if name == "subject":
        return text[:SUBJECT]
    most = LONGEST.get(name, ID)
    if len(text) > most:
        raise InvalidSend(f"has a {name} of {len(text):,} characters; {most} are allowed")
    return text


def _kind(value: object) -> SendKind:
    try:
        return SendKind(str(value))
    except ValueError:
        raise InvalidSend(f"has the kind {value!r}; use one_to_one or sequence") from None


def _moment(value: object, now: datetime | None) -> datetime:
    try:
        moment = utc(datetime.fromisoformat(str(value)))
    except (ValueError, OverflowError):
        raise InvalidSend(
            f"has the sent_at {value!r}; use ISO 8601 with a zone, such as 2026-11-22T10:00:00Z"[:SUBJECT]
        ) from None
    if now is not None and moment > now + AHEAD:
        raise InvalidSend(f"has the sent_at {value}, more than a day ahead of our clock ({now:%Y-%m-%d %H:%M} UTC)")
    return moment


def _recipients(value: object) -> tuple[Recipient, ...]:
    if not isinstance(value, list):
        raise InvalidSend("has recipients that are not a list")
    if len(value) > RECIPIENTS:
        raise InvalidSend(f"has {len(value):,} recipients; {RECIPIENTS:,} are allowed")
    found = []
    for item in value:
        address = item.get("address") if isinstance(item, dict) else None
        if not isinstance(address, str) or "@" not in address.strip("@") or len(address) > ADDRESS:
            raise InvalidSend(f"has a recipient without a proper address: {item!r}"[:500])
        try:
            role = Role(item.get("role") or "to")
        except ValueError:
            raise InvalidSend(f"has the role {item['role']!r}; use to, cc or bcc") from None
        found.append(Recipient(address=storable(address), contact_id=_contact(item.get("contact_id")), role=role))
    return tuple(found)


def _contact(value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str | int) or isinstance(value, bool) or len(str(value)) > NAME:
        raise InvalidSend(f"has a contact_id that is no text of at most {NAME} characters")
    return storable(str(value))
