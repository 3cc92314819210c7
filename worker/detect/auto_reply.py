"""Answers that no person wrote: out of office and its like (RFC 3834)."""

import re
from typing import Final

from worker import vocabulary
from worker.detect import report
from worker.detect.notice import Notice
from worker.domain import DeliveryReport, Kind
from worker.phrases import Phrases
from worker.signs import is_notice_subject, is_system_sender

NAME: Final = "auto_reply"
FIELDS: Final = (
    "x-autoreply",
    "x-autorespond",
    "x-autoreply-from",
    "x-auto-reply",
    "x-mail-autoreply",
    "x-autoresponder",
)
# What mail programs put before the subject that they answer, or write instead of it; other languages are data.
SUBJECT: Final = re.compile(
    r"^[\s\[(]*(?:re:\s*)?(?:auto(?:matic)?[ -]?(?:reply|response|matic reply)?\s*:|autom|auto[ -]?(?:reply|respon)"
    r"|out of (?:the )?office|absence|absent|on (?:vacation|holiday|leave)|vacation|away from|i am (?:away|out))"
    r"|\b(?:out of (?:the )?office|vacation (?:reply|notice|message)|automatic (?:reply|response)"
    r"|auto-?(?:reply|response))\b",
    re.IGNORECASE,
)
BEFORE_SUBJECT: Final = re.compile(r"^[\s\[(]*(?:re:\s*)?", re.IGNORECASE)
ABROAD: Final = Phrases(vocabulary.ALL.automatic_subject)


def detect(notice: Notice) -> DeliveryReport | None:
    """See `Detector`. A mail system's own failure notice is none, whatever Auto-Submitted says (RFC 3834, 5.1)."""
    fields = notice.fields
    submitted = (fields.first("auto-submitted") or "").lower()
    answered = _answered_subject(notice.subject)
    signed = (
        "vacation" in submitted
        or any(name in fields for name in FIELDS)
        or (fields.first("precedence") or "").lower() in ("auto_reply", "auto-reply")
    )
    if signed and not is_notice_subject(notice.subject):
        return report.build(notice, Kind.AUTO_REPLY, NAME)
    if answered is not None and not is_notice_subject(answered) and _automatic(notice, submitted):
        return report.build(notice, Kind.AUTO_REPLY, NAME)
    return None


def detect_unsigned(notice: Notice) -> DeliveryReport | None:
    """See `Detector`. Asked last: what answers automatically and reports nothing is an automatic answer."""
    submitted = (notice.fields.first("auto-submitted") or "").lower()
    if submitted.startswith("auto-replied") and not notice.is_report:
        return report.build(notice, Kind.AUTO_REPLY, NAME)
    return None


def _answered_subject(subject: str) -> str | None:
    """Return what is left of the subject of an automatic answer without the words that say so; None for any other."""
    if SUBJECT.search(subject):
        return SUBJECT.sub("", subject)
    folded = vocabulary.fold(BEFORE_SUBJECT.sub("", subject, count=1))
    begins = ABROAD.beginning(folded)
    return folded[len(begins) :] if begins else None


def _automatic(notice: Notice, submitted: str) -> bool:
    """Whether the header bears out what the subject says; Microsoft 365 answers with a postmaster's envelope."""
    if (
        submitted.startswith("auto")
        or "x-auto-response-suppress" in notice.fields
        or "return-path" not in notice.fields
    ):
        return True
    return not is_system_sender(notice.sender) or notice.is_system_mail
