"""Amazon SES notifications that arrive by email: one JSON object in the text.

Source: Amazon SES Developer Guide, "Amazon SNS notification contents". Complaints and deliveries come the same way.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

from worker.detect import report
from worker.detect.notice import Notice
from worker.detect.smtp_reply import find_reply
from worker.domain import Action, DeliveryReport, EnhancedStatusCode, Kind, RecipientReport

NAME: Final = "sns"
TYPES: Final = ('"notificationType":', '"eventType":')
KINDS: Final = {"Bounce": Kind.BOUNCE, "Complaint": Kind.COMPLAINT, "Delivery": Kind.DELIVERED}
RECIPIENTS: Final = {"Bounce": "bouncedRecipients", "Complaint": "complainedRecipients"}
DECODER: Final = json.JSONDecoder(strict=False)


def detect(notice: Notice) -> DeliveryReport | None:
    """See `Detector`."""
    if notice.part.content_type != "text/plain":
        return None
    text = notice.part.text
    start = text.find("{") if any(mark in text[:200] for mark in TYPES) else -1
    if start < 0:
        return None
    try:
        data, _ = DECODER.raw_decode(text[start:].replace("\n ", "").replace("\n", ""))
    except (ValueError, RecursionError):
        return None
    kind = KINDS.get(str(data.get("notificationType") or data.get("eventType")))
    if kind is None:
        return None
    recipients = tuple(_recipients(data, kind))
    return report.build(notice, kind, NAME, recipients) if recipients or kind is not Kind.BOUNCE else None


def _recipients(data: Mapping[str, Any], kind: Kind) -> list[RecipientReport]:
    name = kind.value.capitalize()
    section = data.get(name.lower())
    listed = section.get(RECIPIENTS.get(name, "")) if isinstance(section, dict) else None
    found = []
    for item in listed if isinstance(listed, list) else ():
        if not isinstance(item, dict) or "@" not in str(item.get("emailAddress")):
            continue
        diagnostic = str(item.get("diagnosticCode") or "").partition(";")[2].strip() or None
        reply = find_reply(diagnostic or "")
        found.append(
            RecipientReport(
                final_recipient=str(item["emailAddress"]).strip("<> "),
                action=Action.FAILED if kind is Kind.BOUNCE else Action.DELIVERED,
                status=reply.status or EnhancedStatusCode.parse(str(item.get("status") or "")),
                smtp_code=reply.code,
                diagnostic_code=diagnostic,
            )
        )
    return found
