"""Notices in prose: a mail system's envelope, a sentence that delivery failed, addresses and what is said of them."""

import re
from collections.abc import Iterable, Iterator
from typing import Final

from worker import vocabulary
from worker.detect import address, prose, report
from worker.detect.notice import Notice
from worker.detect.original import original
from worker.detect.smtp_reply import find_reply
from worker.domain import Action, DeliveryReport, Kind, RecipientReport, address_key
from worker.phrases import Phrases, Wordings
from worker.signs import is_delay_subject, is_notice_subject, is_null_path

NAME: Final = "plain"
PLAINLY: Final = Wordings(
    r"(?:could|can|was|were|has|have|is|did|been)(?: ?not|n't) (?:yet )?(?:be |been |get )?(?:deliver|sent"
    r"|send|reach|accept|found|process)"
    r"|undeliver|non-?deliver|unable to (?:deliver|send|process|relay|handle)|deliver\w*\b.{0,60}\b(?:fail"
    r"|problem|error|cancel|delay|postpone)"
    r"|fail(?:ed|ure)? (?:to |of |in |while |during )?deliver|(?:was|been|were|is) (?:returned|rejected"
    r"|refused|bounced)"
    r"|(?:error|problem|trouble)s? (?:while |in |with |when )?(?:deliver|sending)|fatal errors?|permanent errors?"
    r"|(?:user|host|recipient|address|mailbox) (?:is )?unknown|unknown (?:user|recipient|host|address|mailbox)"
    r"|no such (?:user|address)"
    r"|failed addresses|invalid (?:user|recipient|address)|does not like recipient|\b5\d\d[ -]5\.\d+\.\d+"
)
# "… could not be delivered to the following recipients:": what stands before are the original's own To and Subject.
ANNOUNCED: Final = re.compile(
    r"[FfTt](?i:(?<=f)ollowing|(?<=t)hese|(?<=t)his) (?:[\w-]+ ){0,4}?(?i:recipients?|address(?:es)?"
    r"|users?|persons?|people|mailbox(?:es)?)\b(?:\((?i:e?s)\))?[^\n:]{0,60}:?[ \t]*\n"
)  # with its first letters spelt out the search skips to them: a fifth of the price
DELAYED: Final = Wordings(
    r"not yet (?:been )?(?:delivered|sent)|still (?:being retried|undelivered|trying|in the queue)|(?:will"
    r"|to) (?:keep|continue|go on) (?:trying|to try|being)|will be retried"
    r"|warning (?:message )?only|delivery (?:attempts )?will (?:be )?(?:continue|retried)"
    r"|you do not need to re-?send|has been delayed|is delayed|temporary (?:failure|problem)s? report"
    r"|delivery to the following recipients? has been delayed|(?:mail )?server will keep|continue to (?:attempt|try)",
    needs=("yet ", "still ", "keep", "continue", "go on ", "retried", "warning", "need to re", "delayed", "temporary "),
)
GIVEN_UP: Final = Wordings(
    r"(?:permanent|fatal)(?:ly)? (?:error|fail)|giving up|has failed permanently|not going to try"
    r"|returned to sender|no longer be"
)
FAILED_ABROAD: Final = Phrases((*vocabulary.ALL.failed, *vocabulary.ALL.delayed))
DELAYED_ABROAD: Final = Phrases(vocabulary.ALL.delayed)
SYSTEM_NAMES: Final = re.compile(
    r"^(?:mailer-daemon|post-?master|abuse|support|help(?:desk)?|admin(?:istrator)?|no-?reply|root)@", re.IGNORECASE
)
# Lines about people who are no recipients, and identifiers that look like addresses.
OTHERS: Final = re.compile(
    r"^[ \t>]*(?:from|sender|reply-to|message[- ]?id|return-path|cc|x-[\w-]+|reporting|contact"
    r"|please)\b[^\n]*$",
    re.IGNORECASE | re.MULTILINE,
)
# "… are not accepting mail from alice@example.com": whose mail it was, not whom it didn't reach.
SENT_BY: Final = re.compile(r"\b(?<!generated )from:?\s{1,3}<?" + address.ADDRESS.pattern, re.IGNORECASE)
ANNOUNCED_NAMES: Final = re.compile(r"\bfollowing recipients?\b[^:]{0,200}:[ \t]*\n", re.IGNORECASE)
LOCAL_NAME: Final = re.compile(r"\A[ \t]*[A-Za-z0-9][\w.+-]{1,63}[ \t]*", re.ASCII)
# "552 Quota violation for bob@example.com"
REPLY_LINE: Final = re.compile(r"^[ \t]{0,16}[45]\d\d[ -][^\n@]{1,200}@[^\n]*", re.MULTILINE)
MAX_RECIPIENTS: Final = 100


def detect(notice: Notice) -> DeliveryReport | None:
    """See `Detector`."""
    if not speaks_of_failure(notice):
        return None
    text = OTHERS.sub("", notice.prose)
    if announced := ANNOUNCED.search(text):
        behind = text[announced.end() :]
        text = behind if "@" in behind else text
    action = delay_or_failure(notice)
    recipients = tuple(_recipients(notice, text, action))
    if not recipients:
        return None
    kind = Kind.DELAYED if action is Action.DELAYED else Kind.BOUNCE
    return report.build(notice, kind, NAME, recipients)


def speaks_of_failure(notice: Notice) -> bool:
    """Whether a mail system says that something was not delivered.

    In plain words, or where it gives its name, by the subject or an SMTP reply: those are the same in any language.
    """
    if not notice.is_system_mail or ("list-id" in notice.fields and not notice.is_system_sender):
        return False
    words = notice.prose[:6_000]
    if PLAINLY.within(words):
        return True
    if notice.is_system_sender and (is_notice_subject(notice.subject) or find_reply(words).code is not None):
        return True
    # Parcels are not delivered either, and shops say so automatically: in mail that a system sent, words do.
    sent_by_system = notice.is_system_sender or notice.is_report or is_null_path(notice.fields.first("return-path"))
    return sent_by_system and FAILED_ABROAD.within(notice.opening)


def delay_or_failure(notice: Notice) -> Action:
    """Whether the notice speaks of a delay or of a failure."""
    words = notice.prose[:6_000]
    if is_delay_subject(notice.subject) and not GIVEN_UP.within(words):
        return Action.DELAYED
    if DELAYED.within(words) and not GIVEN_UP.within(words):
        return Action.DELAYED
    if DELAYED_ABROAD.within(notice.opening) and not PLAINLY.within(words):
        return Action.DELAYED
    return Action.FAILED


def _recipients(notice: Notice, text: str, action: Action) -> Iterator[RecipientReport]:
    named = list(_named(notice, text))
    alone = len(named) == 1
    for recipient, said in named[:MAX_RECIPIENTS]:
        yield spoken_of(recipient, said, action, whole=text if alone else "")


def spoken_of(recipient: str, said: str, action: Action, *, whole: str = "") -> RecipientReport:
    """Return the report of a recipient of whom `said` is said; `whole` is the prose where it is all about this one."""
    reply = find_reply(said)
    if whole and (reply.code is None or reply.status is None):
        wider = find_reply(whole)
        if reply.code is None and reply.status is None:
            reply = wider
    text = said or whole.strip()
    return RecipientReport(
        final_recipient=recipient,
        action=action,
        status=reply.status,
        smtp_code=reply.code,
        diagnostic_code=prose.one_line(text)[:1_000] or None,
        text=(whole.strip() or said)[: prose.MAX_ENTRY] or None,
    )


def _named(notice: Notice, text: str) -> Iterable[tuple[str, str]]:
    """Return recipients and what is said of them: by field, by line, by sentence, at last by the original's To."""
    failed = address.every(notice.fields.first("x-failed-recipients") or "")
    if failed:
        return [(recipient, prose.about(text, recipient)) for recipient in failed]
    own = own_addresses(notice)
    led = _merged(
        (a, said) for a, said in prose.entries(text) if address_key(a) not in own and not SYSTEM_NAMES.match(a)
    )
    if led:
        return led
    spoken = [
        a for a in address.every(SENT_BY.sub(" ", text)) if address_key(a) not in own and not SYSTEM_NAMES.match(a)
    ]
    if spoken:
        return _merged([(spoken[0], prose.about(text, spoken[0]) if len(spoken) > 1 else ""), *_refused(text, spoken)])
    to = address.every(original(notice).to or "") or _local_names(notice, text)
    return [(recipient, "") for recipient in to]


def _refused(text: str, spoken: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield the addresses of `spoken` of whom a server's reply speaks, with it: where mail was forwarded, another."""
    for reply in REPLY_LINE.findall(text):
        yield from ((a, reply.strip()) for a in address.every(reply) if a in spoken)


def _local_names(notice: Notice, text: str) -> Iterable[str]:
    """Return the recipients that are announced by their local names alone: their domain is the notice's own (AOL)."""
    announced = ANNOUNCED_NAMES.search(text)
    sender = address.every(notice.sender)
    if not announced or not sender:
        return ()
    listed = text[announced.end() :].strip().partition("\n\n")[0].split("\n")
    names = [line.strip() for line in listed if LOCAL_NAME.fullmatch(line)]
    return [f"{name}@{sender[0].rpartition('@')[2]}" for name in names if len(names) == len(listed)]


def _merged(pairs: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return each address once, with all that is said of it."""
    found: dict[str, tuple[str, list[str]]] = {}
    for recipient, said in pairs:
        found.setdefault(address_key(recipient), (recipient, []))[1].append(said)
    return [(recipient, "\n".join(filter(None, said))) for recipient, said in found.values()]


def own_addresses(notice: Notice) -> frozenset[str]:
    """Return the addresses of the notice's own sender and reader: they are not who could not be reached."""
    values = (notice.fields.first(name) or "" for name in ("to", "from", "delivered-to", "reply-to"))
    return frozenset(address_key(a) for value in values for a in address.every(value))
