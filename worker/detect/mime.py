"""A bounded reader of MIME bytes (RFC 5322, 2045, 2046): it never raises and never reads on past its limits.

`email.message` alone costs more than recognising a bounce may: this reader finds the parts by their boundary lines and
decodes a header or a body only where a detector asks for it.
"""

import binascii
import re
from html.entities import html5 as ENTITIES  # noqa: N812 - a table
from typing import Final

from worker.detect.header import Fields, parameters, read_fields
from worker.detect.lazy import lazy
from worker.words import base64_bytes, decode_charset

MAX_BYTES: Final = 256 * 1024  # of a message; a report's own parts stand before the returned message
MAX_HEADER_BYTES: Final = 64 * 1024  # of one part
MAX_PARTS: Final = 50  # of one multipart
MAX_DEPTH: Final = 8  # of parts within parts; reports have 2, forwarding gateways add a few
MAX_TEXT: Final = 64 * 1024  # of one decoded body of text

HEADER_BLOCK: Final = re.compile(rb"\A(?:[!-9;-~]{1,76}+[ \t]*+:[^\n]*+\n(?:[ \t]++[^\s][^\n]*+\n)*+)*+")
NOT_YET: Final = b" \t\n\r\v\f\xef\xbb\xbf"  # what may stand before a message: white space, a byte order mark
TRANSPORT_LINE: Final = re.compile(rb">?From [^\n]*+\n")  # what mbox files put before a message
GUESSED_BOUNDARY: Final = re.compile(
    rb"^--([^\s-][^\n]{3,70}|-{2,40}[^\s-][^\n]{3,70})\n(?=content-)", re.IGNORECASE | re.MULTILINE
)
TAG: Final = re.compile(r"<(?:/?[a-zA-Z!][^<>]{0,2000}+)>")
INVISIBLE: Final = re.compile(r"<(style|script|head|title)\b[^<]*+(?:<(?!/\1)[^<]*+)*+", re.IGNORECASE)
BREAK: Final = re.compile(r"<(?:br|/?p|/?div|/?tr|/?h\d|/?li|/?table|hr)\b[^<>]{0,2000}+>", re.IGNORECASE)
HTML_HEAD: Final = 4_000
PREFORMATTED: Final = ("<pre", "<plaintext", "<xmp", "white-space: pre", "white-space:pre")
WIDE: Final = ("utf-16", "utf-32", "utf16", "utf32", "ucs-2", "unicode")
ENTITY: Final = re.compile(r"&(#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|\w{2,8});")


class Part:
    """One entity: a message or a part of one. All but its header fields is read on demand, once."""

    def __init__(self, source: bytes, depth: int, warnings: list[str], *, top: bool = False) -> None:
        self.source = source
        self._depth = depth
        self.warnings = warnings
        self._body_start = _header_end(source, top=top)
        self.fields = self._fields()

    def _fields(self) -> Fields:
        block = self.source[: self._body_start]
        if len(block) > MAX_HEADER_BYTES:
            self.warn(f"only the first {MAX_HEADER_BYTES} bytes of a header were read")
            block = block[:MAX_HEADER_BYTES]
        return read_fields(block.decode("utf-8") if block.isascii() else decode_charset(block, "utf-8"))

    @lazy
    def content_type(self) -> str:
        """type/subtype in lower case; text/plain where none is given (RFC 2045, 5.2)."""
        kind = (self.fields.first("content-type") or "").partition(";")[0]
        return "".join(kind.split()).lower() or "text/plain"

    @lazy
    def parameters(self) -> dict[str, str]:
        """The parameters of Content-Type."""
        return parameters(self.fields.first("content-type") or "")

    @property
    def body(self) -> bytes:
        """The body as it was transferred."""
        return self.source[self._body_start :]

    @lazy
    def content(self) -> bytes:
        """The body with its transfer encoding undone (RFC 2045, 6)."""
        encoding = (self.fields.first("content-transfer-encoding") or "").strip().lower()
        if encoding == "base64":
            return _unix_lines(_base64(self.body))
        if encoding == "quoted-printable":
            return _unix_lines(binascii.a2b_qp(self.body))
        return self.body

    @lazy
    def text(self) -> str:
        """The body as text; HTML is stripped to its words. At most MAX_TEXT characters."""
        data = self.content[: 4 * MAX_TEXT]
        plain = data.isascii() and b"\x1b" not in data and b"\0" not in data  # ISO-2022 and UTF-16 may be ASCII too
        decoded = data.decode() if plain else self._decoded(data)
        return (html_text(decoded[: 2 * MAX_TEXT]) if self.content_type == "text/html" else decoded)[:MAX_TEXT]

    def _decoded(self, data: bytes) -> str:
        charset = self.parameters.get("charset")
        if charset and charset.lower().startswith(WIDE) and b"base64" in self.source[: self._body_start].lower():
            text = decode_charset(_base64(self.body)[: 4 * MAX_TEXT], charset)
            return text.replace("\r\n", "\n").replace("\r", "\n")  # only now: half a character may look like an end
        return decode_charset(data, charset)

    @lazy
    def parts(self) -> tuple["Part", ...]:
        """The parts of a multipart, split at its own boundary lines; empty for anything else."""
        if not self.content_type.startswith("multipart/"):
            return ()
        if self._depth >= MAX_DEPTH:
            self.warn(f"parts within parts were read {MAX_DEPTH} levels deep")
            return ()
        boundary = (self.parameters.get("boundary") or "").encode("utf-8", "replace").rstrip()
        pieces = _split(self.body, boundary) if boundary else []
        if not pieces and (guess := GUESSED_BOUNDARY.search(self.body)):
            self.warn("the boundary of the parts was guessed")  # the header says none, or another
            boundary = guess.group(1)
            pieces = _split(self.body, boundary)
        if len(pieces) > MAX_PARTS:
            self.warn(f"only the first {MAX_PARTS} parts were read")
        elif pieces and self._depth == 0 and self.source.rfind(b"--" + boundary + b"--", self._body_start) < 0:
            self.warn("the end of the message is missing")
        return tuple(Part(piece, self._depth + 1, self.warnings) for piece in pieces[:MAX_PARTS])

    @lazy
    def leaves(self) -> tuple["Part", ...]:
        """The parts that are no multiparts, in order; a part that holds a message is a leaf and stays closed."""
        if not self.content_type.startswith("multipart/") or not self.parts:
            return (self,)
        found: list[Part] = []
        for part in self.parts:
            found += part.leaves if part.content_type.startswith("multipart/") else (part,)
        return tuple(found)

    @lazy
    def message(self) -> "Part":
        """The message that a message/rfc822 or message/global part holds, or the fields of a text/rfc822-headers."""
        return Part(self.content.lstrip(b"\n"), self._depth + 1, self.warnings, top=True)

    def warn(self, words: str) -> None:
        """Note in plain words that something was cut off or malformed; once."""
        if words not in self.warnings:
            self.warnings.append(words)


def read(raw: bytes) -> Part:
    """Return the message in `raw`, of which the first MAX_BYTES are looked at."""
    warnings: list[str] = []
    if len(raw) > MAX_BYTES:
        warnings.append(f"only the first {MAX_BYTES} bytes of {len(raw)} were read")
    elif not raw:
        warnings.append("the message is empty")
    source = _unix_lines(raw[:MAX_BYTES]).lstrip(NOT_YET)
    if source.startswith((b"From ", b">From ")) and (found := TRANSPORT_LINE.match(source)):
        source = source[found.end() :]
    return Part(source, 0, warnings, top=True)


def _unix_lines(data: bytes) -> bytes:
    return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n") if b"\r" in data else data


def _header_end(source: bytes, *, top: bool) -> int:
    """Return where the body starts. A part may start with its text at once, a header may hold a broken line."""
    found = HEADER_BLOCK.match(source)
    end = found.end() if found else 0
    if source[end : end + 1] == b"\n":
        return end + 1
    if not top or not end:
        return end
    blank = source.find(b"\n\n", max(end - 1, 0))
    rest = source[end : blank + 1 if blank >= 0 else len(source)]
    # A line in the header that is no field (a fold without white space, ">From"): fields go on behind it.
    behind = rest.partition(b"\n")[2]
    step = HEADER_BLOCK.match(behind)
    if step and step.end() and blank >= 0:
        return blank + 2
    return end


def _split(body: bytes, boundary: bytes) -> list[bytes]:
    """Return what stands between the boundary lines (RFC 2046, 5.1.1); a missing close boundary ends with the body."""
    pieces: list[bytes] = []
    text = b"\n" + body
    delimiter = b"\n--" + boundary
    start: int | None = None
    position = text.find(delimiter)
    while position >= 0:
        line_end = text.find(b"\n", position + 1)
        line_end = len(text) if line_end < 0 else line_end
        tail = text[position + len(delimiter) : line_end].strip()
        if tail in (b"", b"--"):
            if start is not None:
                pieces.append(text[start:position])
            if tail or len(pieces) > MAX_PARTS:
                return pieces
            start = line_end + 1
        position = text.find(delimiter, line_end)
    if start is not None and start < len(text):
        pieces.append(text[start:])
    return pieces


def _base64(data: bytes) -> bytes:
    """Return the decoded bytes, or the body as it stands where it is no base64 after all."""
    try:
        return base64_bytes(data)
    except ValueError:
        return data


def html_text(markup: str) -> str:
    """Return the words of `markup`, a line for a block; enough to find a reason in, no more."""
    shown = INVISIBLE.sub(" ", markup)
    if "\n" in shown:
        folded = shown[:HTML_HEAD].lower()
        broken = sum(folded.count(tag) for tag in ("<br", "<p", "<div", "<tr")) > 2
        if broken and not any(sign in folded for sign in PREFORMATTED):
            shown = shown.replace("\n", " ")  # a line ends where markup says so
    words = TAG.sub("", BREAK.sub("\n", shown))
    return ENTITY.sub(_character, words)


def _character(found: re.Match[str]) -> str:
    name = found.group(1)
    if name.startswith("#"):
        number = int(f"0{name[1:]}", 0) if name[1] in "xX" else int(name[1:])
        return chr(number) if 0 < number < 0x110000 and not 0xD800 <= number < 0xE000 else " "
    return " " if name == "nbsp" else ENTITIES.get(f"{name};", found.group())
