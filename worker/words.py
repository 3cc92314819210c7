"""Bytes and encoded words as text: charsets of the wild (RFC 2047), with a fallback for everything."""

import binascii
import codecs
import re
from functools import lru_cache
from typing import Final

ENCODED_WORD: Final = re.compile(r"=\?([\w.:+-]{1,40})(?:\*[\w-]{1,20})?\?([bBqQ])\?([^?\s]*+)\?=")
ENCODED_WORDS: Final = re.compile(rf"{ENCODED_WORD.pattern}(?:\s*+{ENCODED_WORD.pattern})*+")


def decode_words(value: str) -> str:
    """Return `value` with RFC 2047 encoded words decoded; what can't be decoded stays as it is."""
    return ENCODED_WORDS.sub(_decoded_words, value) if "=?" in value else value


def _decoded_words(found: re.Match[str]) -> str:
    """Return neighbouring words as text: some mail programs cut amid a character, so bytes are joined, then decoded."""
    text, pending, of = "", b"", ""
    for charset, encoding, coded in ENCODED_WORD.findall(found.group()):
        data = _word_bytes(coded.encode("utf-8", "replace"), encoding)
        if data is None:
            return found.group()
        if charset.lower() != of:
            text, pending, of = text + decode_charset(pending, of), b"", charset.lower()
        pending += data
    return text + decode_charset(pending, of)


def _word_bytes(coded: bytes, encoding: str) -> bytes | None:
    try:
        return base64_bytes(coded) if encoding in "bB" else binascii.a2b_qp(coded, header=True)
    except ValueError:
        return None


def base64_bytes(data: bytes) -> bytes:
    """Return what `data` encodes; padding that was cut off is put back, characters outside the alphabet dropped."""
    kept = data.translate(None, BASE64_NOISE)
    usable = kept[: len(kept) - 1] if len(kept) % 4 == 1 else kept
    return binascii.a2b_base64(usable + b"=" * (-len(usable) % 4))


BASE64_NOISE: Final = bytes(set(range(256)) - set(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"))


def decode_charset(data: bytes, charset: str | None) -> str:
    """Return `data` as text: by its charset if that is known and true, else as what it looks like. Never raises.

    A label of one byte a character fits any bytes, so that what is valid UTF-8 beyond ASCII is taken for that first.
    """
    name = _codec(charset)
    for candidate in ("utf-8", name) if name in ONE_BYTE else (name, "utf-8"):
        if candidate and (text := _strictly(data, candidate)) is not None:
            return text
    if name in MANY_BYTES:
        return data.decode(name, "replace")  # one broken character doesn't make the rest another language
    return data.decode("windows-1252", "replace")


@lru_cache(maxsize=256)
def _codec(charset: str | None) -> str | None:
    """Return Python's name of the codec for `charset`; None where there is none that mail may name."""
    label = (charset or "").strip().strip("'\"").lower()
    name = CHARSETS.get(label, label)
    try:
        found = codecs.lookup(name).name
    except (LookupError, ValueError):  # a ValueError is a null character
        return None
    return None if found in REFUSED else CHARSETS.get(found, found)


def _strictly(data: bytes, codec: str) -> str | None:
    """Return `data` as text, without a character that was cut off at its end; None where it is no text of `codec`."""
    try:
        return data.decode(codec)
    except UnicodeDecodeError as exc:
        whole = data[: exc.start]
        cut_off = exc.start >= len(data) - LONGEST_CHARACTER and not whole.isascii()
        return _strictly(whole, codec) if cut_off else None
    except (LookupError, ValueError):
        return None


LONGEST_CHARACTER: Final = 4  # bytes, in UTF-8 and GB 18030

# Names that mail programs write and Python doesn't know, or knows as less than what mail writes: iso-8859-1 in mail is
# windows-1252, gb2312 is gb18030, and so on (WHATWG Encoding, 4.2).
CHARSETS: Final = {
    "unknown-8bit": "utf-8", "x-unknown": "utf-8", "us-ascii": "utf-8", "ascii": "utf-8", "ansi_x3.4-1968": "utf-8",
    "utf8mb4": "utf-8", "iso-8859-1": "cp1252", "iso8859-1": "cp1252", "latin-1": "cp1252", "iso-8859-9": "cp1254",
    "iso8859-9": "cp1254", "iso-8859-8-i": "iso8859-8", "iso-8859-11": "cp874", "tis-620": "cp874",
    "windows-874": "cp874", "x-sjis": "cp932", "shift_jis": "cp932", "windows-31j": "cp932",
    "iso-2022-jp": "iso2022_jp_ext", "iso2022_jp": "iso2022_jp_ext", "cp50220": "iso2022_jp_ext",
    "x-gbk": "gb18030", "gbk": "gb18030", "gb2312": "gb18030",
    "big5": "big5hkscs", "x-x-big5": "big5hkscs", "cp950": "big5hkscs",
    "euc_kr": "cp949", "ks_c_5601-1987": "cp949", "ks_c_5601": "cp949",
    "cp-850": "cp850", "x-cp1251": "cp1251", "koi8-ru": "koi8-u",
}  # fmt: skip

# Not charsets of mail: UTF-7 hides what a text says from who looks for it (WHATWG leaves it out), the others are
# Python's own.
REFUSED: Final = frozenset(
    {"utf-7", "unicode-escape", "raw-unicode-escape", "idna", "punycode", "undefined", "mbcs", "oem"}
)
MANY_BYTES: Final = frozenset(
    {"gb18030", "hz", "big5hkscs", "cp949", "johab", "iso2022_kr", "cp932", "euc_jp", "euc_jis_2004", "iso2022_jp_ext"}
)
ONE_BYTE: Final = frozenset(
    {f"cp125{n}" for n in range(9)}
    | {f"iso8859-{n}" for n in range(1, 17)}
    | {"koi8-r", "koi8-u", "cp850", "cp852", "cp866", "cp437", "cp874", "mac-roman", "mac-cyrillic"}
)
