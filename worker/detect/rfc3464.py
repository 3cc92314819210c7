"""Delivery status notifications (RFC 3464, 6522, 6533) and their malformed cousins.

What can be read is reported: only the recipient's address is needed, and even that is looked for elsewhere.
"""

import re
from collections.abc import Iterator
from typing import Final

from worker.detect import address, prose, report
from worker.detect.header import NO_FIELDS, Fields, read_date, read_items, unfold, without_comments
from worker.detect.notice import Notice
from worker.detect.smtp_reply import Reply, find_reply
from worker.domain import Action, DeliveryReport, EnhancedStatusCode, RecipientReport
from worker.signs import is_delay_subject

NAME: Final = "rfc3464"
FIELD_LINE: Final = re.compile(r"^[ \t]*(?:final-recipient|original-recipient)[ \t]*:", re.IGNORECASE | re.MULTILINE)
INSET: Final = re.compile(r"^([ \t]{0,16})(?:final-recipient|action|status)[ \t]*:", re.IGNORECASE | re.MULTILINE)
FIRST_LINE: Final = re.compile(r"\s{0,99}(?:reporting-mta|final-recipient|original-recipient)[ \t]*:", re.IGNORECASE)
NAMED: Final = re.compile(r"-[rR](?i:ecipient)")
STATUS_LINE: Final = re.compile(
    r"^[ \t]*(?:action|status|diagnostic-code|reporting-mta)[ \t]*:", re.IGNORECASE | re.MULTILINE
)
BLANK: Final = re.compile(r"\n[ \t]*\n")
INDENTED: Final = re.compile(r"\A[ \t]++(?=[\w-]+[ \t]*:[ \t])")
NAMING: Final = frozenset({"final-recipient", "original-recipient", "x-actual-recipient"})
PER_RECIPIENT: Final = NAMING | {"action", "status", "diagnostic-code", "remote-mta", "will-retry-until"}

# RFC 3464, 2.3.3, and what programs write instead: "error" is OpenSMTPD's and others' (neither is in the RFC).
ACTIONS: Final = {
    "failed": Action.FAILED, "failure": Action.FAILED, "fail": Action.FAILED, "error": Action.FAILED,
    "expired": Action.FAILED, "rejected": Action.FAILED, "bounced": Action.FAILED, "undeliverable": Action.FAILED,
    "delayed": Action.DELAYED, "delay": Action.DELAYED, "deferred": Action.DELAYED, "warning": Action.DELAYED,
    "delivered": Action.DELIVERED, "relayed": Action.RELAYED, "expanded": Action.EXPANDED,
    "deliverable": Action.DELIVERED, "success": Action.DELIVERED,
}  # fmt: skip


def detect(notice: Notice) -> DeliveryReport | None:
    """See `Detector`."""
    texts = [part.text for part in notice.status_parts]
    if texts and not (notice.is_report or notice.is_system_mail):
        return None  # a person who sends on a notice's parts
    if not texts:
        texts = _status_in_text(notice)
    groups = [group for text in texts for group in _groups(text)]
    message_fields = next((group for group in groups if not group.has_any(NAMING)), NO_FIELDS)
    recipients = tuple(_recipients(notice, groups))
    if not recipients:
        return None
    mta = message_fields.first("reporting-mta") or message_fields.first("reported-by")
    return report.build(
        notice,
        report.kind_of(recipients),
        NAME,
        recipients,
        reporting_mta=mta.rpartition(";")[2].strip() if mta else None,
        envelope_id=message_fields.first("original-envelope-id"),
        extra=message_fields,
    )


def _status_in_text(notice: Notice) -> list[str]:
    """Return texts that hold status fields though their part says otherwise: text/plain, or no MIME at all."""
    if not (notice.is_system_mail or notice.is_report):
        return []
    found = [
        leaf.text
        for leaf in notice.leaves
        if leaf.content_type.startswith(("text/", "multipart/"))
        and NAMED.search(leaf.text)  # a tenth of the price of the patterns, which most mail is spared
        and FIELD_LINE.search(leaf.text)
        and STATUS_LINE.search(leaf.text)
    ]
    # The first; and such as are nothing else, being parts of a report whose type was lost.
    return [_set_out(text) for text in found[:1] + [text for text in found[1:] if FIRST_LINE.match(text)]]


def _set_out(text: str) -> str:
    """Return `text` without the white space by which all of its status fields are set in."""
    insets = {found.group(1) for found in INSET.finditer(text)}
    inset = min(insets, key=len, default="")
    return text.replace(f"\n{inset}", "\n").removeprefix(inset) if inset else text


def _groups(text: str) -> Iterator[Fields]:
    """Yield the groups of fields (RFC 3464, 2.1): one of the message, then one a recipient.

    Blank lines divide groups, but some are missing and some too many: a group also ends where the field that it began
    with comes again, and a paragraph that names no recipient belongs to the group before it.
    """
    group: list[tuple[str, str]] = []
    said: list[str] = []  # the names of those of its fields that speak of a recipient
    for paragraph in BLANK.split(text):
        items = read_items(paragraph.lstrip(" \t") if INDENTED.match(paragraph) else paragraph)
        if group and _is_next(said, PER_RECIPIENT.intersection(name for name, _ in items)):
            yield Fields(group)
            group, said = [], []
        for name, value in items:
            if name in PER_RECIPIENT:
                if group and _starts_again(said, name):
                    yield Fields(group)
                    group, said = [], []
                said.append(name)
            group.append((name, value))
    if group:
        yield Fields(group)


def _is_next(said: list[str], names: frozenset[str]) -> bool:
    """Whether a paragraph with fields called `names` begins another group, and isn't one that a blank line cut off."""
    if not names or (names.isdisjoint(NAMING) and not NAMING.isdisjoint(said)):
        return False
    cut_off = said and names.isdisjoint(said) and NAMING.isdisjoint(said)
    return not cut_off


def _starts_again(said: list[str], name: str) -> bool:
    """Whether a field begins another recipient without a blank line, or the first after the message's own fields."""
    if not said:
        return name in NAMING
    return name == said[0] or (name == "final-recipient" and name in said)


def _recipients(notice: Notice, groups: list[Fields]) -> Iterator[RecipientReport]:
    """Yield what is said of each recipient; the same said twice of one is said once."""
    seen = set()
    naming = [group for group in groups if group.has_any(NAMING)]
    for group in naming:
        found = _recipient(notice, group, alone=len(naming) == 1)
        if found and (key := (found.final_recipient.casefold(), found.action)) not in seen:
            seen.add(key)
            yield found


def _recipient(notice: Notice, group: Fields, *, alone: bool) -> RecipientReport | None:
    final = address.recipient(group.first("final-recipient"))
    first = address.recipient(group.first("original-recipient"))
    if final is None or "@" not in final:
        final = _full_address(final, group, first)
    if final is None:
        failed = address.every(notice.fields.first("x-failed-recipients") or "")
        final = failed[0] if len(failed) == 1 else None
    if final is None:
        return None
    if target := prose.generated_from(notice.prose, final):
        final, first = target, first or final
    said = _said(notice, final, first, alone=alone)
    stated = EnhancedStatusCode.parse(group.first("status") or "")
    diagnostic = _diagnostic(group)
    reply = _reply(group, diagnostic, said)
    action = _action(group.first("action"), stated, notice)
    return RecipientReport(
        final_recipient=final,
        original_recipient=first,
        action=action,
        status=_better(stated, reply.status, answered=bool(diagnostic and find_reply(diagnostic).code)),
        smtp_code=reply.code,
        diagnostic_code=diagnostic or prose.one_line(said) or None,
        remote_mta=(group.first("remote-mta") or "").rpartition(";")[2].strip() or None,
        will_retry_until=read_date(group.first("will-retry-until")),
        text=said or None,
    )


def _full_address(final: str | None, group: Fields, first: str | None) -> str | None:
    """Return an address with a domain where Final-Recipient is a local name, a command or empty."""
    actual = address.recipient(group.first("x-actual-recipient"))
    return next((a for a in (first, actual) if a and "@" in a), final)


def _said(notice: Notice, final: str, first: str | None, *, alone: bool) -> str:
    """Return what the prose says of this recipient; of the only one it is all about."""
    said = prose.of(notice.entries, final) or (prose.of(notice.entries, first) if first else "")
    return said or (notice.prose.strip()[: prose.MAX_ENTRY] if alone else "")


def _diagnostic(group: Fields) -> str | None:
    """Return Diagnostic-Code without its type; else what Exchange keeps of it in X-Supplementary-Info."""
    values = [value for value in group.every("diagnostic-code") if value]
    if values:
        kind, _, text = values[0].partition(";")
        return (text.strip() if text and len(kind) < 30 and " " not in kind.strip() else values[0]) or None
    info = group.first("x-supplementary-info")
    return info.strip("<> ") if info else None


def _reply(group: Fields, diagnostic: str | None, said: str) -> Reply:
    """Return reply code and enhanced code from the first of diagnostic, Status comment and prose that has them."""
    code, status = None, None
    for text in (diagnostic or "", group.first("status") or "", said):
        if not text:
            continue
        found = find_reply(text)
        code = code or found.code
        status = _better(status, found.status)
        if code and status and not (status.says_nothing or status.says_expired):
            break
    return Reply(code, status)


def _better(
    stated: EnhancedStatusCode | None, found: EnhancedStatusCode | None, *, answered: bool = False
) -> EnhancedStatusCode | None:
    """Return the code that carries more: Exchange turns 5.7.26 into 5.7.0 on import (MS-OXCMAIL, 2.2.3.7.1).

    What the remote server `answered` counts more than what the reporting server made of it: 4.4.7 only says that it
    gave up, 5.1.1 is written for any refusal.
    """
    if stated is None or found is None:
        return stated or found
    if (answered or stated.says_expired) and found.detail and found.klass == stated.klass:
        return found
    cut_short = stated.detail == 0 and found.detail and stated.klass == found.klass
    return found if cut_short or (stated.says_nothing and not found.says_nothing) else stated


def _action(value: str | None, status: EnhancedStatusCode | None, notice: Notice) -> Action:
    """Return the action; where it is absent or no known word, what the class of Status says (RFC 3463, 2)."""
    words = without_comments(unfold(value or "")).lower().split()
    known = ACTIONS.get(words[0].strip(".,;:")) if words else None
    if known:
        return known
    if status and status.klass == 2:
        return Action.DELIVERED
    return Action.DELAYED if is_delay_subject(notice.subject) and status and status.klass == 4 else Action.FAILED
