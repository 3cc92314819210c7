"""How often is a match right? Builds a CRM's sends with decoys around real notices, and asks the ladder.

    calibrate.py FOLDER          a folder of notices (.eml or any other name), read recursively

Around each notice that names a recipient stand the email that it answers, and decoys: an earlier email to the same
recipient, one from another inbox of the account, the same subject to five other people, and, for every fifth, the same
subject to the same recipient within the hour, before or after. Every tenth notice comes to a shared mailbox instead.
Asked three times: with the ids that the notice gives back, without any id, and about an email that was never
registered. A notice that gives back the original's Date gives back that of the email that it answers.
"""

import hashlib
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from random import Random

from worker.detect import detect
from worker.domain import DeliveryReport, Match, OriginalMessage, Recipient, RecipientReport, SendKind, SentEmail
from worker.judge import VERDICT_KINDS
from worker.match import Doubtful, Key, Seen, match, send_keys

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
BUCKETS = (0.0, 0.5, 0.7, 0.8, 0.9, 0.97)


def main(folder: Path) -> None:
    """Print who was attached to what, and how often each confidence was right."""
    reports = list(read(folder))
    for title, blind, known in (
        ("with the ids that the notice gives back", False, True),
        ("without any id", True, True),
        ("without any id, about an email that was sent outside the CRM", True, False),
    ):
        counts: Counter[str] = Counter()
        right: defaultdict[float, list[int]] = defaultdict(lambda: [0, 0])
        for report, recipient in reports:
            told = without_ids(report) if blind else report
            ask(told, recipient, counts, right, known=known)
        total = sum(counts.values())
        print(f"\n{title}: {total} recipients of {len({id(r) for r, _ in reports})} notices")
        for what, number in counts.most_common():
            print(f"  {what:34} {number:5}  {100 * number / total:5.1f} %")
        print("  confidence   right of those attached or first in review")
        for low in BUCKETS:
            good, of = right[low]
            if of:
                print(f"  from {low:4.2f}    {good:5} of {of:5}  {100 * good / of:5.1f} %")


def read(folder: Path) -> Iterator[tuple[DeliveryReport, RecipientReport]]:
    """Yield every recipient that a bounce or a delay in `folder` names."""
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        report = detect(path.read_bytes()[: 256 * 1024])
        if report.kind in VERDICT_KINDS:
            for recipient in report.recipients:
                if "@" in recipient.final_recipient:
                    yield report, recipient


def without_ids(report: DeliveryReport) -> DeliveryReport:
    """Return the report as a gateway would write it that gives back no id."""
    original = replace(report.original, message_id=None, message_ids=(), tokens=())
    return replace(report, original=original, in_reply_to=(), envelope_id=None)


def ask(
    report: DeliveryReport,
    recipient: RecipientReport,
    counts: Counter[str],
    right: dict[float, list[int]],
    *,
    known: bool,
) -> None:
    """Put one notice among its decoys, and count what the ladder says."""
    chance = Random(hashlib.sha256(recipient.final_recipient.encode() + report.text.encode()).digest())
    true, decoys = sends(report.original, recipient, report, chance)
    found: dict[Key, list[SentEmail]] = {}
    registered = (true, *decoys) if known else tuple(decoys)
    for send in registered:
        for key in send_keys(send):
            found.setdefault(key, []).append(send)
    if report.original.date:
        report = replace(report, original=replace(report.original, date=format_datetime(true.sent_at)))
    inbox = "team" if chance.random() < 0.1 else "alice"
    seen = Seen(inbox=inbox, address=f"{inbox}@crm.example", at=NOW)
    outcome = match(report, recipient, seen, found, registered)
    if isinstance(outcome, Match):
        good = outcome.send.id == true.id
        counts[f"attached {'right' if good else 'WRONG'} ({outcome.rung})"] += 1
        confidence = outcome.confidence
    elif isinstance(outcome, Doubtful):
        good = outcome.send.id == true.id
        counts[f"review, {'right first' if good else 'another first'}"] += 1
        confidence = outcome.confidence
    else:
        counts["unmatched"] += 1
        return
    bucket = max(low for low in BUCKETS if low <= confidence)
    right[bucket][0] += good
    right[bucket][1] += 1


def sends(
    original: OriginalMessage, recipient: RecipientReport, report: DeliveryReport, chance: Random
) -> tuple[SentEmail, list[SentEmail]]:
    """Return the email that a notice answers, and decoys around it."""
    address = recipient.original_recipient or recipient.final_recipient
    subject = original.subject or "Quarterly offer for you"
    ids = original.message_ids or report.in_reply_to
    delay = chance.choice((2, 3, 5, 8, 30, 300, 2_000)) * timedelta(minutes=1)
    true = email(1, address, subject, NOW - delay, message_id=ids[0] if ids else "true@crm.example")
    decoys = [
        email(2, address, "Are you the right person?", true.sent_at - timedelta(minutes=40)),
        email(3, address, "Invoice for October", true.sent_at + timedelta(minutes=1), inbox="bob"),
        *(email(10 + n, f"other{n}@elsewhere.example", subject, true.sent_at) for n in range(5)),
    ]
    if chance.random() < 0.2:
        apart = timedelta(minutes=chance.choice((-50, -20, 1)))
        decoys.append(email(4, address, subject, min(true.sent_at + apart, NOW)))
    return true, decoys


def email(
    number: int, address: str, subject: str, sent_at: datetime, *, inbox: str = "alice", message_id: str | None = None
) -> SentEmail:
    """Return one send."""
    return SentEmail(
        id=f"s-{number}",
        account="acme",
        inbox=inbox,
        kind=SendKind.ONE_TO_ONE,
        sent_at=sent_at,
        message_id=message_id or f"decoy-{number}@crm.example",
        subject=subject,
        recipients=(Recipient(address=address),),
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
