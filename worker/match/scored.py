"""Separate notices: those that give back no id (Mimecast's and their like), scored by what they do say.

A score is a confidence, not a proof: only one that reaches the threshold, and leaves the next candidate well behind,
attaches; any other waits for a person with its candidates.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final

from worker.domain import DeliveryReport, Match, Recipient, RecipientReport, Rung, SentEmail, address_key, utc
from worker.match.outcome import Doubtful, Outcome, Unmatched

WINDOW: Final = timedelta(days=5)
"""How long after a send its notice may come: what mail servers keep retrying for (RFC 5321, 4.5.4.1)."""
CLOCK_SKEW: Final = timedelta(hours=1)
THRESHOLD: Final = 0.8
"""Confidence from which a scored match attaches, unless the inbox has its own."""
MARGIN: Final = 0.15
"""How far the next candidate must be behind."""
HIGHEST: Final = 0.89
"""No score says as much as the weakest proof by id."""

RECIPIENT: Final = 0.35
SAME_INBOX: Final = 0.15
OTHER_INBOX: Final = -0.1
SUBJECT: Final = 0.25
OTHER_SUBJECT: Final = -0.35
SAME_MINUTE: Final = 0.1
SAME_TIME: Final = timedelta(minutes=2)
OTHER_MINUTE: Final = -0.35
OTHER_TIME: Final = timedelta(minutes=15)
"""Apart from which a time that is given back speaks against an email: its Date is written where it is sent."""
AUTHOR: Final = 0.05
UNAUTHENTICATED: Final = -0.2
FAILED: Final = re.compile(r"\b(?:dmarc|spf|dkim)\s*=\s*fail\b", re.IGNORECASE)
SOON: Final[tuple[tuple[timedelta, float], ...]] = (
    (timedelta(minutes=10), 0.15),
    (timedelta(days=1), 0.1),
    (WINDOW, 0.05),
)
SHORTEST_SUBJECT: Final = 6
"""Characters below which a subject found in a notice's text may stand there by chance."""

GATEWAYS: Final = frozenset(
    {"mimecast.com", "mimecast.org", "pphosted.com", "proofpoint.com", "messagelabs.com", "ppe-hosted.com"}
    | {"barracudanetworks.com", "trendmicro.com", "trendmicro.eu", "mxthunder.com", "antispamcloud.com"}
)
"""Domains under which mail gateways write notices for their customers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """Where and when a report came: the inbox's name and address, the time, and the provider's thread.

    `authserv_id` is the name under which the inbox's own provider writes Authentication-Results (RFC 8601, 2.5);
    those of anybody else count for nothing.
    """

    inbox: str
    address: str
    at: datetime
    thread_id: str | None = None
    authserv_id: str | None = None
    threshold: float = THRESHOLD


def score(report: DeliveryReport, recipient: RecipientReport, seen: Seen, around: Sequence[SentEmail]) -> Outcome:
    """Say which of the emails in `around` a report that gives back no id means."""
    found = [
        _scored(report, send, to, seen)
        for send in around
        if (to := _written_to(send, recipient)) is not None and _in_time(send, seen.at)
    ]
    if not found:
        return Unmatched()
    found.sort(key=lambda match: (-match.confidence, -match.send.sent_at.timestamp(), match.send.id))
    best = found[0]
    rivals = [other for other in found[1:] if best.confidence - other.confidence < MARGIN]
    if best.confidence >= seen.threshold and not rivals:
        return best
    return Doubtful(
        send=best.send,
        rung=best.rung,
        why=f"{len(rivals) + 1} emails could be meant" if rivals else "the notice gives back no id",
        confidence=round(best.confidence / (len(rivals) + 1), 3),
        candidates=tuple(found),
    )


def _written_to(send: SentEmail, report: RecipientReport) -> Recipient | None:
    named = {address_key(a) for a in (report.final_recipient, report.original_recipient) if a}
    return next((r for r in send.recipients if address_key(r.address) in named), None)


def _in_time(send: SentEmail, at: datetime) -> bool:
    return -CLOCK_SKEW <= at - send.sent_at <= WINDOW


def _scored(report: DeliveryReport, send: SentEmail, to: Recipient, seen: Seen) -> Match:
    signs = [
        (RECIPIENT, f"The notice names {to.address}, to whom the CRM's email {send.id} was written."),
        _inbox(send, seen),
        _delay(send, seen.at),
        _subject(report, send),
        _date(report, send),
        _author(report, to, seen),
        _authentication(report, seen),
    ]
    counted = [(weight, text) for weight, text in signs if weight]
    total = sum(weight for weight, _ in counted)
    return Match(
        send=send,
        recipient=to,
        rung=Rung.SEPARATE_NOTICE,
        confidence=round(min(max(total, 0.0), HIGHEST), 3),
        evidence=tuple(f"{text} ({weight:+.2f})" for weight, text in counted),
    )


Sign = tuple[float, str]


def _inbox(send: SentEmail, seen: Seen) -> Sign:
    if send.inbox == seen.inbox:
        return SAME_INBOX, f"It came to the inbox that sent the email, {seen.inbox}."
    return OTHER_INBOX, f"It came to the inbox {seen.inbox}; the email was sent from {send.inbox}."


def _delay(send: SentEmail, at: datetime) -> Sign:
    delay = max(at - send.sent_at, timedelta(0))
    weight = next(weight for limit, weight in SOON if delay <= limit)
    minutes = int(delay.total_seconds() // 60)
    return weight, f"It came {minutes} minutes after the email was sent."


def _subject(report: DeliveryReport, send: SentEmail) -> Sign:
    ours = plain(send.subject)
    if not ours:
        return 0.0, ""
    given = plain(report.original.subject)
    if given:
        return (
            (SUBJECT, "It gives back the email's subject.")
            if given == ours
            else (OTHER_SUBJECT, "Its subject differs.")
        )
    told = f"{plain(report.subject)} {plain(report.text)}"
    if len(ours) >= SHORTEST_SUBJECT and f" {ours} " in f" {told} ":
        return SUBJECT, "It quotes the email's subject."
    return 0.0, ""


def plain(text: str | None) -> str:
    """Return words and digits alone: gateways quote subjects in brackets, wrapped, or with marks of their own."""
    return " ".join("".join(c if c.isalnum() else " " for c in (text or "").casefold()).split())


def _date(report: DeliveryReport, send: SentEmail) -> Sign:
    try:
        written = utc(parsedate_to_datetime(report.original.date or ""))
    except ValueError:
        return 0.0, ""
    apart = abs(written - send.sent_at)
    if apart <= SAME_TIME:
        return SAME_MINUTE, "It gives back the time at which the email was sent."
    return (OTHER_MINUTE, "It gives back another time of sending.") if apart > OTHER_TIME else (0.0, "")


def _author(report: DeliveryReport, to: Recipient, seen: Seen) -> Sign:
    domain = (report.sender or "").rpartition("@")[2].strip("<> ").casefold()
    own = {_domain(to.address), _domain(seen.address)}
    known = domain in own or any(domain == gateway or domain.endswith(f".{gateway}") for gateway in GATEWAYS)
    return (AUTHOR if domain and known else 0.0), f"It was written at {domain}."


def _authentication(report: DeliveryReport, seen: Seen) -> Sign:
    """Genuine notices often fail DMARC, so a failure only lowers what nothing proves."""
    if seen.authserv_id is None:
        return 0.0, ""
    own = (v for v in report.authentication_results if v.split(";")[0].split()[:1] == [seen.authserv_id])
    failed = FAILED.search(next(own, ""))
    return (UNAUTHENTICATED, f"The inbox's provider says of it: {failed.group()}.") if failed else (0.0, "")


def _domain(address: str) -> str:
    return address.rpartition("@")[2].casefold()
