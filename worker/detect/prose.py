"""What a notice's prose says of one recipient: the lines that its address leads, as most mail servers write them."""

import re
from typing import Final

from worker.detect.address import ADDRESS, TRAILING

# "<addr>: reason", "  addr", "To: addr", "addr (reason)", "addr... Deferred", "550 5.1.1 <addr>... User unknown"
LED: Final = re.compile(
    r"^[ \t>*|\[-]{0,24}([245]\d\d[ \t-](?:[245]\.\d{1,3}\.\d{1,3}[ \t]+)?)?"
    r"(?:(?:[a-z-]{3,20} ){0,3}(?:recipient|address|rcpt to|to|for|user|mailbox"
    r"|account)(?:\(?e?s\)?)?[ \t]*:[ \t]*)?(?:\"[^\"\n]{0,80}\"[ \t]*)?<?"
    r"(?:smtp:|mailto:|rfc822;[ \t]*)?(" + ADDRESS.pattern + r")[>\]]?[ \t]*([^\n]*)$",
    re.IGNORECASE | re.MULTILINE,
)
SPACE: Final = re.compile(r"\s+")
MAX_ENTRY: Final = 2_000
RULE: Final = re.compile(r"^[ \t]*[-=*_#]{4,}")


# What follows a list of addresses of whom nothing is said.
BOILERPLATE: Final = re.compile(
    r"[ \t]*(?:no action is required|please note|for (?:further|more)|if you|below|the following|this is|you do not)",
    re.IGNORECASE,
)


def entries(text: str) -> list[tuple[str, str]]:
    """Return (address, what is said of it) for each line that an address leads; said of it is up to a blank line."""
    found = list(LED.finditer(text))
    result = []
    for index, match in enumerate(found):
        end = found[index + 1].start() if index + 1 < len(found) else len(text)
        rest = _paragraph(
            text[match.end() : min(end, match.end() + MAX_ENTRY)], begun=bool(match.group(3).strip(":>.,; "))
        )
        said = f"{match.group(1) or ''}{match.group(3).lstrip(':>.,; ')}\n{rest}".strip()
        result.append((match.group(2).rstrip(TRAILING), said))
    return result


def _paragraph(text: str, *, begun: bool) -> str:
    """Return the lines up to the first blank one; where nothing was said before it, those of the next paragraph."""
    lines: list[str] = []
    for line in text.split("\n")[1:]:
        if not line.strip() or RULE.match(line):
            if lines or begun:
                break
            continue
        if not lines and not begun and BOILERPLATE.match(line):
            break
        lines.append(line.strip())
    return "\n".join(lines)


def about(text: str, address: str) -> str:
    """Return what the lines led by `address` say, joined; empty where there are none."""
    key = address.casefold()
    return "\n".join(said for found, said in entries(text) if found.casefold() == key and said)[:MAX_ENTRY]


def one_line(text: str) -> str:
    """Return `text` on one line."""
    return SPACE.sub(" ", text).strip()
