"""What a notice gives back of the message it speaks of: every id under which it names it, and its header."""

import re
from typing import Final

from worker.detect.header import Fields, message_ids, read_fields
from worker.detect.notice import Notice
from worker.domain import OriginalMessage

ID_FIELDS: Final = (  # best first: the sent message's own id, then what gateways keep of it
    "message-id",
    "x-original-message-id",
    "x-microsoft-original-message-id",
    "x-google-original-message-id",
    "original-message-id",
    "resent-message-id",
)
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
    returned = notice.returned
    fields = returned.fields if returned else Fields(())
    if not fields and notice.quote:
        fields = quoted_fields(notice.quote)
    ids = _ids(fields)
    if returned is None and not ids:
        ids = _ids_in_text(notice.quote) or _ids_in_text(notice.prose)
    if extra:
        ids += _ids(Fields(item for item in extra.items if item[0].lower() != "message-id"))
    ids += tuple(i for name in ID_FIELDS[1:] for value in notice.fields.every(name) for i in message_ids(value))
    ids = tuple(dict.fromkeys(ids))
    return OriginalMessage(
        message_id=ids[0] if ids else None,
        message_ids=ids,
        tokens=tuple(value for name in TRACKING_FIELDS for value in fields.every(name)),
        sender=fields.text("from") or None,
        to=fields.text("to") or None,
        subject=fields.text("subject") or None,
        date=fields.first("date"),
    )


def quoted_fields(text: str) -> Fields:
    """Return the header that stands quoted in `text`: the first paragraph that holds two or more fields."""
    for paragraph in re.split(r"\n[ \t>]*\n", text, maxsplit=20)[:20]:
        block = QUOTED.sub("", paragraph)
        if len(HEADER_LINE.findall(block)) >= 2:
            return read_fields(block)
    return Fields(())


def _ids(fields: Fields) -> tuple[str, ...]:
    return tuple(found for name in ID_FIELDS for value in fields.every(name) for found in message_ids(value))


def _ids_in_text(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(found.strip("<>") for found in ID_LINE.findall(text)))
