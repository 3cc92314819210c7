"""A message seen as a possible notice: what stands in its header, its own prose, and what it gives back."""

import re
from functools import cached_property
from typing import Final

from worker.detect.header import Fields
from worker.detect.mime import Part
from worker.signs import is_notice_subject, is_null_path, is_system_sender

# Where the notice ends and the returned message begins, in notices that are plain text.
RETURNED: Final = re.compile(
    r"^[ \t>]*[-=_*]{0,60}[ \t]*(?:"
    r"(?:below this line|this) is (?:a|the) (?:copy|header)|(?:below|following|attached|here|enclosed) is (?:a copy|the (?:original|message|header))"
    r"|(?:the )?(?:unsent|original|returned|undelivered|rejected|bounced|failed|your|quoted) (?:e-?mail |mail )?message"
    r"(?:['’]s)? ?(?:header|text|body|details|below|follows|is (?:included|attached|below)|with full|in full|\(header|excerpt|starts|begins|[-:*=_]|$)"
    r"|original headers|(?:the )?(?:first \d+ (?:bytes|lines|kbytes) of|header(?:s)? of|text of|start of|copy of|content of|body of) "
    r"(?:the |your |this |returned )?(?:original |undelivered |failed |returned )?(?:e-?mail|message|header)"
    r"|message (?:header|text|body|contents?|follows)s?\b(?: follows?| is)?|your (?:original )?message (?:follows|reads|header)|the original message(?: was)?[ \t]*:"
    r"|(?:the )?headers? (?:of|from) the (?:original )?message|returned (?:mail|text|headers)|unsent (?:mail|message)"
    r"|(?:original|bounced|returned|rejected) e-?mail:|received:|return-path:[ \t]|delivered-to:[ \t]|x-received:[ \t]|dkim-signature:[ \t]|x-originating-ip:"
    r"|mime-version:[ \t]|forwarded message"
    r")",
    re.IGNORECASE | re.MULTILINE,
)
RETURNED_TYPES: Final = (
    "message/rfc822",
    "text/rfc822-headers",
    "text/rfc822-header",
    "text/rfc822",
    "message/global",
    "message/global-headers",
    "message/rfc822-headers",
    "message/partial",
)
STATUS_TYPES: Final = ("message/delivery-status", "message/global-delivery-status")


class Notice:
    """One message, read on demand."""

    def __init__(self, part: Part) -> None:
        self.part = part

    @property
    def fields(self) -> Fields:
        """The message's own header."""
        return self.part.fields

    @cached_property
    def sender(self) -> str:
        """The From field, decoded."""
        return self.fields.text("from")

    @cached_property
    def subject(self) -> str:
        """The Subject field, decoded."""
        return self.fields.text("subject")

    @cached_property
    def report_type(self) -> str:
        """The report-type of a multipart/report (RFC 6522, 3), in lower case; empty for anything else."""
        return self.part.parameters.get("report-type", "").lower() if self.is_report else ""

    @property
    def is_report(self) -> bool:
        """Whether the message calls itself a report (RFC 6522)."""
        return self.part.content_type == "multipart/report"

    @cached_property
    def is_automatic(self) -> bool:
        """Whether the message says that no person wrote it (RFC 3834, 5)."""
        value = (self.fields.first("auto-submitted") or "no").strip().lower()
        return not value.startswith("no")

    @property
    def answers_automatically(self) -> bool:
        """Whether older signs say that no person wrote it (RFC 3834, 2)."""
        fields = self.fields
        if (fields.first("precedence") or "").lower() in ("bulk", "junk", "auto_reply") and "list-id" not in fields:
            return True
        return "x-auto-response-suppress" in fields or is_null_path(fields.first("return-path"))

    @cached_property
    def is_system_sender(self) -> bool:
        """Whether a mail system put its name to it."""
        fields = self.fields
        if "x-failed-recipients" in fields or "x-ms-exchange-message-is-ndr" in fields:
            return True
        return is_system_sender(self.sender)

    @cached_property
    def is_system_mail(self) -> bool:
        """Whether the header is that of a mail system's notice, not that of a person's letter."""
        if self.is_system_sender:
            return True
        fields = self.fields
        hints = is_null_path(fields.first("return-path")) + self.is_automatic + is_notice_subject(self.subject)
        return hints >= 2

    @cached_property
    def leaves(self) -> tuple[Part, ...]:
        """The message's parts; what an attached message holds does not count."""
        return self.part.leaves

    @cached_property
    def status_parts(self) -> tuple[Part, ...]:
        """The parts that say of themselves that they hold delivery status."""
        return tuple(leaf for leaf in self.leaves if leaf.content_type in STATUS_TYPES)

    @cached_property
    def returned(self) -> Part | None:
        """The returned message, or its header, as a part of its own; None where it stands in the text."""
        return next((leaf.message for leaf in self.leaves if leaf.content_type in RETURNED_TYPES), None)

    @cached_property
    def _prose_and_quote(self) -> tuple[str, str]:
        texts = []
        for leaf in self.leaves:
            if leaf.content_type in RETURNED_TYPES:
                break
            if leaf.content_type == "text/plain" or leaf.content_type.startswith("multipart/") or (leaf.content_type == "text/html" and not texts):
                texts.append(leaf.text)
        whole = "\n\n".join(texts)
        found = RETURNED.search(whole)
        return (whole[: found.start()], whole[found.start() :]) if found else (whole, "")

    @property
    def prose(self) -> str:
        """The notice's own words, without the returned message."""
        return self._prose_and_quote[0]

    @property
    def quote(self) -> str:
        """The returned message where it stands in the text, from the line that announces it; empty where it doesn't."""
        return self._prose_and_quote[1]
