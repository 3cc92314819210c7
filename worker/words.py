"""Bytes and encoded words as text: charsets of the wild (RFC 2047), with a fallback for everything."""

import binascii
import re
from typing import Final

ENCODED_WORD: Final = re.compile(r"=\?([\w.:+-]{1,40})(?:\*[\w-]{1,20})?\?([bBqQ])\?([^?\s]*+)\?=")
BETWEEN_WORDS: Final = re.compile(r"(\?=)\s+(?==\?)")


def decode_words(value: str) -> str:
    """Return `value` with RFC 2047 encoded words decoded; what can't be decoded stays as it is."""
    if "=?" not in value:
        return value
    return ENCODED_WORD.sub(_decoded_word, BETWEEN_WORDS.sub(r"\1", value))


def _decoded_word(found: re.Match[str]) -> str:
    charset, encoding, text = found.groups()
    raw = text.encode("latin-1", "replace")
    try:
        data = base64_bytes(raw) if encoding in "bB" else binascii.a2b_qp(raw, header=True)
    except ValueError:
        return found.group()
    return decode_charset(data, charset)


def base64_bytes(data: bytes) -> bytes:
    """Return what `data` encodes; padding that was cut off is put back, characters outside the alphabet dropped."""
    kept = data.translate(None, BASE64_NOISE)
    usable = kept[: len(kept) - 1] if len(kept) % 4 == 1 else kept
    return binascii.a2b_base64(usable + b"=" * (-len(usable) % 4))


BASE64_NOISE: Final = bytes(set(range(256)) - set(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"))


def decode_charset(data: bytes, charset: str | None) -> str:
    """Return `data` as text: by its charset if that is known and true, else as UTF-8, else byte by byte."""
    for name in (charset, "utf-8"):
        if not name:
            continue
        try:
            return data.decode(CHARSETS.get(name.lower(), name))
        except (LookupError, UnicodeError, ValueError):
            continue
    return data.decode("latin-1")


# Names that mail programs write and Python doesn't know; iso-8859-1 in mail is windows-1252 (WHATWG Encoding, 4.2).
CHARSETS: Final = {
    "unknown-8bit": "utf-8", "x-unknown": "utf-8", "iso-8859-8-i": "iso-8859-8", "iso-8859-1": "windows-1252",
    "us-ascii": "utf-8", "ascii": "utf-8", "ansi_x3.4-1968": "utf-8", "x-sjis": "shift_jis", "x-gbk": "gbk",
    "ks_c_5601-1987": "cp949", "iso-2022-jp": "iso2022_jp_ext", "gb2312": "gb18030", "cp-850": "cp850",
}  # fmt: skip
