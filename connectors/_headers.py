"""A block of header fields as bytes, read into `Envelope.headers`. Never fails: mail is what it is."""

import re
from collections.abc import Mapping
from typing import Final

from connectors.base import ENVELOPE_HEADERS, SENT_HEADERS

HEADER_LIMIT: Final = 64 * 1024
"""How much of a header block is read, in bytes: a first look needs no more, and no sender may make us read more."""

ENVELOPE_FIELDS: Final = frozenset(name.lower() for name in ENVELOPE_HEADERS)
SENT_FIELDS: Final = frozenset(name.lower() for name in SENT_HEADERS)
_BLANK_LINE: Final = re.compile(rb"^\r?\n", re.MULTILINE)
_FOLD: Final = re.compile(rb"\r?\n(?=[ \t])")  # RFC 5322, 2.2.3


def parse_headers(block: bytes, wanted: frozenset[str] = ENVELOPE_FIELDS) -> Mapping[str, str]:
    """Return the first value of each wanted field; see `Envelope.headers`. What follows a blank line is ignored."""
    if end := _BLANK_LINE.search(block):
        block = block[: end.start()]
    headers: dict[str, str] = {}
    for line in _FOLD.sub(b"", block).split(b"\n"):
        name, colon, value = line.partition(b":")
        key = name.strip().lower().decode("ascii", errors="replace")
        if colon and key in wanted:
            headers.setdefault(key, value.strip().decode("utf-8", errors="replace"))
    return headers
