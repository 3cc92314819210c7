"""What the worker would do with a message, without doing it."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from worker.attach import reported
from worker.classify import Rules, classify
from worker.detect import detect
from worker.domain import AccountRules, DeliveryReport, SentEmail, address_key
from worker.entry import review_entry, timeline_entry
from worker.identity import report_digest
from worker.judge import VERDICT_ACTIONS, VERDICT_KINDS, Notice, judge
from worker.match import Key, send_keys

WOULD_ATTACH = "attach"
WOULD_REVIEW = "review"
WOULD_WAIT = "wait for its send"
WOULD_NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class Sends:
    """Sends by the keys that name them, and by whom they were written to."""

    by_key: Mapping[Key, Sequence[SentEmail]]
    by_address: Mapping[str, Sequence[SentEmail]]

    @classmethod
    def of(cls, sends: Iterable[SentEmail]) -> "Sends":
        """Index sends."""
        by_key: defaultdict[Key, list[SentEmail]] = defaultdict(list)
        by_address: defaultdict[str, list[SentEmail]] = defaultdict(list)
        for send in sends:
            for key in send_keys(send):
                by_key[key].append(send)
            for recipient in send.recipients:
                by_address[address_key(recipient.address)].append(send)
        return cls(by_key, by_address)


def would(raw: bytes, source: str, sends: Sends, rules: Rules, now: datetime) -> Iterator[dict[str, Any]]:
    """Yield what would become of each recipient that a message reports on, as JSON objects."""
    report = detect(raw)
    base = {"schema": 1, "source": source, "kind": report.kind, "detector": report.detector}
    if report.kind not in VERDICT_KINDS:
        yield base | {"would": WOULD_NOTHING, "entry": None}
        return
    notice = Notice(
        report_id=report_digest(raw)[:32],
        report=report,
        inbox="(dry run)",
        found_at=now,
        received_at=report.date,
        read_by="dry run: nothing was written",
    )
    people = {a for r in report.recipients for a in (r.final_recipient, r.original_recipient) if a}
    around = {send.id: send for address in people for send in sends.by_address.get(address_key(address), ())}
    judgement = judge(notice, sends.by_key, rules, tuple(around.values()))
    for finding in judgement.findings:
        bounce = reported(finding, AccountRules(account=finding.match.send.account), now).bounce
        if bounce is not None:
            yield base | {"would": WOULD_ATTACH, "entry": timeline_entry(bounce, [notice.report_id])}
    for doubt in judgement.doubts:
        yield base | {"would": WOULD_REVIEW, "why": doubt.outcome.why, "entry": review_entry(notice, doubt)}
    if not judgement.findings and not judgement.doubts:
        yield base | {"would": WOULD_WAIT, "entry": None, "recipients": list(_told(report, rules))}


def _told(report: DeliveryReport, rules: Rules) -> Iterator[dict[str, Any]]:
    """Yield what a report says of each recipient that wasn't served, whoever wrote to them."""
    for recipient in report.recipients:
        if recipient.action in VERDICT_ACTIONS:
            verdict = classify(rules, report, recipient)
            yield {
                "address": recipient.final_recipient or recipient.original_recipient,
                "type": verdict.type,
                "reason": verdict.reason,
                "fault": verdict.fault,
                "diagnostic": recipient.diagnostic_code,
            }
