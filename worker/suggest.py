"""New addresses that a notice names ("has left the company, write to …"): kept as a suggestion, never acted on."""

import re
from collections.abc import Collection
from typing import Final

from worker.domain import address_key

ADDRESS: Final = re.compile(r"[\w.!#$%&'*/=?^`{|}~+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,6}")
CUE: Final = re.compile(
    r"new (?:e-?mail )?address|address (?:has )?changed|has moved|moved to|no longer (?:works?|employed|with|at)"
    r"|left (?:the|our) (?:company|organi[sz]ation)|write to|(?:send|direct|forward) .{0,40}\bto\b|instead|please try"
    r"|user not local|neue (?:e-?mail-?)?adresse|nicht mehr (?:bei|im)|nouvelle adresse|nuev[ao] (?:direcci|correo)"
    r"|nuovo indirizzo|novo endere[çc]o|nieuw (?:e-?mail)?adres|ny (?:e-?post)?adresse?|nowy adres|новый адрес",
    re.IGNORECASE,
)
ROLES: Final = re.compile(
    r"^(?:post-?master|mailer-daemon|abuse|noreply|no-reply|support|help-?desk|admin\w*|root|bounces?)\b"
)
SENTENCE: Final = re.compile(r"(?<=[.!?])\s+|\n\s*\n")
LONGEST: Final = 8_000


def suggested_address(text: str, known: Collection[str]) -> str | None:
    """Return the address that `text` names as a new one, or None. `known` are addresses that are no news.

    Cue and address must stand in one sentence; a mail system's own address is none.
    """
    seen = {address_key(address) for address in known}
    for sentence in SENTENCE.split(" ".join(text[:LONGEST].split(" "))):
        if not CUE.search(sentence):
            continue
        for found in ADDRESS.findall(sentence):
            address = found.strip(".'")
            if address_key(address) not in seen and not ROLES.match(address.casefold()):
                return str(address)
    return None
