"""The JSON that people and the CRM see: timeline entries, review entries and events. Times are ISO 8601 in UTC."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from worker.attach import digest_id
from worker.domain import Bounce, Event, EventType, Evidence, visible
from worker.judge import Doubt, Notice

SCHEMA: Final = 1
NEEDS_ATTENTION: Final = "inbox.needs_attention"
SENDS_REFUSED: Final = "sends.refused"


def _shown(evidence: Iterable[Evidence]) -> list[dict[str, str]]:
    return [{"kind": line.kind, "text": visible(line.text)} for line in evidence]


def timeline_entry(bounce: Bounce, report_ids: Sequence[str]) -> dict[str, Any]:
    """Return a timeline entry as the command line and the CRM see it."""
    return {
        "schema": SCHEMA,
        "id": bounce.id,
        "bounce_id": bounce.id,
        "report_ids": list(report_ids),
        "account": bounce.account,
        "contact_id": bounce.contact_id,
        "address": bounce.address,
        "forwarded_to": bounce.forwarded_to and visible(bounce.forwarded_to),
        "message_id": bounce.message_id,
        "send_id": bounce.send_id,
        "inbox": bounce.inbox,
        "type": bounce.verdict.type,
        "reason": bounce.verdict.reason,
        "fault": bounce.verdict.fault,
        "status": bounce.status,
        "smtp_code": bounce.smtp_code,
        "diagnostic": bounce.diagnostic and visible(bounce.diagnostic),
        "rule": bounce.verdict.rule,
        "confidence": bounce.confidence,
        "matched_by": bounce.matched_by,
        "policy": bounce.policy,
        "ended_by": bounce.ended_by,
        "ended_at": bounce.ended_at.isoformat() if bounce.ended_at else None,
        "occurred_at": bounce.occurred_at.isoformat(),
        "recorded_at": bounce.recorded_at.isoformat(),
        "evidence": _shown(bounce.evidence),
    }


def review_entry(notice: Notice, doubt: Doubt) -> dict[str, Any]:
    """Return what waits for a person, in a timeline entry's fields; `contact_id` is the likeliest, and unproven."""
    send = doubt.outcome.send
    return {
        "schema": SCHEMA,
        "id": digest_id("review", send.account, notice.report_id, send.id, doubt.recipient.final_recipient),
        "bounce_id": None,
        "report_ids": [notice.report_id],
        "account": send.account,
        "contact_id": doubt.outcome.candidates[0].recipient.contact_id if doubt.outcome.candidates else None,
        "address": visible(doubt.recipient.final_recipient) or None,
        "forwarded_to": None,
        "message_id": send.message_id,
        "send_id": send.id,
        "inbox": send.inbox,
        "type": doubt.verdict.type,
        "reason": doubt.verdict.reason,
        "fault": doubt.verdict.fault,
        "status": str(doubt.recipient.status) if doubt.recipient.status else None,
        "smtp_code": doubt.recipient.smtp_code,
        "diagnostic": doubt.recipient.diagnostic_code and visible(doubt.recipient.diagnostic_code),
        "rule": doubt.verdict.rule,
        "rules_version": doubt.verdict.rules_version,
        "confidence": doubt.outcome.confidence,
        "candidates": [
            {"send_id": c.send.id, "contact_id": c.recipient.contact_id, "confidence": c.confidence}
            for c in doubt.outcome.candidates
        ],
        "matched_by": doubt.outcome.rung,
        "policy": None,
        "occurred_at": doubt.occurred_at.isoformat(),
        "recorded_at": notice.found_at.isoformat(),
        "evidence": _shown(doubt.evidence),
    }


def inbox_event(account: str, inbox: str, state: str, attention: str, at: datetime) -> dict[str, Any]:
    """Return the event that an inbox needs a person; it is told once for each time that this begins."""
    return {
        "schema": SCHEMA,
        "id": digest_id("event", NEEDS_ATTENTION, account, inbox, at.isoformat()),
        "type": NEEDS_ATTENTION,
        "account": account,
        "inbox": inbox,
        "state": state,
        "attention": attention,
    }


def refused_sends_event(account: str, refused: Sequence[Mapping[str, Any]], cause: str) -> dict[str, Any]:
    """Return the event that sends which came by the CRM's queue could not be registered."""
    return {
        "schema": SCHEMA,
        "id": digest_id("event", SENDS_REFUSED, account, cause),
        "type": SENDS_REFUSED,
        "account": account,
        "refused": list(refused),
    }


def event(happened: Event, report_ids: Sequence[str], correlation_id: str | None = None) -> dict[str, Any]:
    """Return an event as the CRM gets it; `id` is what to drop repeats by.

    `correlation_id` is that of the notice that caused it; None where a person, time or another message did.
    """
    data = {
        "schema": SCHEMA,
        "id": happened.id,
        "type": happened.type,
        "account": happened.bounce.account,
        "correlation_id": correlation_id,
        "contact_id": happened.bounce.contact_id,
        "address": happened.bounce.address,
        "bounce": timeline_entry(happened.bounce, report_ids),
    }
    if happened.type is EventType.SEQUENCE_UNENROLL:
        data |= {"sequence_id": happened.sequence_id, "enrollment_id": happened.enrollment_id}
    return data
