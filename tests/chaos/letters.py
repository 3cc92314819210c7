"""What happens in the run's mailboxes, drawn by a seed: sends, notices that answer them, and what must come of it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from random import Random
from typing import Any, Final

from tests.fakes.notices import dsn, ordinary
from worker.attach import digest_id
from worker.identity import report_digest

INBOXES: Final = {"acme": ("alice", "bea", "carl"), "beta": ("dora", "emil", "finn")}
UNKNOWN: Final = ("failed", "5.1.1", "smtp; 550 5.1.1 User unknown")
FULL: Final = ("failed", "5.2.2", "smtp; 552 5.2.2 Mailbox full")
BUSY: Final = ("failed", "4.4.1", "smtp; 451 4.4.1 No answer from host")
LATE: Final = ("delayed", "4.4.1", "smtp; 451 4.4.1 No answer from host")
SENDERS: Final = ("failed", "5.7.23", "smtp; 550 5.7.23 The message was rejected because of SPF violation")


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """A message, and where it is put."""

    account: str
    inbox: str
    raw: bytes
    folder: str = "INBOX"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What must stand on one timeline, once."""

    account: str
    send_id: str
    address: str
    contact_id: str
    type: str
    report_ids: frozenset[str]
    ends_sequence: bool = False

    @property
    def excludes(self) -> bool:
        """Whether nobody may write to the address any more, by the policy `hubspot`."""
        return self.type == "hard"


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """A send with all that comes back; a `late` one is registered after its notices came."""

    kind: str
    send: dict[str, Any] | None
    letters: tuple[Letter, ...]
    outcomes: tuple[Outcome, ...] = ()
    late: bool = False

    @property
    def notices(self) -> int:
        return sum(letter.folder != "Sent" and b"multipart/report" in letter.raw for letter in self.letters)


@dataclass
class Author:
    """Writes stories. Times in mail are the machine's own: the run's clock is the product's."""

    chance: Random
    now: datetime = field(default_factory=lambda: datetime.now(UTC).replace(microsecond=0))
    _count: int = 0

    def stories(self, notices: int) -> Iterator[Story]:
        """Yield stories until they hold so many notices."""
        kinds = (
            (self._one, 40), (self._twice, 12), (self._two_recipients, 8), (self._copied, 12), (self._without_id, 6),
            (self._foreign, 6), (self._senders_fault, 4),
        )  # fmt: skip
        written = 0
        while written < notices:
            (write,) = self.chance.choices([kind for kind, _ in kinds], [weight for _, weight in kinds])
            story = write()
            written += story.notices
            yield story

    def _one(self) -> Story:
        said, kind = self.chance.choice(((UNKNOWN, "hard"), (FULL, "hard"), (BUSY, "soft")))
        draft = self._draft()
        return draft.story("one", [draft.notice([said])], [kind])

    def _twice(self) -> Story:
        draft = self._draft()
        delay = draft.notice([LATE], at=draft.sent_at + timedelta(minutes=1))
        failure = draft.notice([UNKNOWN], at=draft.sent_at + timedelta(minutes=2))
        return draft.story("delayed, then failed", [delay, failure], ["hard"])

    def _two_recipients(self) -> Story:
        draft = self._draft(recipients=2)
        return draft.story("two recipients", [draft.notice([UNKNOWN, BUSY])], ["hard", "soft"])

    def _copied(self) -> Story:
        draft = self._draft()
        letter = draft.notice([UNKNOWN])
        others = [name for name in INBOXES[draft.account] if name != draft.inbox]
        places = ((draft.inbox, "Junk"), (draft.inbox, "INBOX"), (self.chance.choice(others), "INBOX"))
        inbox, folder = self.chance.choice(places)
        copy = Letter(account=draft.account, inbox=inbox, raw=letter.raw, folder=folder)
        return draft.story("the same notice twice", [letter, copy], ["hard"])

    def _without_id(self) -> Story:
        draft = self._draft()
        raw = (
            f"From: {draft.inbox}@{draft.account}.example\r\nTo: {draft.people[0]}\r\n"
            f"Subject: {draft.send['subject']}\r\n"
            f"Date: {format_datetime(draft.sent_at)}\r\nMessage-ID: <{draft.message_id}>\r\n\r\nHello.\r\n"
        ).encode()
        sent = Letter(account=draft.account, inbox=draft.inbox, raw=raw, folder="Sent")
        del draft.send["message_id"]
        return draft.story("id known by the Sent folder", [sent, draft.notice([UNKNOWN])], ["hard"])

    def _foreign(self) -> Story:
        draft = self._draft()
        return Story(kind="nobody's", send=None, letters=(draft.notice([UNKNOWN]), draft.chatter()))

    def _senders_fault(self) -> Story:
        draft = self._draft()
        return draft.story("the sender's fault", [draft.notice([SENDERS])], ["hard"])

    def _draft(self, recipients: int = 1) -> "_Draft":
        self._count += 1
        account = self.chance.choice(sorted(INBOXES))
        return _Draft(self.chance, self.now, self._count, account, self.chance.choice(INBOXES[account]), recipients)


class _Draft:
    def __init__(self, chance: Random, now: datetime, number: int, account: str, inbox: str, recipients: int) -> None:
        self.account, self.inbox = account, inbox
        self._chance, self._number, self._letters = chance, number, 0
        self.sent_at = now - timedelta(minutes=5)
        self.message_id = f"send-{number}@crm.{account}.example"
        self.people = [f"p{number}-{place}@d{number % 7}.example" for place in range(recipients)]
        is_sequence = chance.random() < 0.3
        self.send: dict[str, Any] = {
            "id": f"s-{number}",
            "account": account,
            "inbox": inbox,
            "kind": "sequence" if is_sequence else "one_to_one",
            "message_id": f"<{self.message_id}>",
            "subject": f"Offer {number} of {account}",
            "sent_at": self.sent_at.isoformat(),
            "recipients": [{"address": each, "contact_id": f"c-{each}"} for each in self.people],
        } | ({"sequence_id": "q", "enrollment_id": f"e-{number}"} if is_sequence else {})

    def notice(self, said: Sequence[tuple[str, str, str]], at: datetime | None = None) -> Letter:
        self._letters += 1
        raw = dsn(
            self.message_id,
            [(address, *words) for address, words in zip(self.people, said, strict=True)],
            own_id=f"n-{self._number}-{self._letters}@mx.example",
            date=format_datetime(at or self.sent_at + timedelta(minutes=1)),
        )
        return Letter(account=self.account, inbox=self.inbox, raw=raw)

    def chatter(self) -> Letter:
        return Letter(account=self.account, inbox=self.inbox, raw=ordinary(self._number))

    def story(self, kind: str, letters: Sequence[Letter], types: Sequence[str]) -> Story:
        reports = {
            digest_id("report", self.account, report_digest(each.raw)) for each in letters if each.folder != "Sent"
        }
        outcomes = tuple(
            Outcome(
                account=self.account,
                send_id=self.send["id"],
                address=address,
                contact_id=f"c-{address}",
                type=type_,
                report_ids=frozenset(reports),
                ends_sequence="enrollment_id" in self.send,
            )
            for address, type_ in zip(self.people, types, strict=True)
        )
        mail = list(letters)
        if self._chance.random() < 0.3:
            mail.append(self.chatter())
        late = self._chance.random() < 0.3
        return Story(kind=kind, send=self.send, letters=tuple(mail), outcomes=outcomes, late=late)
