"""What a notice gives back of the message it speaks of: every id under which it names it, and its header."""

import re
from typing import Final

from worker.detect.header import NO_FIELDS, Fields, message_ids, read_fields
from worker.detect.mime import Part
from worker.detect.notice import Notice
from worker.domain import OriginalMessage

ID_FIELDS: Final = (  # best first: the sent message's own id, then what gateways keep of it
    "message-id",
    "x-original-message-id",
    "x-microsoft-original-message-id",
    "x-google-original-message-id",
    "original-message-id",
    "x-ms-exchange-parent-message-id",
    "resent-message-id",
)
KEPT_ID_FIELDS: Final = ID_FIELDS[1:]  # in a report or a notice, whose Message-ID is its own
TNEF_TYPES: Final = ("application/ms-tnef", "application/vnd.ms-tnef")
TNEF_BYTES: Final = 128 * 1024
# PR_INTERNET_MESSAGE_ID stands in TNEF as one byte or two bytes a character (MS-OXTNEF, 2.1.3.5).
TNEF_ID: Final = re.compile(r"<([^<>\s\0]{1,250}@[^<>\s\0]{1,250})>")
# Variable envelope return path: what stands between plus and at sign in the address that a notice came back to.
VERP: Final = re.compile(r"\+([\w.=-]{6,200})@", re.ASCII)
RETURN_FIELDS: Final = ("to", "delivered-to", "x-original-to", "envelope-to")
TRACKING_FIELDS: Final = ("x-crm-tracking-id",)
ID_LINE: Final = re.compile(
    r"^[ \t>|*]{0,16}(?:x-[\w-]{1,30}-)?(?:original-)?message[- ]id[ \t]*:[ \t]*\n?[ \t>]*"
    r"(<[^<>\s]{3,500}>|[^\s<>]{1,250}@[^\s<>]{1,250})",
    re.IGNORECASE | re.MULTILINE,
)
QUOTED: Final = re.compile(r"^[ \t>|]{1,16}(?=[A-Za-z][\w-]{1,40}:)", re.MULTILINE)
HEADER_LINE: Final = re.compile(r"^[A-Za-z][\w-]{1,60}:[ \t]", re.MULTILINE)


def original(notice: Notice, extra: Fields | None = None) -> OriginalMessage:
    """Return the original message of `notice`; `extra` are fields of the report that may name it (RFC 8098, 3.2.5)."""
    returned = notice.returned or _attached(notice)
    fields = returned.fields if returned else NO_FIELDS
    if not fields and notice.quote:
        fields = quoted_fields(notice.quote)
    ids = _ids(fields)
    if returned is None and not ids:
        ids = _ids_in_text(notice.quote) or _ids_in_text(notice.prose) or _ids_in_tnef(notice)
    if extra:
        ids += _ids(extra, KEPT_ID_FIELDS)
    ids = tuple(dict.fromkeys(ids + _ids(notice.fields, KEPT_ID_FIELDS)))
    return OriginalMessage(
        message_id=ids[0] if ids else None,
        message_ids=ids,
        tokens=tuple(fields.every_of(TRACKING_FIELDS)),
        return_tokens=tuple(
            token for value in notice.fields.every_of(RETURN_FIELDS) if "+" in value for token in VERP.findall(value)
        ),
        sender=fields.text("from") or None,
        to=fields.text("to") or None,
        subject=fields.text("subject") or None,
        date=fields.first("date"),
    )


def _attached(notice: Notice) -> Part | None:
    """Return the message that a gateway attached as a file instead of as message/rfc822."""
    for leaf in notice.leaves[1:]:
        name = leaf.parameters.get("name") or leaf.fields.first("content-disposition") or ""
        if ".eml" in name.lower() and not leaf.content_type.startswith("message/"):
            return leaf.message
    return None


def _ids_in_tnef(notice: Notice) -> tuple[str, ...]:
    for leaf in notice.leaves[1:]:
        if leaf.content_type in TNEF_TYPES:
            data = leaf.content[:TNEF_BYTES]
            texts = (data.decode("latin-1"), data.decode("utf-16-le", "ignore"), data[1:].decode("utf-16-le", "ignore"))
            return tuple(dict.fromkeys(found for text in texts for found in TNEF_ID.findall(text)))
    return ()


def quoted_fields(text: str) -> Fields:
    """Return the header that stands quoted in `text`: the first paragraph that holds two or more fields."""
    for paragraph in re.split(r"\n[ \t>]*\n", text, maxsplit=20)[:20]:
        block = QUOTED.sub("", paragraph)
        if len(HEADER_LINE.findall(block)) >= 2:
            return read_fields(block)
    return NO_FIELDS


def _ids(fields: Fields, names: tuple[str, ...] = ID_FIELDS) -> tuple[str, ...]:
    return tuple(found for value in fields.every_of(names) for found in message_ids(value))


def _ids_in_text(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(found.strip("<>") for found in ID_LINE.findall(text)))
