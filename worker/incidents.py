"""When an inbox itself is the problem: many refusals that are its sender's fault. Pure.

No contact is to blame for those, so they are told to the inbox's owner, once, and not contact by contact.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from worker.domain import Bounce, Fault, Reason

WINDOW: Final = timedelta(hours=24)
FAILURES: Final = 5
DOMAINS: Final = 2
"""So many failures, at so many mail systems, within the window: one strict server is no incident."""
SETTLED: Final = timedelta(hours=1)
"""How old a send must be to count as gone through: most refusals come within minutes."""
GOOD_SENDS: Final = 5
"""So many sends since the last failure that have gone through close an incident."""
FORGOTTEN: Final = timedelta(days=7)
"""An incident of an inbox that sends nothing more is closed after so long."""


class IncidentKind(StrEnum):
    """What receivers hold against the sender."""

    AUTHENTICATION = "authentication"  # SPF, DKIM, DMARC
    REPUTATION = "reputation"  # taken for spam
    POLICY = "policy"


KINDS: Final = {
    Reason.SENDER_NOT_AUTHORISED: IncidentKind.AUTHENTICATION,
    Reason.SPAM: IncidentKind.REPUTATION,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """An incident of an inbox; `closed_at` is None while it is open. `bounce_id` is an example."""

    id: str
    account: str
    inbox: str
    kind: IncidentKind
    opened_at: datetime
    last_at: datetime
    failures: int
    bounce_id: str
    closed_at: datetime | None = None


def is_senders(bounce: Bounce) -> bool:
    """Whether a bounce is the sender's fault."""
    return bounce.verdict.fault is Fault.SENDER


def kind_of(bounces: Sequence[Bounce]) -> IncidentKind:
    """Return what most of some bounces are about."""
    kinds = [KINDS.get(bounce.verdict.reason, IncidentKind.POLICY) for bounce in bounces]
    return max(IncidentKind, key=kinds.count)


def are_too_many(bounces: Iterable[Bounce], now: datetime) -> bool:
    """Whether the failures of an inbox make an incident."""
    recent = [bounce for bounce in bounces if is_senders(bounce) and now - WINDOW < bounce.occurred_at <= now]
    domains = {bounce.address.rpartition("@")[2].casefold() for bounce in recent}
    return len({bounce.send_id for bounce in recent}) >= FAILURES and len(domains) >= DOMAINS


def is_over(incident: Incident, good_sends: int, now: datetime) -> bool:
    """Whether sends go through again: so many since the last failure, or none for long."""
    return good_sends >= GOOD_SENDS or now - incident.last_at >= FORGOTTEN
