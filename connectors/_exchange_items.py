"""What we ask about a message, and the `Envelope` that its properties make.

Exchange keeps mail as properties, not as text: the fields below come from those it fills itself, decoded; the others it
keeps by name (MS-OXPROPS, PS_INTERNET_HEADERS). The whole header block (InternetMessageHeaders) is several times as
large as what we need of it.
"""

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Final

from exchangelib.extended_properties import ExtendedProperty
from exchangelib.fields import ExtendedPropertyField, FieldPath
from exchangelib.items import Message

from connectors._exchange_services import Element, T
from connectors._headers import HEADER_LIMIT
from connectors.base import ENVELOPE_HEADERS, SENT_HEADERS, Envelope, MessageRef

_OWN_PROPERTIES: Final = frozenset(
    {"From", "Sender", "To", "Cc", "Subject", "Date", "Message-ID", "In-Reply-To", "References"}
)
_NAMED_KEYS: Final = frozenset(name.lower() for name in (*ENVELOPE_HEADERS, *SENT_HEADERS)) - {
    name.lower() for name in _OWN_PROPERTIES
}
_SPECIALS: Final = re.compile(r'[()<>@,:;\\"\[\]]')
_COMMON: Final = ("size", "datetime_received", "datetime_sent", "conversation_id", "subject", "message_id")
_TEXTS: Final = {
    "subject": "Subject",
    "to": "DisplayTo",  # the names only: a list of addresses may be of any length
    "message-id": "InternetMessageId",
    "in-reply-to": "InReplyTo",
    "references": "References",
}


def plain(name: str) -> FieldPath:
    return FieldPath(field=Message.get_field_by_fieldname(name))


def _named(header: str) -> FieldPath:
    members = {
        "distinguished_property_set_id": "InternetHeaders",
        "property_name": header,
        "property_type": "String",
    }
    # Not registered with exchangelib's Message: that would be for all of the process.
    return FieldPath(field=ExtendedPropertyField(header, value_cls=type("Header", (ExtendedProperty,), members)))


def _shape(properties: Sequence[str], headers: Sequence[str]) -> tuple[FieldPath, ...]:
    return (*map(plain, properties), *(_named(name) for name in headers if name not in _OWN_PROPERTIES))


ENVELOPE: Final = _shape(
    (*_COMMON, "item_class", "author", "sender", "display_to", "in_reply_to", "references"), ENVELOPE_HEADERS
)
"""All that the `Envelope` of a new message is made of."""

SENT: Final = _shape((*_COMMON, "to_recipients", "cc_recipients"), SENT_HEADERS)
"""The same for a message that was sent: the addresses it went to, which tell it from others."""

RECEIVED: Final = plain("datetime_received")
CONTENT: Final = plain("mime_content")


def item_id(item: Element) -> str | None:
    found = item.find(f"{T}ItemId")
    return None if found is None else found.get("Id")


def received_at(item: Element) -> datetime | None:
    return moment(item.findtext(f"{T}DateTimeReceived"))


def envelope(ref: str, item: Element) -> Envelope:
    size = item.findtext(f"{T}Size") or ""
    conversation = item.find(f"{T}ConversationId")
    return Envelope(
        ref=MessageRef(ref),
        headers=dict(_headers(item)),
        item_class=item.findtext(f"{T}ItemClass") or None,
        size=int(size) if size.isascii() and size.isdecimal() and len(size) < 16 else None,
        thread_id=None if conversation is None else conversation.get("Id"),
        received_at=received_at(item),
    )


def _headers(item: Element) -> Iterator[tuple[str, str]]:
    for key, tag in _TEXTS.items():
        if text := _flat(item.findtext(f"{T}{tag}")):
            yield key, text
    for key, tag in (("from", "From"), ("sender", "Sender")):
        if text := _address(item.find(f"{T}{tag}/{T}Mailbox")):
            yield key, text
    for key, tag in (("to", "ToRecipients"), ("cc", "CcRecipients")):
        if text := ", ".join(filter(None, map(_address, item.iterfind(f"{T}{tag}/{T}Mailbox")))):
            yield key, text[:HEADER_LIMIT]
    sent = moment(item.findtext(f"{T}DateTimeSent"))
    if sent is not None:
        yield "date", format_datetime(sent)
    for extended in item.iterfind(f"{T}ExtendedProperty"):
        uri = extended.find(f"{T}ExtendedFieldURI")
        key = "" if uri is None else (uri.get("PropertyName") or "").lower()
        if key in _NAMED_KEYS:
            yield key, _flat(extended.findtext(f"{T}Value"))  # an empty value says something too


def _address(mailbox: Element | None) -> str:
    if mailbox is None:
        return ""
    name = _flat(mailbox.findtext(f"{T}Name"))
    address = _flat(mailbox.findtext(f"{T}EmailAddress"))
    if not address or name == address:
        return address or name
    if _SPECIALS.search(name):  # "Builder, Bob" would read as two (RFC 5322, 3.2.3)
        name = '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return f"{name} <{address}>" if name else f"<{address}>"


def _flat(text: str | None) -> str:
    return " ".join((text or "")[:HEADER_LIMIT].split())


def moment(text: str | None) -> datetime | None:
    try:
        date = datetime.fromisoformat(text or "")
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
