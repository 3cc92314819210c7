"""Message disposition notifications (RFC 8098): receipts, and refusals that come in their dress (RFC 5429, 2.2)."""

import re
from typing import Final

from worker.detect import address, prose, report
from worker.detect.header import NO_FIELDS, Fields, read_fields
from worker.detect.notice import Notice
from worker.detect.smtp_reply import find_reply
from worker.domain import Action, DeliveryReport, Kind, RecipientReport

NAME: Final = "mdn"
# A Sieve reject says "automatic-action/MDN-sent-automatically; deleted" just as Outlook's "Not read: … was deleted
# without being read" does. Only the words tell them apart, and Pigeonhole's "Auto-Submitted: auto-replied (rejected)".
REFUSED: Final = re.compile(r"\b(?:reject(?:ed|ion)|refus(?:ed|al)|denied|declined|not accept(?:ed)?)\b", re.IGNORECASE)
UNREAD: Final = re.compile(
    r"without being read|not read|unread|ungelesen|non lu|sin leer|non letto|nieprzeczyt", re.IGNORECASE
)


def detect(notice: Notice) -> DeliveryReport | None:
    """See `Detector`."""
    part = next((leaf for leaf in notice.leaves if leaf.content_type in TYPES), None)
    if part is None and notice.report_type != "disposition-notification":
        return None
    fields = read_fields(part.text) if part else NO_FIELDS
    mta = (fields.first("reporting-ua") or "").partition(";")[0].strip() or None
    if not _refuses(notice, fields):
        return report.build(notice, Kind.RECEIPT, NAME, reporting_mta=mta, extra=fields)
    final = address.recipient(fields.first("final-recipient")) or address.bare(notice.sender)
    if final is None:
        return report.build(notice, Kind.RECEIPT, NAME, reporting_mta=mta, extra=fields)
    said = notice.prose.strip()[: prose.MAX_ENTRY]
    reply = find_reply(said)
    recipient = RecipientReport(
        final_recipient=final,
        original_recipient=address.recipient(fields.first("original-recipient")),
        action=Action.FAILED,
        status=reply.status,
        smtp_code=reply.code,
        diagnostic_code=prose.one_line(said) or None,
        text=said or None,
    )
    return report.build(notice, Kind.BOUNCE, NAME, (recipient,), reporting_mta=mta, extra=fields)


TYPES: Final = ("message/disposition-notification", "message/global-disposition-notification")


def _refuses(notice: Notice, fields: Fields) -> bool:
    if "rejected" in (notice.fields.first("auto-submitted") or "").lower():
        return True
    disposition = (fields.first("disposition") or "").lower()
    if "deleted" not in disposition and "denied" not in disposition:
        return False
    words = f"{notice.subject}\n{notice.prose}"
    return REFUSED.search(words) is not None and UNREAD.search(words) is None
