"""Building a DeliveryReport: what all detectors fill in the same way."""

from collections.abc import Iterable

from worker.detect.header import Fields, message_ids, read_date
from worker.detect.notice import Notice
from worker.detect.original import original
from worker.domain import Action, DeliveryReport, Kind, OriginalMessage, RecipientReport


def build(
    notice: Notice,
    kind: Kind,
    detector: str,
    recipients: Iterable[RecipientReport] = (),
    *,
    reporting_mta: str | None = None,
    envelope_id: str | None = None,
    extra: Fields | None = None,
) -> DeliveryReport:
    """Return the report of `notice`: recipients as given, the rest as its header and its returned part say."""
    fields = notice.fields
    # The nearest first: References ends with the message that is answered (RFC 5322, 3.6.4).
    references = [i for value in fields.every("references") for i in message_ids(value)]
    ids = [i for value in fields.every("in-reply-to") for i in message_ids(value)] + references[::-1]
    plain = kind is Kind.NONE
    return DeliveryReport(
        kind=kind,
        detector=detector,
        reporting_mta=reporting_mta,
        recipients=tuple(recipients),
        original=OriginalMessage() if plain else original(notice, extra),
        in_reply_to=tuple(dict.fromkeys(ids)),
        envelope_id=envelope_id,
        authentication_results=fields.every("authentication-results"),
        date=read_date(fields.first("date")),
        sender=notice.sender or None,
        subject=notice.subject or None,
        text="" if plain else notice.prose.strip(),
        warnings=tuple(notice.part.warnings),
    )


def kind_of(recipients: Iterable[RecipientReport]) -> Kind:
    """Return what a report with these recipients is: any failure makes it a bounce."""
    actions = {recipient.action for recipient in recipients}
    if Action.FAILED in actions:
        return Kind.BOUNCE
    return Kind.DELAYED if Action.DELAYED in actions else Kind.DELIVERED
