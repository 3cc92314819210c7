"""What a message's own header says about who made it: signs that `screen` and `detect` share.

Each sign is weak alone; `screen` asks whether there is any, `detect` whether what stands in the body bears it out.
"""

import re
from typing import Final

from worker import vocabulary
from worker.phrases import Phrases

# Names under which mail systems write, in the local part or the display name.
SYSTEM_SENDER: Final = re.compile(
    r"mailer[-_. ]?daemon|post[-_. ]?master|\bmdaemon\b|microsoftexchange[0-9a-f]{8}|mail[-_. ]?deliver"
    r"|delivery[-_. ](?:sub)?system"
    r"|mail[-_. ]?(?:router|administrator|system|subsystem)|system[-_. ]administrator"
    r"|\bbounces?(?:-notif\w*)?@|mail[-_]daemon"
    r"|internet[-_. ]mail[-_. ]delivery|delivery[-_. ]?(?:status|notification|report)|^\W*(?:administrator"
    r"|sysadmin)\b"
    r"|\bmail-?admin\b|non-?delivery|undeliver|exim@|\bsmtp(?:d|-daemon|-gateway)\b|@sns\.amazonaws\.com",
    re.IGNORECASE,
)

# Subjects of notices in English; other languages are data. Sources: the notices of the mail systems named in
# tests/corpus and the vendors' manuals.
NOTICE_SUBJECT: Final = re.compile(
    r"undeliver(?:ed|able|y)|non[- ]?deliver|not (?:be )?deliver|deliver(?:y|ed)? (?:status|fail|notif|problem"
    r"|report|error|has|delay"
    r"|warning|incomplete)|delayed|(?:mail|message|sending|permanent|transient|delivery).{0,30}(?:fail|error"
    r"|return|problem|warning|status"
    r"|delay|reject|block)|returned (?:mail|to sender)|returning (?:mail|message)|failure (?:notice|delivery)"
    r"|failed mail|fail(?:ed|ure) to deliver"
    r"|could ?n[o']?t (?:be )?(?:sen[dt]|deliver)|user unknown|unknown (?:user|recipient|address)"
    r"|mailbox (?:is )?full|over quota"
    r"|nondeliverable|processing error|^(?:auto(?:matic)? ?)?reject(?:ed)?\b|^warning\b|mail ?box unavailable",
    re.IGNORECASE,
)

# What gateways and lists put before a subject: "[EXTERNAL] ", "[SUSPECTED SPAM]".
TAGS: Final = re.compile(r"\A\s?(?:\[[^\[\]\n]{1,40}+\]\s{0,4}+){1,4}+(?=\S)")

ANSWERED_OR_FORWARDED: Final = re.compile(
    rf"^\s*(?:re|fwd?|{'|'.join(map(re.escape, vocabulary.ALL.reply_prefix))})\s*(?:\[\d+\])?\s*[:：]\s",
    re.IGNORECASE,
)

DELAY_SUBJECT: Final = re.compile(
    r"\bdelay|^warning\b.{0,60}(?:could not|not yet|still|undelivered)|still being retried|\(delay\)|delivery warning",
    re.IGNORECASE,
)

NOTICE_SUBJECTS: Final = Phrases((*vocabulary.ALL.failed_subject, *vocabulary.ALL.delayed_subject))
DELAY_SUBJECTS: Final = Phrases(vocabulary.ALL.delayed_subject)

REPORT_TYPES: Final = re.compile(r"multipart/report|report-type|message/(?:global-)?delivery-status", re.IGNORECASE)


def is_system_sender(sender: str) -> bool:
    """Whether a From value (decoded) names a mail system."""
    return sender.strip() == "<>" or SYSTEM_SENDER.search(sender) is not None


def is_notice_subject(subject: str) -> bool:
    """Whether a subject (decoded) is one that notices have; an answered or forwarded one is a person's."""
    subject = untagged(subject)
    told = NOTICE_SUBJECT.search(subject) or NOTICE_SUBJECTS.within(vocabulary.fold(subject))
    return bool(told) and ANSWERED_OR_FORWARDED.match(subject) is None


def is_delay_subject(subject: str) -> bool:
    """Whether a notice's subject (decoded) says that the mail is only late."""
    subject = untagged(subject)
    return DELAY_SUBJECT.search(subject) is not None or DELAY_SUBJECTS.within(vocabulary.fold(subject))


def untagged(subject: str) -> str:
    """Return a subject without the words in square brackets that stand before it."""
    tags = TAGS.match(subject) if "[" in subject[:2] else None
    return subject[tags.end() :] if tags else subject


def is_null_path(return_path: str | None) -> bool:
    """Whether the envelope's sender is empty (RFC 5321, 4.5.5), as of reports and of automatic answers."""
    return return_path is not None and return_path.strip() in ("<>", "", "<MAILER-DAEMON>", "MAILER-DAEMON")
