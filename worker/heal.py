"""Whether a message comes from the address that it names, and from a person: who writes can be written to. Pure."""

import re
from email.utils import parseaddr
from typing import Final

from connectors.base import Envelope
from worker.domain import DeliveryReport, Kind, address_key

_MACHINES: Final = frozenset({"bulk", "junk", "list", "auto_reply"})
_PASSED: Final = re.compile(
    # One method's result and what it was found for (RFC 8601, 2.2): dmarc=pass … header.from=acme.example
    r"\b(?:dmarc|dkim)\s*=\s*pass\b[^;]*?\bheader\.(?:from|d|i)\s*=\s*\"?(?:[^\s;@\"]*@)?(?P<domain>[\w.-]+)",
    re.IGNORECASE,
)


def author_of(envelope: Envelope) -> str | None:
    """Return whom a message names as its author (as `address_key`), unless it says that a machine sent it.

    That proves nothing yet.
    """
    headers = envelope.headers or {}
    if headers.get("precedence", "").lower() in _MACHINES or headers.get("auto-submitted", "no").lower() != "no":
        return None
    return _address(headers.get("from", ""))


def author(report: DeliveryReport, authserv_id: str | None) -> str | None:
    """Return the address (as `address_key`) that provably wrote a message; None for machines and for the unproven.

    Only the inbox's own provider is believed, the outermost field that bears its name (RFC 8601, 5); a domain of its
    own, or one above or below it, has to have signed (DMARC's relaxed alignment, RFC 7489, 3.1).
    """
    address = _address(report.sender or "")
    if report.kind is not Kind.NONE or authserv_id is None or address is None:
        return None
    domain = address.rpartition("@")[2]
    own = (v for v in report.authentication_results if v.split(";")[0].split()[:1] == [authserv_id])
    results = next(own, "")
    if any(_is_aligned(found["domain"].casefold(), domain) for found in _PASSED.finditer(results)):
        return address
    return None


def _address(sender: str) -> str | None:
    _, address = parseaddr(sender)
    return address_key(address) if "@" in address else None


def _is_aligned(signed: str, domain: str) -> bool:
    return signed == domain or signed.endswith(f".{domain}") or (domain.endswith(f".{signed}") and "." in signed)
