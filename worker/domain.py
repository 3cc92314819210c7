"""The nouns of the product, in the words of RFC 3464. Everything here is frozen and knows nothing of the rest."""

import re
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final, Self


class Kind(StrEnum):
    """What a message is. Only `BOUNCE` and `DELAYED` ever lead to a verdict."""

    BOUNCE = "bounce"  # any recipient failed
    DELAYED = "delayed"  # the sending server still tries
    HELD = "held"  # quarantine or moderation: no change
    DELIVERED = "delivered"  # delivered, relayed or expanded
    AUTO_REPLY = "auto_reply"  # out of office and its like (RFC 3834)
    RECEIPT = "receipt"  # read receipt (RFC 8098)
    COMPLAINT = "complaint"  # feedback report (RFC 5965)
    CHALLENGE = "challenge"  # "prove that you are human"
    NONE = "none"  # ordinary mail


class Action(StrEnum):
    """The Action field (RFC 3464, 2.3.3)."""

    FAILED = "failed"
    DELAYED = "delayed"
    DELIVERED = "delivered"
    RELAYED = "relayed"
    EXPANDED = "expanded"


# The look back stands behind the first digit: so the search skips to digits without asking anything.
STATUS: Final = re.compile(r"([245])(?<![\d.].)\.(\d{1,3})\.(\d{1,3})(?![\d]|\.\d)")


@dataclass(frozen=True, slots=True, order=True)
class EnhancedStatusCode:
    """class.subject.detail (RFC 3463, 2); the registry is RFC 5248's."""

    klass: int
    subject: int
    detail: int

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Return the first code that stands in `text`, or None. Parts of IP addresses are no codes."""
        found = STATUS.search(text)
        return cls(*map(int, found.groups())) if found else None

    @property
    def says_nothing(self) -> bool:
        """Whether the code is x.0.0: "other undefined status" (RFC 3463, 3.1)."""
        return self.subject == 0 and self.detail == 0

    @property
    def says_expired(self) -> bool:
        """Whether the code is x.4.7: the queue gave up (RFC 3463, 3.5), whatever it met before."""
        return self.subject == 4 and self.detail == 7

    def __str__(self) -> str:
        return f"{self.klass}.{self.subject}.{self.detail}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipientReport:
    """What a report says of one recipient (RFC 3464, 2.3). Only the address is never absent in the wild.

    `text` is what the notice's prose says of this recipient, where it says anything.
    """

    final_recipient: str
    original_recipient: str | None = None
    action: Action = Action.FAILED
    status: EnhancedStatusCode | None = None
    smtp_code: str | None = None
    diagnostic_code: str | None = None
    remote_mta: str | None = None
    will_retry_until: datetime | None = None
    text: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OriginalMessage:
    """What a report gives back of the message that it speaks of.

    `message_id` is the RFC 5322 Message-ID without angle brackets. `message_ids` holds every id under which the report
    names the original, the best first. `tokens` are values of tracking headers found in the returned part,
    `return_tokens` what stands behind a plus in the address to which the report came back (VERP).
    """

    message_id: str | None = None
    message_ids: tuple[str, ...] = ()
    tokens: tuple[str, ...] = ()
    return_tokens: tuple[str, ...] = ()
    sender: str | None = None
    to: str | None = None
    subject: str | None = None
    date: str | None = None


UNREAD: Final = "unread"
"""The detector of reports of which nothing but the addresses was understood."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryReport:
    """What one message says, whatever its format (RFC 3464, 6522, 6533, or none of them).

    `text` is the notice's own prose, without the returned message. `in_reply_to` holds the ids of In-Reply-To and
    References, the nearest first. `authentication_results` are those fields (RFC 8601), the outermost first: only one
    that the inbox's own provider wrote may be believed. `warnings` say in plain words what was cut off or malformed.
    """

    kind: Kind
    detector: str
    reporting_mta: str | None = None
    recipients: tuple[RecipientReport, ...] = ()
    original: OriginalMessage = field(default_factory=OriginalMessage)
    in_reply_to: tuple[str, ...] = ()
    envelope_id: str | None = None
    authentication_results: tuple[str, ...] = ()
    date: datetime | None = None
    sender: str | None = None
    subject: str | None = None
    text: str = ""
    warnings: tuple[str, ...] = ()


class BounceType(StrEnum):
    """What a bounce means for the email that was sent."""

    HARD = "hard"
    SOFT = "soft"
    PENDING = "pending"


class Reason(StrEnum):
    """Why: the first six are hard reasons, the rest soft; a pending bounce carries a soft one."""

    UNKNOWN_USER = "unknown_user"
    MAILBOX_FULL = "mailbox_full"
    CONTENT = "content"
    SPAM = "spam"
    POLICY = "policy"
    OTHER = "other"
    RECIPIENT_TEMPORARY = "recipient_temporary"
    SECURITY_FILTER = "security_filter"
    SENDER_NOT_AUTHORISED = "sender_not_authorised"
    TEMPORARY = "temporary"


SOFT_REASONS: Final = frozenset(
    {Reason.RECIPIENT_TEMPORARY, Reason.SECURITY_FILTER, Reason.SENDER_NOT_AUTHORISED, Reason.TEMPORARY}
)


class Fault(StrEnum):
    """Whose fault it was; only `ADDRESS` speaks against the address itself."""

    ADDRESS = "address"
    CONTENT = "content"
    SENDER = "sender"
    RECIPIENT_SERVER = "recipient_server"
    NETWORK = "network"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a recipient's report comes to, and the rule that said so.

    `verified` is False where the words that decided have no public source: then a person decides.
    """

    type: BounceType
    reason: Reason
    fault: Fault
    rule: str
    rules_version: str
    matched_text: str | None = None
    verified: bool = True


class SendKind(StrEnum):
    """How the CRM sent an email."""

    ONE_TO_ONE = "one_to_one"
    SEQUENCE = "sequence"


class Role(StrEnum):
    """How a recipient was addressed."""

    TO = "to"
    CC = "cc"
    BCC = "bcc"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipient:
    """One address that an email was written to; `address` is as the CRM wrote it."""

    address: str
    contact_id: str | None = None
    role: Role = Role.TO


@dataclass(frozen=True, slots=True, kw_only=True)
class SentEmail:
    """An email that the CRM sent through a connected inbox; `id` is the CRM's own."""

    id: str
    account: str
    inbox: str
    kind: SendKind
    sent_at: datetime
    recipients: tuple[Recipient, ...]
    message_id: str | None = None
    provider_message_id: str | None = None
    thread_id: str | None = None
    tracking_id: str | None = None
    envelope_id: str | None = None
    engagement_id: str | None = None
    sequence_id: str | None = None
    enrollment_id: str | None = None
    subject: str | None = None
    sender: str | None = None

    def contradicted_by(self, repeat: "SentEmail") -> list[str]:
        """Return the fields in which a repeat of this send's id says something else, by their names in JSON."""
        late = [(name, getattr(self, name), getattr(repeat, name)) for name in LATE_FIELDS]
        wrong = [name for name, mine, theirs in late if None not in (mine, theirs) and mine != theirs]
        wrong += [name for name in ("inbox", "kind", "sent_at") if getattr(self, name) != getattr(repeat, name)]
        mine, theirs = _contacts(self), _contacts(repeat)
        if mine.keys() != theirs.keys() or any(None not in (mine[k], theirs[k]) and mine[k] != theirs[k] for k in mine):
            wrong.append("recipients")
        return ["from" if name == "sender" else name for name in wrong]

    def completed_by(self, repeat: "SentEmail") -> "SentEmail":
        """Return this send with what a repeat adds."""
        return replace(self, **{name: getattr(repeat, name) for name in LATE_FIELDS if getattr(self, name) is None})


def _contacts(send: SentEmail) -> dict[str, str | None]:
    return {address_key(one.address): one.contact_id for one in send.recipients}


LATE_FIELDS: Final = tuple(field.name for field in fields(SentEmail) if field.default is None)
"""What a CRM may learn only after the mail has left, and add by registering a send again."""


class Rung(StrEnum):
    """A rung of the ladder of proof: how a report was tied to a sent email."""

    ORIGINAL_MESSAGE_ID = "original_message_id"
    TOKEN = "token"  # noqa: S105 - the rung's name, no secret
    DIRECT_REPLY = "direct_reply"
    THREAD = "thread"
    SEPARATE_NOTICE = "separate_notice"
    GLOBAL = "global"  # no report: the email was not sent, for what other accounts saw


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """A recipient of a sent email that a report speaks of, with its proof.

    `confidence` is between 0 and 1. `forwarded_to` is set where the report names another address, to which mail for
    the recipient was forwarded.
    """

    send: SentEmail
    recipient: Recipient
    rung: Rung
    confidence: float
    evidence: tuple[str, ...]
    forwarded_to: str | None = None


def storable(text: str) -> str:
    """Return `text` as every database takes it: without NUL and lone surrogates."""
    if text.isascii() and "\0" not in text:
        return text
    return text.replace("\0", "").encode("utf-8", "replace").decode()


UNSEEN: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters but tab and line feed: they steer terminals
    "\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069"  # what turns the direction of text, and odd line ends
    "\ufeff\U000e0000-\U000e007f]"  # byte order mark, and tags: text that only a machine reads
)


def visible(text: str) -> str:
    """Return strangers' words as they may be shown: what can't be seen is marked by U+FFFD, all else stays."""
    return UNSEEN.sub("\ufffd", text)


def utc(moment: datetime) -> datetime:
    """Return `moment` in UTC. Raises ValueError for a naive one: times are aware everywhere."""
    if moment.tzinfo is None:
        raise ValueError("a time without a zone")
    return moment.astimezone(UTC)


def address_key(address: str) -> str:
    """Return the form in which two spellings of an address are compared.

    Case folded as a whole: the local part is formally case-sensitive (RFC 5321, 2.4), but no provider treats it so.
    """
    return address.strip().strip("<>").casefold()


def bare_id(message_id: str) -> str:
    """Return a Message-ID without angle brackets and white space (RFC 5322, 3.6.4)."""
    return re.sub(r"\s+", "", message_id).strip("<>")


class Policy(StrEnum):
    """What excludes an address within its account; every entry names the policy that spoke."""

    HUBSPOT = "hubspot"  # every hard bounce excludes
    CAREFUL = "careful"  # only a hard bounce that is the address's own fault


@dataclass(frozen=True, slots=True, kw_only=True)
class SoftThreshold:
    """So many soft bounces within so long exclude an address as a hard one does. Raises `ValueError` for none."""

    bounces: int
    within: timedelta

    def __post_init__(self) -> None:
        """Refuse what would exclude everybody."""
        if self.bounces < 1 or self.within < timedelta(0):
            raise ValueError("a threshold counts at least one bounce, and no time before")


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountRules:
    """What an account has chosen: its policy, the bounce types that end a sequence, and two options that are off.

    `trusted` is the operator's word for it: only such accounts speak for others and hear of them, unless they opt out.
    """

    account: str
    policy: Policy = Policy.HUBSPOT
    unenroll_on: frozenset[BounceType] = frozenset({BounceType.HARD, BounceType.SOFT})
    soft_threshold: SoftThreshold | None = None
    mailbox_full_expires: timedelta | None = None
    trusted: bool = False
    global_opt_out: bool = False

    @property
    def takes_part(self) -> bool:
        """Whether its bounces count for other accounts, and theirs for it."""
        return self.trusted and not self.global_opt_out


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """One line of proof: what kind of thing was seen, and its words."""

    kind: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one report says of one recipient of one sent email: matched, classified, not yet attached."""

    report_id: str
    match: Match
    recipient: RecipientReport
    verdict: Verdict
    occurred_at: datetime
    evidence: tuple[Evidence, ...]


class FactKind(StrEnum):
    """What may happen in the life of a bounce."""

    REPORTED = "reported"  # a report: the email failed, or is delayed
    DELIVERED = "delivered"  # a report: it was delivered after all (RFC 3464, 2.3.3)
    WROTE = "wrote"  # the address itself wrote to us, provably and not by a machine
    TIMED_OUT = "timed_out"  # nothing more came in time
    EXPIRED = "expired"  # a full mailbox has had the time that the account gives it
    UNBOUNCED = "unbounced"  # a person says that the address may be written to
    REJECTED = "rejected"  # a person says that a report is none, or of something else
    UNDONE = "undone"  # a person takes a decision back


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One thing that happened, and when. Facts are only ever added: together they are the audit trail.

    `bounce_id` is None where it is about all bounces of the address. `about` is the report of a `REPORTED` or
    `REJECTED` one, or the fact that an `UNDONE` one takes back. `by` is the report, the person or the message.
    """

    id: str
    kind: FactKind
    account: str
    address: str
    at: datetime
    recorded_at: datetime
    by: str
    bounce_id: str | None = None
    about: str | None = None
    why: str | None = None
    bounce: "Bounce | None" = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounce:
    """One bounce per (account, send, recipient written to); `report_id` names the report that speaks for it now.

    `ended_by` is None while it stands.
    """

    id: str
    account: str
    inbox: str
    send_id: str
    message_id: str | None
    address: str
    contact_id: str | None
    verdict: Verdict
    status: str | None
    smtp_code: str | None
    diagnostic: str | None
    matched_by: Rung
    confidence: float
    forwarded_to: str | None
    policy: Policy
    evidence: tuple[Evidence, ...]
    report_id: str
    occurred_at: datetime
    recorded_at: datetime
    updated_at: datetime
    ended_by: FactKind | None = None
    ended_at: datetime | None = None

    @property
    def stands(self) -> bool:
        """Whether nothing has ended it."""
        return self.ended_by is None


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressState:
    """What an address's bounces mean within its account. `excluded_by` is None while it may be written to."""

    account: str
    address: str
    excluded_by: Policy | None = None
    excluded_at: datetime | None = None
    hard_bounce_reason: Reason | None = None


class EventType(StrEnum):
    """What the CRM is told."""

    BOUNCE_ATTACHED = "bounce.attached"
    BOUNCE_UPDATED = "bounce.updated"
    BOUNCE_HEALED = "bounce.healed"
    CONTACT_EXCLUDED = "contact.excluded"
    CONTACT_UNBOUNCED = "contact.unbounced"
    SEQUENCE_UNENROLL = "sequence.unenroll"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A row for the outbox; its id is made of what happened, so that the same thing can't be told under two ids."""

    id: str
    type: EventType
    bounce: Bounce
    enrollment_id: str | None = None
    sequence_id: str | None = None
