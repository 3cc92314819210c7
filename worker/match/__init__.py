"""The ladder of proof: which sent email, and which of its recipients, does a report speak of?

`keys` says what to look up, `match` decides. First come proofs by something that only our own email carried
(`proof`); where a report gives back no id at all, the emails to the recipients that it names are scored (`scored`).
"""

from collections.abc import Mapping, Sequence

from worker.domain import DeliveryReport, RecipientReport, SentEmail
from worker.match.outcome import Doubtful, Outcome, Unmatched
from worker.match.proof import Key, Proof, keys, prove, send_keys
from worker.match.scored import THRESHOLD, WINDOW, Seen, score

__all__ = [
    "THRESHOLD",
    "WINDOW",
    "Doubtful",
    "Key",
    "Outcome",
    "Proof",
    "Seen",
    "Unmatched",
    "keys",
    "match",
    "needs_scoring",
    "send_keys",
]


def match(
    report: DeliveryReport,
    recipient: RecipientReport | None,
    seen: Seen,
    found: Mapping[Key, Sequence[SentEmail]],
    around: Sequence[SentEmail] = (),
) -> Outcome:
    """Say which recipient of which email one recipient's report speaks of.

    `recipient` is None where the report names none. `found` holds the account's emails by the keys of `keys`, `around`
    those that were sent to the report's recipients within `WINDOW` before it came.
    """
    outcome = prove(report, recipient, found, seen.thread_id)
    if isinstance(outcome, Unmatched) and recipient is not None and needs_scoring(report):
        return score(report, recipient, seen, around)
    return outcome


def needs_scoring(report: DeliveryReport) -> bool:
    """Whether a report gives back no id. One that names an id which isn't ours speaks of mail sent outside the CRM."""
    return not (report.original.message_ids or report.original.tokens or report.in_reply_to)
