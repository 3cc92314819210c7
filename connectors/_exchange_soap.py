"""An answer's bytes, read as SOAP: strictly where something could get lost, leniently where Exchange errs."""

import re
from typing import Any, Final

from lxml import etree

from connectors._exchange_errors import NotEws

_BOM: Final = b"\xef\xbb\xbf"
# What stands before the envelope leaves no room for a document type, and so for entities (SOAP 1.1, 3).
_OPENING: Final = re.compile(rb"\s*(?:<\?xml[^<>]*\?>)?\s*<(?:\w+:)?Envelope[\s>]")
_CLOSING: Final = re.compile(rb"</(?:\w+:)?Envelope\s*>\s*\Z")
_REFERENCE: Final = re.compile(rb"&#(?:x([0-9A-Fa-f]{1,8})|([0-9]{1,10}));")
_CONTROL: Final = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f]|\xef\xbf[\xbe\xbf]")
_INSTEAD: Final = "\N{REPLACEMENT CHARACTER}".encode()


def parse(content: bytes) -> Any:  # noqa: ANN401 - lxml ships no types
    """Return the root element. Raises `NotEws`.

    An answer that is cut off must not pass for a short one: its sync state comes first, and its messages would be lost.
    """
    content = content.removeprefix(_BOM)
    if _OPENING.match(content) is None or _CLOSING.search(content[-256:]) is None:
        raise NotEws
    try:
        return _strict(content)
    except etree.XMLSyntaxError:
        pass
    # QUIRK: Exchange writes control characters of mail into XML as they are, or as references; XML allows neither.
    content = content.decode("utf-8", errors="replace").encode()
    content = _CONTROL.sub(_INSTEAD, _REFERENCE.sub(_legal, content))
    try:
        return _strict(content)
    except etree.XMLSyntaxError:
        raise NotEws from None


def _strict(content: bytes) -> Any:  # noqa: ANN401 - lxml ships no types
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=True)
    return etree.fromstring(content, parser)  # the size is bounded where it was read


def _legal(reference: re.Match[bytes]) -> bytes:
    code = int(reference[1], 16) if reference[1] else int(reference[2])
    is_legal = code in (9, 10, 13) or 0x20 <= code < 0xD800 or 0xE000 <= code < 0xFFFE or 0x10000 <= code < 0x110000
    return reference[0] if is_legal else _INSTEAD
