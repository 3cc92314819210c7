"""A message that Exchange can't turn into MIME, put together from its properties: better than one nobody can read."""

import re
from email.header import Header
from typing import Final

from exchangelib.extended_properties import ExtendedProperty
from exchangelib.fields import ExtendedPropertyField, FieldPath

import connectors._exchange_items as items
from connectors._exchange_services import Element, T

_TRANSPORT: Final = {"property_tag": 0x007D, "property_type": "String"}  # MS-OXPROPS, PidTagTransportMessageHeaders

SHAPE: Final = (
    *items.ENVELOPE,
    items.plain("text_body"),
    FieldPath(field=ExtendedPropertyField("transport", value_cls=type("Transport", (ExtendedProperty,), _TRANSPORT))),
)
"""What such a message is made of."""

_FIELD: Final = re.compile(r"[!-9;-~]+:.*(?:\n[ \t].*)*\n?")
_ABOUT_THE_BODY: Final = ("content-", "mime-version:")


def compose(ref: str, item: Element) -> bytes:
    """Return header and text. The header is the one that it came with, else what its properties say."""
    fields = [field for field in _FIELD.findall(_transport(item)) if not field.lower().startswith(_ABOUT_THE_BODY)]
    if not fields:
        headers = items.envelope(ref, item).headers or {}
        fields = [
            f"{name}: {Header(value, 'utf-8').encode() if not value.isascii() else value}\n"
            for name, value in headers.items()
            if not name.startswith(_ABOUT_THE_BODY)
        ]
    head = "".join(field.rstrip("\n") + "\n" for field in fields)
    about = "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n"
    text = (item.findtext(f"{T}TextBody") or "").replace("\r\n", "\n")
    return f"{head}{about}\n{text}\n".replace("\n", "\r\n").encode("utf-8", errors="replace")


def _transport(item: Element) -> str:
    for extended in item.iterfind(f"{T}ExtendedProperty"):
        uri = extended.find(f"{T}ExtendedFieldURI")
        if uri is not None and (uri.get("PropertyTag") or "").lower() in ("0x7d", "0x007d"):
            return (extended.findtext(f"{T}Value") or "").replace("\r\n", "\n")
    return ""
