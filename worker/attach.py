"""The life of a bounce, as a pure reducer: (what is known, a finding) → what changes.

The order in which reports arrive doesn't matter: a bounce shows the strongest thing that any report said of it, and
among equals the latest.
"""

import hashlib
from dataclasses import dataclass, replace
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
    Fault,
    Finding,
    Policy,
    SendKind,
    SentEmail,
    address_key,
)

PATIENCE: Final = timedelta(hours=72)
"""How long after its sending an email may be pending: HubSpot's rule."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What is to be written. `bounce` and `address` are None where they stay as they are."""

    bounce: Bounce | None = None
    address: AddressState | None = None
    events: tuple[Event, ...] = ()


def digest_id(*parts: str) -> str:
    """Return a stable id (128 bits, hex) of what it identifies."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def bounce_id(account: str, send_id: str, address: str) -> str:
    """Return the id of the one bounce of (account, send, recipient written to)."""
    return digest_id("bounce", account, send_id, address_key(address))


def attach(
    bounce: Bounce | None, address: AddressState, finding: Finding, rules: AccountRules, now: datetime
) -> Changes:
    """Return what `finding` changes. The same report a second time changes nothing: the caller hands it in once."""
    proposed = _bounce(finding, rules, bounce.recorded_at if bounce else now, now)
    if bounce is not None and _strength(bounce) >= _strength(proposed):
        return Changes()
    excluded = _exclude(address, proposed, now)
    return Changes(
        bounce=proposed,
        address=excluded if excluded != address else None,
        events=tuple(_events(bounce, proposed, address, excluded, finding, rules)),
    )


def give_up(bounce: Bounce, send: SentEmail | None, rules: AccountRules, now: datetime) -> Changes:
    """Return what the passing of `PATIENCE` changes: a pending bounce that nothing has ended becomes soft.

    A report that comes later still supersedes it. `send` is None where the CRM's email is no longer known.
    """
    said = f"No other report had come {PATIENCE // timedelta(hours=1)} hours after the email was sent."
    soft = replace(
        bounce,
        verdict=replace(bounce.verdict, type=BounceType.SOFT),
        evidence=(*bounce.evidence, Evidence(kind="time", text=said)),
        policy=rules.policy,
        updated_at=now,
    )
    kinds = [EventType.BOUNCE_UPDATED]
    if send and send.kind is SendKind.SEQUENCE and BounceType.SOFT in rules.unenroll_on:
        kinds.append(EventType.SEQUENCE_UNENROLL)
    return Changes(bounce=soft, events=tuple(_event(kind, soft, send, "given up") for kind in kinds))


def excludes(policy: Policy, bounce: Bounce) -> bool:
    """Whether `policy` lets this bounce exclude its address. Soft never does; pending changes nothing."""
    if bounce.verdict.type is not BounceType.HARD:
        return False
    return policy is Policy.HUBSPOT or bounce.verdict.fault is Fault.ADDRESS


def _strength(bounce: Bounce) -> tuple[bool, datetime, str]:
    # A failure is final for this send and recipient: a warning that arrives late can't take it back.
    return (bounce.verdict.type is not BounceType.PENDING, bounce.occurred_at, bounce.report_id)


def _bounce(finding: Finding, rules: AccountRules, recorded_at: datetime, now: datetime) -> Bounce:
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
        recorded_at=recorded_at,
        updated_at=now,
    )


def _exclude(address: AddressState, bounce: Bounce, now: datetime) -> AddressState:
    if bounce.verdict.type is not BounceType.HARD:
        return address
    changed = replace(address, hard_bounce_reason=bounce.verdict.reason)
    if address.excluded_by is None and excludes(bounce.policy, bounce):
        changed = replace(changed, excluded_by=bounce.policy, excluded_at=now)
    return changed


def _events(
    before: Bounce | None,
    after: Bounce,
    address_before: AddressState,
    address_after: AddressState,
    finding: Finding,
    rules: AccountRules,
) -> list[Event]:
    kinds = [EventType.BOUNCE_UPDATED if before else EventType.BOUNCE_ATTACHED]
    if address_before.excluded_by is None and address_after.excluded_by is not None:
        kinds.append(EventType.CONTACT_EXCLUDED)
    send = finding.match.send
    ended_before = before is not None and before.verdict.type in rules.unenroll_on
    if send.kind is SendKind.SEQUENCE and after.verdict.type in rules.unenroll_on and not ended_before:
        kinds.append(EventType.SEQUENCE_UNENROLL)
    return [_event(kind, after, send) for kind in kinds]


def _event(kind: EventType, bounce: Bounce, send: SentEmail | None, cause: str | None = None) -> Event:
    """Return an event whose id says what happened to which bounce, and by which report or other cause."""
    ends = send if kind is EventType.SEQUENCE_UNENROLL else None
    return Event(
        id=digest_id("event", kind, bounce.id, bounce.report_id, *([cause] if cause else [])),
        type=kind,
        bounce=bounce,
        enrollment_id=ends.enrollment_id if ends else None,
        sequence_id=ends.sequence_id if ends else None,
    )
