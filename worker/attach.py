"""The life of a bounce, as a pure fold: what is known of it, sorted by when it happened → how it stands.

Reports may arrive late, twice, in any order and contradict each other, and people may decide things in between. None
of that matters here, as the facts are put in order before they are read: the same facts give the same bounce.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from worker.domain import (
    AccountRules,
    AddressState,
    Bounce,
    BounceType,
    Event,
    EventType,
    Evidence,
    Fact,
    FactKind,
    Fault,
    Finding,
    Match,
    Policy,
    Reason,
    Recipient,
    Rung,
    SendKind,
    SentEmail,
    SoftThreshold,
    Verdict,
    address_key,
)

PATIENCE: Final = timedelta(hours=72)
"""How long after its sending an email may be pending: HubSpot's rule."""

RANK: Final = tuple(FactKind)
"""Which of two facts of the same moment comes first."""

HEALABLE: Final = frozenset({Reason.MAILBOX_FULL})
"""Hard reasons that the address's own message proves wrong: who answers has room again."""


def digest_id(*parts: str) -> str:
    """Return a stable id (128 bits, hex) of what it identifies."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def bounce_id(account: str, send_id: str, address: str) -> str:
    """Return the id of the one bounce of (account, send, recipient written to)."""
    return digest_id("bounce", account, send_id, address_key(address))


def reported(finding: Finding, rules: AccountRules, now: datetime) -> Fact:
    """Return the fact that a report said something of a recipient."""
    bounce = _bounce(finding, rules, now)
    return Fact(
        id=digest_id("fact", bounce.id, finding.report_id),
        kind=FactKind.REPORTED,
        account=bounce.account,
        address=address_key(bounce.address),
        at=finding.occurred_at,
        recorded_at=now,
        by=f"report {finding.report_id}",
        bounce_id=bounce.id,
        about=finding.report_id,
        bounce=bounce,
    )


def refused(send: SentEmail, recipient: Recipient, rules: AccountRules, now: datetime) -> Fact:
    """Return the fact that an email wasn't sent, because its recipient bounced in other accounts."""
    name = bounce_id(send.account, send.id, recipient.address)
    cause = digest_id("refused", name)
    said = Evidence(kind="global", text="It was not sent: the address bounced for good in several other accounts.")
    bounce = Bounce(
        id=name,
        account=send.account,
        inbox=send.inbox,
        send_id=send.id,
        message_id=send.message_id,
        address=recipient.address,
        contact_id=recipient.contact_id,
        verdict=Verdict(
            type=BounceType.HARD, reason=Reason.OTHER, fault=Fault.ADDRESS, rule="global", rules_version="1"
        ),
        status=None,
        smtp_code=None,
        diagnostic=None,
        matched_by=Rung.GLOBAL,
        confidence=1.0,
        forwarded_to=None,
        policy=rules.policy,
        evidence=(said,),
        report_id=cause,
        occurred_at=now,
        recorded_at=now,
        updated_at=now,
    )
    return Fact(
        id=digest_id("fact", name, cause),
        kind=FactKind.REPORTED,
        account=send.account,
        address=address_key(recipient.address),
        at=now,
        recorded_at=now,
        by="report of our own",
        bounce_id=name,
        about=cause,
        bounce=bounce,
    )


def delivered(match: Match, report_id: str, at: datetime, now: datetime) -> Fact:
    """Return the fact that a report says that an email reached a recipient after all."""
    account, address = match.send.account, match.recipient.address
    name = bounce_id(account, match.send.id, address)
    return Fact(
        id=digest_id("fact", name, report_id, FactKind.DELIVERED),
        kind=FactKind.DELIVERED,
        account=account,
        address=address_key(address),
        at=at,
        recorded_at=now,
        by=f"report {report_id}",
        bounce_id=name,
        about=report_id,
    )


def wrote(account: str, address: str, at: datetime, now: datetime) -> Fact:
    """Return the fact that an address wrote to us, and when; of what it wrote nothing is kept."""
    return Fact(
        id=digest_id("fact", account, address, FactKind.WROTE, at.isoformat()),
        kind=FactKind.WROTE,
        account=account,
        address=address_key(address),
        at=at,
        recorded_at=now,
        by="its own message",
    )


def standing(facts: Iterable[Fact], began: datetime | None, rules: AccountRules, now: datetime) -> Bounce | None:
    """Return how a bounce stands by all facts about it and its address; None where nothing ever failed.

    `began` is when its email was sent; where that is forgotten, the first report counts.
    """
    ordered = sorted(_valid(facts), key=lambda fact: (fact.at, RANK.index(fact.kind), fact.id))
    reports = [fact for fact in ordered if fact.kind is FactKind.REPORTED and fact.bounce is not None]
    if not reports:
        return None
    rejected = {fact.about: fact for fact in ordered if fact.kind is FactKind.REJECTED}
    first_known = min(fact.recorded_at for fact in reports)
    gives_up_at = (began or reports[0].at) + PATIENCE
    bounce: Bounce | None = None
    delivery: Fact | None = None
    for fact in ordered:
        if fact.kind is FactKind.REPORTED and fact.about in rejected:
            continue
        if _is_of_before(fact, began, first_known):
            continue
        if fact.at > gives_up_at:
            bounce = _timed_out(bounce)
        bounce = _next(_expired(bounce, rules, fact.at), fact, delivery)
        delivery = fact if fact.kind is FactKind.DELIVERED else delivery
    if now >= gives_up_at:
        bounce = _timed_out(bounce)
    if bounce is None:  # a person has rejected all that was said
        last = reports[-1]
        bounce = _ended(last.bounce, rejected[last.about])
    bounce = _expired(bounce, rules, now)
    return replace(bounce, recorded_at=first_known) if bounce else None


def _is_of_before(fact: Fact, began: datetime | None, first_known: datetime) -> bool:
    """Whether a fact about an address was known before an email to it was sent, and says nothing of that email.

    The times of reports are by other machines' clocks, which may be behind: they alone can't tell.
    """
    is_older = began is not None and fact.at < began and fact.recorded_at < first_known
    return fact.kind in (FactKind.WROTE, FactKind.UNBOUNCED) and is_older


def _valid(facts: Iterable[Fact]) -> list[Fact]:
    """Leave out what was taken back, repeats, and what a report was taken to say before it was judged again."""
    known = {fact.id: fact for fact in facts}
    undone = {fact.about for fact in known.values() if fact.kind is FactKind.UNDONE}
    left = sorted((fact for fact in known.values() if fact.id not in undone), key=lambda f: (f.recorded_at, f.id))
    reports = {(fact.bounce_id, fact.about): fact for fact in left if fact.kind is FactKind.REPORTED}
    return [fact for fact in left if fact.kind is not FactKind.REPORTED] + list(reports.values())


def _next(bounce: Bounce | None, fact: Fact, delivery: Fact | None) -> Bounce | None:
    match fact.kind:
        case FactKind.REPORTED if fact.bounce is not None:
            # A failure supersedes whatever stands. A delay says nothing against a failure, nor against an end, and one
            # after a delivery is of some way beyond it.
            if fact.bounce.verdict.type is not BounceType.PENDING:
                return fact.bounce
            if bounce is None:
                return _ended(fact.bounce, delivery) if delivery else fact.bounce
            return fact.bounce if bounce.stands and bounce.verdict.type is BounceType.PENDING else bounce
        case FactKind.DELIVERED | FactKind.UNBOUNCED:
            return _ended(bounce, fact)
        case FactKind.WROTE if bounce is not None and bounce.stands:
            return _ended(bounce, fact) if heals(bounce) else _suggested(bounce, fact)
        case _:
            return bounce


def heals(bounce: Bounce) -> bool:
    """Whether a message from the address itself ends its bounce; for the others it is only a reason to look."""
    return bounce.verdict.type is not BounceType.HARD or bounce.verdict.reason in HEALABLE


def _suggested(bounce: Bounce, fact: Fact) -> Bounce:
    """Show whoever looks that the address has written since: it may be right to lift the bounce."""
    said = (
        f"The address itself wrote on {fact.at:%Y-%m-%d}: if it is the right one, lift the bounce (bounces unbounce)."
    )
    return replace(bounce, evidence=(*bounce.evidence, Evidence(kind="suggestion", text=said)))


def _ended(bounce: Bounce | None, fact: Fact) -> Bounce | None:
    if bounce is None or not bounce.stands:
        return bounce
    said = Evidence(kind="ended", text=f"{ENDINGS[fact.kind]} ({fact.by}{f': {fact.why}' if fact.why else ''}).")
    return replace(bounce, ended_by=fact.kind, ended_at=fact.at, evidence=(*bounce.evidence, said))


ENDINGS: Final = {
    FactKind.DELIVERED: "A later report says that it was delivered",
    FactKind.WROTE: "The address itself has written since",
    FactKind.UNBOUNCED: "A person has lifted it",
    FactKind.REJECTED: "A person says that it is none",
}


def _timed_out(bounce: Bounce | None) -> Bounce | None:
    """A pending bounce that nothing has ended becomes soft; a report that comes later still supersedes it."""
    if bounce is None or not bounce.stands or bounce.verdict.type is not BounceType.PENDING:
        return bounce
    said = f"No other report had come {PATIENCE // timedelta(hours=1)} hours after the email was sent."
    return replace(
        bounce,
        verdict=replace(bounce.verdict, type=BounceType.SOFT),
        evidence=(*bounce.evidence, Evidence(kind="time", text=said)),
    )


def _expired(bounce: Bounce | None, rules: AccountRules, now: datetime) -> Bounce | None:
    life = rules.mailbox_full_expires
    if bounce is None or life is None or not bounce.stands or bounce.verdict.reason is not Reason.MAILBOX_FULL:
        return bounce
    end = bounce.occurred_at + life
    if now < end:
        return bounce
    said = Evidence(kind="time", text=f"The account gives a full mailbox {life.days} days.")
    return replace(bounce, ended_by=FactKind.EXPIRED, ended_at=end, evidence=(*bounce.evidence, said))


def excludes(policy: Policy, bounce: Bounce) -> bool:
    """Whether `policy` lets this bounce exclude its address. Soft never does by itself; pending changes nothing."""
    if bounce.verdict.type is not BounceType.HARD:
        return False
    return policy is Policy.HUBSPOT or bounce.verdict.fault is Fault.ADDRESS


def address_state(account: str, address: str, bounces: Iterable[Bounce], rules: AccountRules) -> AddressState:
    """Return what the bounces of an address mean, by the policy that each was recorded under."""
    stand = sorted((b for b in bounces if b.stands), key=lambda b: (b.occurred_at, b.id))
    # An attempt that was refused for what other accounts saw is no bounce of this account's own.
    hard = [b for b in stand if b.verdict.type is BounceType.HARD and b.matched_by is not Rung.GLOBAL]
    first = next((b for b in hard if excludes(b.policy, b)), None) or _too_many_soft(stand, rules.soft_threshold)
    return AddressState(
        account=account,
        address=address_key(address),
        excluded_by=first.policy if first else None,
        excluded_at=first.occurred_at if first else None,
        hard_bounce_reason=hard[-1].verdict.reason if hard else None,
    )


def _too_many_soft(stand: Sequence[Bounce], threshold: SoftThreshold | None) -> Bounce | None:
    if threshold is None:
        return None
    soft = [b for b in stand if b.verdict.type is BounceType.SOFT]
    for first, last in zip(soft, soft[threshold.bounces - 1 :], strict=False):
        if last.occurred_at - first.occurred_at <= threshold.within:
            return last
    return None


def events(
    before: Bounce | None, after: Bounce | None, send: SentEmail | None, rules: AccountRules, cause: str
) -> list[Event]:
    """Return what the CRM is told of a bounce that has changed. `cause` names the fact that changed it."""
    if after is None or after == before:
        return []
    if before is None:
        kinds = [EventType.BOUNCE_ATTACHED]
    elif before.stands and after.ended_by in (FactKind.DELIVERED, FactKind.WROTE, FactKind.EXPIRED):
        kinds = [EventType.BOUNCE_HEALED]
    else:
        kinds = [EventType.BOUNCE_UPDATED]
    if send and send.kind is SendKind.SEQUENCE and _ends_sequence(after, rules) and not _ends_sequence(before, rules):
        kinds.append(EventType.SEQUENCE_UNENROLL)
    return [_event(kind, after, send, cause) for kind in kinds]


def address_events(before: AddressState, after: AddressState, bounce: Bounce, cause: str) -> list[Event]:
    """Return what the CRM is told of an address that may no longer, or may again, be written to."""
    if (before.excluded_by is None) == (after.excluded_by is None):
        return []
    kind = EventType.CONTACT_EXCLUDED if after.excluded_by else EventType.CONTACT_UNBOUNCED
    return [_event(kind, bounce, None, cause)]


def _ends_sequence(bounce: Bounce | None, rules: AccountRules) -> bool:
    return bounce is not None and bounce.stands and bounce.verdict.type in rules.unenroll_on


def _bounce(finding: Finding, rules: AccountRules, now: datetime) -> Bounce:
    match, recipient = finding.match, finding.recipient
    send = match.send
    return Bounce(
        id=bounce_id(send.account, send.id, match.recipient.address),
        account=send.account,
        inbox=send.inbox,
        send_id=send.id,
        message_id=send.message_id,
        address=match.recipient.address,
        contact_id=match.recipient.contact_id,
        verdict=finding.verdict,
        status=str(recipient.status) if recipient.status else None,
        smtp_code=recipient.smtp_code,
        diagnostic=recipient.diagnostic_code,
        matched_by=match.rung,
        confidence=match.confidence,
        forwarded_to=match.forwarded_to,
        policy=rules.policy,
        evidence=finding.evidence,
        report_id=finding.report_id,
        occurred_at=finding.occurred_at,
        recorded_at=now,
        updated_at=now,
    )


def _event(kind: EventType, bounce: Bounce, send: SentEmail | None, cause: str) -> Event:
    """Return an event whose id says what happened to which bounce, and why. A sequence ends once."""
    ends = send if kind is EventType.SEQUENCE_UNENROLL else None
    return Event(
        id=digest_id("event", kind, bounce.id, *([] if ends else [cause])),
        type=kind,
        bounce=bounce,
        enrollment_id=ends.enrollment_id if ends else None,
        sequence_id=ends.sequence_id if ends else None,
    )
