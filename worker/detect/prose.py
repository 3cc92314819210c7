"""What a notice's prose says of one recipient: the lines that its address leads, as most mail servers write them."""

import re
from collections.abc import Iterable
from typing import Final

from worker.detect.address import ADDRESS, TRAILING

# "<addr>: reason", "  addr", "To: addr", "addr (reason)", "addr": in quotes, "addr... Deferred", "550 <addr>... No"
LED: Final = re.compile(
    r"\A[ \t>*|\[-]{0,24}([245]\d\d[ \t-](?:[245]\.\d{1,3}\.\d{1,3}[ \t]+)?)?"
    r"(?i:(?=[a-z \t()-]{2,120}:)(?:[a-z-]{3,20} ){0,3}(?:recipient|address|rcpt to|to|for|user|mailbox"
    r"|account)(?:\(?e?s\)?)?[ \t]*:[ \t]*)?(?:\"[^\"\n]{0,80}\"[ \t]*)?<?"
    r"[\"']?(?i:smtp:|mailto:|rfc822;[ \t]*)?(" + ADDRESS.pattern + r")[>\]\"']{0,2}[ \t]*([^\n]*)$"
)  # only its words are asked without case: that costs most in the address, which has none
# Sendmail's transcript: ">>>" is what it sent, "<<<" what it was answered, then its own line (EX_PROTOCOL).
ANSWER: Final = re.compile(r"\A[ \t]{0,8}<<< ([45]\d\d[ -][^\n]*)")
PROTOCOL_ERROR: Final = re.compile(r"\.\.\. (?:remote )?protocol error", re.IGNORECASE)
OTHER_ENTRY: Final = re.compile(r"\A[ \t]{0,8}[245]\d\d \S")
MAX_ENTRY: Final = 2_000
MAX_LINES: Final = 40  # of one entry
RULE: Final = re.compile(r"^[ \t]*[-=*_#]{4,}")


# What follows a list of addresses of whom nothing is said.
BOILERPLATE: Final = re.compile(
    r"\A[ \t]*(?:no action is required|please note|for (?:further|more)|if you|below|the following|this is|you do not)",
    re.IGNORECASE,
)


def entries(text: str) -> list[tuple[str, str]]:
    """Return (address, what is said of it) for each line that an address leads; said of it is up to a blank line."""
    if "@" not in text:
        return []
    lines = text.split("\n")
    leads = [(number, led) for number, line in enumerate(lines) if "@" in line and (led := LED.match(line))]
    ends = [*(number for number, _ in leads[1:]), len(lines)]
    result = []
    for (number, led), end in zip(leads, ends, strict=False):
        code, address, rest = led.groups()
        first = f"{code or ''}{rest.lstrip(':>.,; ')}"
        below = lines[number + 1 : min(end, number + MAX_LINES)]
        answer = _answer_above(lines, number) if code else ""
        if answer and below and OTHER_ENTRY.match(below[0]):
            below = []  # a transcript's next line speaks of something else
        more = _paragraph(below, begun=bool(first))
        # A reply 50x speaks of the command (RFC 5321, 4.2.1): of the mail, the sending server's own line says more.
        said = f"{first}\n{answer}" if answer.startswith("50") else f"{answer}\n{first}"
        result.append((address.rstrip(TRAILING), f"{said}\n{more}".strip()[:MAX_ENTRY]))
    return result


def _answer_above(lines: list[str], number: int) -> str:
    """Return the other server's refusal where a transcript quotes it right above: the line itself says only "error"."""
    above = lines[number - 1] if number else ""
    said = ANSWER.match(above)
    return said.group(1).strip() if said and PROTOCOL_ERROR.search(lines[number]) else ""


def _paragraph(lines: list[str], *, begun: bool) -> str:
    """Return the lines up to the first blank one; where nothing was said before it, those of the next paragraph."""
    kept: list[str] = []
    for line in lines:
        if not line.strip() or RULE.match(line):
            if kept or begun:
                break
            continue
        if not kept and not begun and BOILERPLATE.match(line):
            break
        kept.append(line.strip())
    return "\n".join(kept)


def about(text: str, address: str) -> str:
    """Return what the lines led by `address` say, joined; empty where there are none."""
    return of(entries(text), address)


def of(said: Iterable[tuple[str, str]], address: str) -> str:
    """Return what `entries` found said of `address`, joined; empty where nothing is."""
    key = address.casefold()
    return "\n".join(words for found, words in said if words and found.casefold() == key)[:MAX_ENTRY]


def generated_from(text: str, address: str) -> str | None:
    """Return the address to which mail for `address` was forwarded, where Exim says so."""
    mark = f"(generated from {address})"
    if (end := text.find(mark)) < 0:
        return None
    words = text[:end].split()
    return words[-1].strip("<>") if words and "@" in words[-1] else None


def one_line(text: str) -> str:
    """Return `text` on one line."""
    return " ".join(text.split())
