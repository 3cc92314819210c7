"""Answers that no person wrote: out of office and its like (RFC 3834)."""

import re
from typing import Final

from worker.detect import report
from worker.detect.notice import Notice
from worker.domain import DeliveryReport, Kind
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
# What mail programs put before the subject that they answer, or write instead of it.
SUBJECT: Final = re.compile(
    r"^[\s\[(]*(?:re:\s*)?(?:automatyczna odpowied|auto(?:matic|matisk|matische|matyczna"
    r"|m[aá]tica)?[ -]?(?:reply|response|antwort|svar|antwoord|odpowied[źz]|r[eé]ponse"
    r"|matic reply)?\s*:|autom|auto[ -]?(?:reply|respon)|out of (?:the )?office|abwesen|r[ée]ponse automatique"
    r"|risposta automatica|respuesta autom"
    r"|resposta autom|fuori (?:sede|ufficio)|fuera de|fora do|absence|absent|on (?:vacation|holiday|leave)"
    r"|vacation|away from|i am (?:away|out)"
    r"|autosvar|automatisk svar|fraværende|frånvaro|ikke til stede|afwezig|nieobecno|odpowiedź automatyczna"
    r"|автоответ|автоматический ответ"
    r"|不在|自動(?:返信|応答|回覆)|自动(?:答复|回复)|자동 ?회신"
    r"|poissa|mimo kancelář|automatick|ofisdışı|otomatik yanıt)"
    r"|\b(?:out of (?:the )?office|vacation (?:reply|notice|message)|automatic (?:reply|response)"
    r"|auto-?(?:reply|response))\b",
    re.IGNORECASE,
)


def detect(notice: Notice) -> DeliveryReport | None:
    """See `Detector`. A mail system's own failure notice is none, whatever Auto-Submitted says (RFC 3834, 5.1)."""
    fields = notice.fields
    submitted = (fields.first("auto-submitted") or "").lower()
    subject_says = SUBJECT.search(notice.subject) is not None
    signed = (
        "vacation" in submitted
        or any(name in fields for name in FIELDS)
        or (fields.first("precedence") or "").lower() in ("auto_reply", "auto-reply")
    )
    if signed and not is_notice_subject(notice.subject):
        return report.build(notice, Kind.AUTO_REPLY, NAME)
    if subject_says and not is_notice_subject(SUBJECT.sub("", notice.subject)) and _automatic(notice, submitted):
        return report.build(notice, Kind.AUTO_REPLY, NAME)
    return None


def detect_unsigned(notice: Notice) -> DeliveryReport | None:
    """See `Detector`. Asked last: what answers automatically and reports nothing is an automatic answer."""
    submitted = (notice.fields.first("auto-submitted") or "").lower()
    if submitted.startswith("auto-replied") and not notice.is_report:
        return report.build(notice, Kind.AUTO_REPLY, NAME)
    return None


def _automatic(notice: Notice, submitted: str) -> bool:
    """Whether the header bears out what the subject says; Microsoft 365 answers with a postmaster's envelope."""
    if (
        submitted.startswith("auto")
        or "x-auto-response-suppress" in notice.fields
        or "return-path" not in notice.fields
    ):
        return True
    return not is_system_sender(notice.sender) or notice.is_system_mail
