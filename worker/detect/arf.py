"""Complaints in the abuse reporting format (RFC 5965)."""

from typing import Final

from worker.detect import address, report
from worker.detect.header import NO_FIELDS, read_fields
from worker.detect.notice import Notice
from worker.domain import Action, DeliveryReport, Kind, RecipientReport

NAME: Final = "arf"


def detect(notice: Notice) -> DeliveryReport | None:
    """See `Detector`."""
    part = next((leaf for leaf in notice.leaves if leaf.content_type == "message/feedback-report"), None)
    if part is None and notice.report_type != "feedback-report":
        return _junk_mail_report(notice)
    fields = read_fields(part.text) if part else NO_FIELDS
    named = (
        address.recipient(value) for name in ("original-rcpt-to", "removal-recipient") for value in fields.every(name)
    )
    recipients = (
        RecipientReport(final_recipient=a, action=Action.DELIVERED) for a in dict.fromkeys(filter(None, named))
    )
    mta = (fields.first("reporting-mta") or "").rpartition(";")[2].strip()
    return report.build(notice, Kind.COMPLAINT, NAME, recipients, reporting_mta=mta or None, extra=fields)


def _junk_mail_report(notice: Notice) -> DeliveryReport | None:
    """Read what Outlook.com's Junk Mail Reporting sends: the message alone, with a field of its own before it."""
    if not notice.sender.lower().strip("<>").startswith("staff@"):
        return None
    returned = notice.returned
    if returned is None or "x-hmxmroriginalrecipient" not in returned.fields:
        return None
    named = address.recipient(returned.fields.first("x-hmxmroriginalrecipient"))
    recipients = (RecipientReport(final_recipient=named, action=Action.DELIVERED),) if named else ()
    return report.build(notice, Kind.COMPLAINT, NAME, recipients)
