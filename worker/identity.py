"""What makes two copies of a notice the same report."""

import hashlib
import re
from typing import Final

STABLE_FIELDS: Final = frozenset(
    {b"from", b"to", b"subject", b"date", b"message-id", b"auto-submitted", b"in-reply-to", b"references"}
)
"""Header fields that no server on the way adds, changes or repeats (RFC 5321, 4.4 names those that it does)."""

BODY_BYTES: Final = 64 * 1024
"""How much of the body counts: less than what is fetched, so that a cut-off copy and a whole one are the same."""

_BLANK_LINE: Final = re.compile(rb"\n[ \t]*\n")
_FOLD: Final = re.compile(rb"\n[ \t]+")
_SPACE: Final = re.compile(rb"\s+")


def report_digest(raw: bytes) -> str:
    """Return a digest (hex) of a notice without its transport headers.

    The same notice gives the same digest whatever inbox, folder or line ending it came with.
    """
    text = raw.replace(b"\r\n", b"\n").replace(b"\r", b"\n").lstrip(b"\n")
    blank = _BLANK_LINE.search(text)
    head, body = (text[: blank.start()], text[blank.end() :]) if blank else (text, b"")
    digest = hashlib.sha256()
    for field in sorted(_fields(head)):
        digest.update(field + b"\n")
    digest.update(b"\n" + body[:BODY_BYTES].strip())
    return digest.hexdigest()


def _fields(head: bytes) -> list[bytes]:
    lines = (line.partition(b":") for line in _FOLD.sub(b" ", head).split(b"\n"))
    stable = ((name.strip().lower(), value) for name, _, value in lines)
    return [name + b":" + _SPACE.sub(b" ", value).strip() for name, value in stable if name in STABLE_FIELDS]
