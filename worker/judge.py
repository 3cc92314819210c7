"""match → classify, for one report: what it says of whom, with its evidence. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from worker.classify import Rules, classify
from worker.domain import (
    Action,
    DeliveryReport,
    Evidence,
    Finding,
    Kind,
    Match,
    RecipientReport,
    Rung,
    SentEmail,
    Verdict,
    address_key,
)
from worker.match import Doubtful, Key, Seen, Unmatched, match
from worker.suggest import suggested_address

VERDICT_ACTIONS: Final = frozenset({Action.FAILED, Action.DELAYED})
"""What a report must say of a recipient to touch a timeline: the others in it were served."""

VERDICT_KINDS: Final = frozenset({Kind.BOUNCE, Kind.DELAYED})
"""The only kinds of message that ever put something on a timeline."""

EVIDENCE_CHARACTERS: Final = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """A report as it was read: where, when, and by whom. `read_by` names the task that works on it."""

    report_id: str
    report: DeliveryReport
    inbox: str
    inbox_address: str = ""
    thread_id: str | None = None
    authserv_id: str | None = None
    received_at: datetime | None = None
    found_at: datetime
    read_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubt:
    """What a person must decide: a sent email may be meant, but it isn't proven."""

    recipient: RecipientReport
    outcome: Doubtful
    verdict: Verdict
    evidence: tuple[Evidence, ...]
    occurred_at: datetime


PROVEN: Final = frozenset({Rung.ORIGINAL_MESSAGE_ID, Rung.TOKEN})
"""By which rungs a report of success is believed: it lifts what stands, so nothing less than an id will do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """All that one report comes to. All empty: it answers no registered send."""

    findings: tuple[Finding, ...] = ()
    doubts: tuple[Doubt, ...] = ()
    deliveries: tuple[Match, ...] = ()


def judge(
    notice: Notice, found: Mapping[Key, Sequence[SentEmail]], rules: Rules, around: Sequence[SentEmail] = ()
) -> Judgement:
    """Match and classify every recipient of a report.

    `found` holds the account's sends by the report's keys, `around` those to its recipients shortly before it.
    """
    findings: list[Finding] = []
    doubts: list[Doubt] = []
    occurred_at = occurred(notice)
    seen = Seen(
        inbox=notice.inbox,
        address=notice.inbox_address,
        at=notice.received_at or notice.found_at,
        thread_id=notice.thread_id,
        authserv_id=notice.authserv_id,
    )
    for recipient in _concerned(notice.report):
        outcome = match(notice.report, recipient, seen, found, around)
        if isinstance(outcome, Match) and recipient is not None and _contradicted(notice.report, recipient):
            why = "the notice says that this recipient was served as well"
            outcome = Doubtful(send=outcome.send, rung=outcome.rung, why=why, candidates=(outcome,))
        if isinstance(outcome, Unmatched):
            continue
        named = recipient or RecipientReport(
            final_recipient=outcome.recipient.address if isinstance(outcome, Match) else ""
        )
        verdict = classify(rules, notice.report, named)
        if isinstance(outcome, Match) and not verdict.verified:
            outcome = _unverified(outcome)
        if isinstance(outcome, Match):
            findings.append(
                Finding(
                    report_id=notice.report_id,
                    match=outcome,
                    recipient=named,
                    verdict=verdict,
                    occurred_at=occurred_at,
                    evidence=evidence(notice, named, verdict, outcome.evidence),
                )
            )
        else:
            best = outcome.candidates[0].evidence if outcome.candidates else ()
            proof = evidence(notice, named, verdict, best or (f"The notice names the CRM's email {outcome.send.id}.",))
            doubts.append(
                Doubt(recipient=named, outcome=outcome, verdict=verdict, evidence=proof, occurred_at=occurred_at)
            )
    return Judgement(findings=tuple(findings), doubts=tuple(doubts), deliveries=tuple(_deliveries(notice, seen, found)))


def _deliveries(notice: Notice, seen: Seen, found: Mapping[Key, Sequence[SentEmail]]) -> Iterator[Match]:
    """Yield the recipients that a report says were served, where an id proves which email it speaks of."""
    for recipient in notice.report.recipients:
        if recipient.action is not Action.DELIVERED or _contradicted(notice.report, recipient):
            continue
        outcome = match(notice.report, recipient, seen, found, ())
        if isinstance(outcome, Match) and outcome.rung in PROVEN and outcome.forwarded_to is None:
            yield outcome


def _unverified(proven: Match) -> Doubtful:
    """Return a proven match as something to decide: what the notice says is only guessed, so no contact is touched."""
    return Doubtful(
        send=proven.send,
        rung=proven.rung,
        why="the words that decided are not verified",
        confidence=proven.confidence,
        candidates=(proven,),
    )


def _concerned(report: DeliveryReport) -> Iterable[RecipientReport | None]:
    """Return the recipients that weren't served; one None where a report names no recipient at all."""
    if not report.recipients:
        return (None,)
    return (recipient for recipient in report.recipients if recipient.action in VERDICT_ACTIONS)


def _contradicted(report: DeliveryReport, recipient: RecipientReport) -> bool:
    """Whether another block of the same report says of the same recipient the contrary: one crafted to pass does."""
    address = address_key(recipient.final_recipient)
    was_served = recipient.action not in VERDICT_ACTIONS
    others = (r for r in report.recipients if address_key(r.final_recipient) == address)
    return any((other.action not in VERDICT_ACTIONS) != was_served for other in others)


def occurred(notice: Notice) -> datetime:
    """Return when the notice was written; its own Date counts unless it lies in the future."""
    seen = notice.received_at or notice.found_at
    return min(notice.report.date, seen) if notice.report.date else seen


def evidence(
    notice: Notice, recipient: RecipientReport, verdict: Verdict, proof: Sequence[str]
) -> tuple[Evidence, ...]:
    """Return a verdict's evidence: what matched, the server's own words, which rule spoke, where it was read."""
    report = notice.report
    lines = [Evidence(kind="match", text=text) for text in proof]
    if recipient.diagnostic_code:
        lines.append(Evidence(kind="server", text=recipient.diagnostic_code[:EVIDENCE_CHARACTERS]))
    seen = f" on “{verdict.matched_text}”" if verdict.matched_text else ""
    lines.append(Evidence(kind="rule", text=f"{verdict.rule} (rules {verdict.rules_version}){seen}"))
    known = (recipient.final_recipient, recipient.original_recipient or "", notice.inbox_address, report.sender or "")
    said = f"{recipient.diagnostic_code or ''}\n\n{recipient.text or report.text}"
    if new := suggested_address(said, known):
        lines.append(Evidence(kind="suggestion", text=f"The notice names another address: {new}"))
    author = f" by {report.reporting_mta}" if report.reporting_mta else ""
    text = f"Report {notice.report_id}{author}, read as {report.detector} in inbox {notice.inbox}"
    lines.extend((Evidence(kind="notice", text=text), Evidence(kind="task", text=notice.read_by)))
    return tuple(lines)
