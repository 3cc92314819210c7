"""A message seen as a possible notice: what stands in its header, its own prose, and what it gives back."""

import re
from typing import Final

from worker import vocabulary
from worker.detect import prose
from worker.detect.header import Fields
from worker.detect.lazy import lazy
from worker.detect.mime import Part
from worker.phrases import Phrases
from worker.signs import is_notice_subject, is_null_path, is_system_sender

# Where the notice ends and the returned message begins, in notices that are plain text; asked of lines in lower case.
RETURNED: Final = re.compile(
    r"(?:"
    r"(?:below this line|this) is (?:a|the) (?:copy|header)|(?:below|following|attached|here"
    r"|enclosed) is (?:a copy|the (?:original|message|header))"
    r"|(?:the )?(?:unsent|original|returned|undelivered|rejected|bounced|failed|quoted) (?:e-?mail |mail )?message"
    r"(?:['’]s)? ?(?:header|text|body|details|below|follows|is (?:included|attached|below)|with full|in full"
    r"|\(header|excerpt|starts|begins|[-:*=_]|$)"
    r"|original headers|(?:the )?(?:first \d+ (?:bytes|lines|kbytes) of|header(?:s)? of|text of|start of"
    r"|copy of|content of|body of) "
    r"(?:the |your |this |returned )?(?:original |undelivered |failed |returned )?(?:e-?mail|message|header)"
    r"|message (?:header|text|body|contents?|follows)s?\b(?: follows?| is)?"
    r"|your (?:original )?message (?:follows|reads|header)|the original message(?: was)?[ \t]*:"
    r"|(?:the )?headers? (?:of|from) the (?:original )?message|returned (?:mail|text|headers)|unsent (?:mail|message)"
    r"|(?:original|bounced|returned|rejected) e-?mail:|received:|return-path:[ \t]|delivered-to:[ \t]"
    r"|x-received:[ \t]|dkim-signature:[ \t]|x-originating-ip:"
    r"|mime-version:[ \t]|forwarded message"
    r")",
    re.MULTILINE,
)
RETURNED_ABROAD: Final = Phrases(vocabulary.ALL.returned)
# The first three letters of those lines: a look that is ten times cheaper than the patterns.
RETURNED_STARTS: Final = frozenset(
    {phrase[:3] for phrase in vocabulary.ALL.returned}
    | {
        "bel", "thi", "fol", "att", "her", "enc", "the", "uns", "ori", "ret", "und", "rej", "bou", "fai", "quo", "fir",
        "hea", "tex", "sta", "cop", "con", "bod", "mes", "you", "rec", "del", "x-r", "dki", "x-o", "mim", "for",
    }
)  # fmt: skip
TRANSPORT_FIELD: Final = re.compile(r"^[ \t>|]{0,8}(?:received|message-id)[ \t]*:", re.IGNORECASE | re.MULTILINE)
# The fields with which a returned header begins where its trace fields are left out.
HEADER_STARTS: Final = frozenset({"fro", "to:", "dat", "sub", "mes"})
STARTS: Final = RETURNED_STARTS | HEADER_STARTS
HEADER_NAMES: Final = frozenset({"from", "to", "date", "subject"})
HEADER_NAME: Final = re.compile(r"^[ \t>|]{0,8}([A-Za-z][A-Za-z-]{1,30}):[ \t]")
ANNOUNCEMENT: Final = 2_000  # characters in which a notice says what it is
HEADER_LENGTH: Final = 2_000
ORNAMENT: Final = " \t>-=_*|#~+"
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

    @lazy
    def sender(self) -> str:
        """The From field, decoded."""
        return self.fields.text("from")

    @lazy
    def subject(self) -> str:
        """The Subject field, decoded."""
        return self.fields.text("subject")

    @lazy
    def report_type(self) -> str:
        """The report-type of a multipart/report (RFC 6522, 3), in lower case; empty for anything else."""
        return self.part.parameters.get("report-type", "").lower() if self.is_report else ""

    @property
    def is_report(self) -> bool:
        """Whether the message calls itself a report (RFC 6522)."""
        return self.part.content_type == "multipart/report"

    @lazy
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

    @lazy
    def is_system_sender(self) -> bool:
        """Whether a mail system put its name to it."""
        fields = self.fields
        if "x-failed-recipients" in fields or "x-ms-exchange-message-is-ndr" in fields:
            return True
        return is_system_sender(self.sender)

    @lazy
    def is_system_mail(self) -> bool:
        """Whether the header is that of a mail system's notice, not that of a person's letter."""
        if self.is_system_sender:
            return True
        fields = self.fields
        hints = (
            (not self.sender.strip())
            + self.is_report
            + is_null_path(fields.first("return-path"))
            + self.is_automatic
            + is_notice_subject(self.subject)
        )
        return hints >= 2 or (hints == 1 and "user-agent" not in fields and self.gives_back)

    @lazy
    def gives_back(self) -> bool:
        """Whether a message stands in it, as a part or in the text, with the header that its way gave it."""
        if self.returned is not None:
            return bool(self.returned.fields)
        return TRANSPORT_FIELD.search(self.quote) is not None

    @lazy
    def leaves(self) -> tuple[Part, ...]:
        """The message's parts; what an attached message holds does not count."""
        return self.part.leaves

    @lazy
    def status_parts(self) -> tuple[Part, ...]:
        """The parts that say of themselves that they hold delivery status."""
        return tuple(leaf for leaf in self.leaves if leaf.content_type in STATUS_TYPES)

    @lazy
    def returned(self) -> Part | None:
        """The returned message, or its header, as a part of its own; None where it stands in the text."""
        return next((leaf.message for leaf in self.leaves if leaf.content_type in RETURNED_TYPES), None)

    @lazy
    def _prose_and_quote(self) -> tuple[str, str]:
        texts: list[str] = []
        for leaf in self.leaves:
            if leaf.content_type in RETURNED_TYPES:
                break
            if (
                leaf.content_type == "text/plain"
                or leaf.content_type.startswith("multipart/")
                or (leaf.content_type == "text/html" and not texts)
            ):
                texts.append(leaf.text)
        whole = "\n\n".join(texts)
        mark = _returned_at(whole)
        return whole[:mark], whole[mark:]

    @property
    def prose(self) -> str:
        """The notice's own words, without the returned message."""
        return self._prose_and_quote[0]

    @lazy
    def entries(self) -> list[tuple[str, str]]:
        """What the notice's own words say of whom: read once, asked for every recipient."""
        return prose.entries(self.prose)

    @lazy
    def opening(self) -> str:
        """The beginning of the notice's own words, folded as phrases are: there it says what it is."""
        return vocabulary.fold(self.prose[:ANNOUNCEMENT])

    @property
    def quote(self) -> str:
        """The returned message where it stands in the text, from the line that announces it; empty where it doesn't."""
        return self._prose_and_quote[1]


def _returned_at(text: str) -> int:
    """Return where the line stands that announces the returned message, or the end of `text`."""
    position = 0
    for line in text.split("\n"):
        bare = line.lstrip(ORNAMENT)
        if (start := bare[:3].lower()) in STARTS and (
            _announces(bare)
            or (start in HEADER_STARTS and ":" in bare[2:11] and _is_header(text[position : position + HEADER_LENGTH]))
        ):
            return position
        position += len(line) + 1
    return len(text)


def _is_header(text: str) -> bool:
    """Whether a message's header begins here that nothing announces, or only words in a language that no file knows."""
    names: set[str] = set()
    for line in text.split("\n"):
        field = HEADER_NAME.match(line)
        if field:
            names.add(field.group(1).lower())
        elif not line[:1].isspace() or not names:
            break
    return "message-id" in names and len(names & HEADER_NAMES) >= 2


def _announces(line: str) -> bool:
    folded = line.lower()
    if RETURNED.match(folded):
        return True
    return RETURNED_ABROAD.may_begin(folded) and RETURNED_ABROAD.beginning(vocabulary.fold(line[:80])) is not None
