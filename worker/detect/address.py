"""Addresses as they stand in reports: typed (RFC 3464, 2.1.2), escaped (RFC 6533, 3), or amid a sentence."""

import re
from typing import Final

# Generous on the left (addresses of the wild hold =, +, #, / and letters of any script), strict on the right.
ADDRESS: Final = re.compile(
    r"(?<![^\s<>()\[\]\",;:@|'`\\*«»„“”])(?:\"[^\"\s@]{1,64}\"|[^\s<>()\[\]\",;:@|'`\\*«»„“”]{1,128}+(?:(?<=\w)'[^\s<>()\[\]\",;:@|'`\\*«»„“”]{1,64}+){0,2}+)@(?:[\w-]{1,63}+(?:\.[\w-]{1,63}+)*+|\[[\d.]{7,15}\])"
)
BRACKETED: Final = re.compile(r"<([^<>\s]*+(?:\s[^<>\s]++)*+)>")
TYPED: Final = re.compile(r"^\s*([A-Za-z][\w.-]{0,30})\s*/?\s*;\s*(.*)$", re.DOTALL)
ESCAPE: Final = re.compile(r"\\x\{([0-9A-Fa-f]{1,6})\}")
QUOTED_LOCAL: Final = re.compile(r"\A\s*\"[^\"\n]{1,128}\"@[\w.-]+\s*")
PREFIX: Final = re.compile(r"^(?:smtp|mailto|rfc-?822)=", re.IGNORECASE)  # X.400 addresses: dda:SMTP=user@domain
TRAILING: Final = ".,:;!?>)'\""


def recipient(value: str | None) -> str | None:
    """Return the address of a Final-Recipient or Original-Recipient, whatever its type; None where it is empty."""
    if not value:
        return None
    typed = TYPED.match(value)
    address = typed.group(2) if typed else value
    if "\\x{" in address:
        address = ESCAPE.sub(_escaped, address)
    return bare(address)


def bare(value: str) -> str | None:
    """Return the address in `value` without display name, angle brackets, comments and a trailing dot."""
    text = value.strip()
    if "<" in text:
        inside = BRACKETED.search(text)
        text = inside.group(1) if inside and inside.group(1) else text.replace("<", " ").replace(">", " ")
    if ":" in text and text.lower().startswith(("smtp:", "mailto:")):
        text = text.partition(":")[2]
    found = None if '"' in text and QUOTED_LOCAL.fullmatch(text) else ADDRESS.search(text)
    if found and (len(text.split()) > 1 or text.endswith(tuple(TRAILING))):
        text = found.group().rstrip(TRAILING)
    return text.strip(" \t\n<>'").rstrip(".,;") or None if "@" in text else (text.strip(" \t<>") or None)


def every(text: str) -> tuple[str, ...]:
    """Return the addresses in `text`, in order, each once."""
    if "@" not in text:
        return ()
    return tuple(dict.fromkeys(PREFIX.sub("", found.rstrip(TRAILING)) for found in ADDRESS.findall(text)))


def _escaped(found: re.Match[str]) -> str:
    number = int(found.group(1), 16)
    return chr(number) if 0 < number < 0x110000 and not 0xD800 <= number < 0xE000 else found.group()
