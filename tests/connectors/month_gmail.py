"""What happens to a Gmail inbox in `Month`: labels where others have folders, and a search whose index lags behind."""

import random
from dataclasses import dataclass
from datetime import datetime

from connectors import Connector
from tests.connectors.mailboxes import GmailMailbox, gmail_connector
from tests.fakes.gmail import faults

LAG = 40 * 60
"""How far the search's index lags behind at the most, in seconds."""
LABELS = {"inbox": ["INBOX"], "spam": ["SPAM"], "archive": ["Label_none"]}


@dataclass
class GmailLife:
    """See `Life`. Time is told by what arrives."""

    mailbox: GmailMailbox
    seed: int
    prefilter: bool = False
    watched: tuple[str, ...] = ("inbox", "spam")
    token: str = "secret"
    now: float = 0.0

    def __post_init__(self) -> None:
        self._chance = random.Random(self.seed)
        self._new: dict[str, float] = {}

    @property
    def fake(self):
        return self.mailbox.fake

    def connector(self) -> Connector:
        for client in self.fake.clients:
            client.close()
        self.fake.clients.clear()
        # What came in the last minutes before a poll isn't in the index yet, or not all of it.
        late = [ref for ref, at in self._new.items() if at > self.now - LAG]
        self.fake.answers.unindexed = {ref for ref in late if self._chance.random() < 0.5}
        self._new.clear()
        connector = gmail_connector(self.fake, self.token, prefilter=self.prefilter)
        connector._clock = self._clock
        return connector

    def deliver(self, raw: bytes, folder: str, at: datetime) -> str:
        self.now = max(self.now, at.timestamp())
        ref = self.mailbox.deliver(raw, [*LABELS[folder], "UNREAD"], at)
        self._new[ref] = at.timestamp()
        return ref

    def move(self, message: str, folder: str) -> str:
        """Put another label on it: Gmail's ids stay."""
        self.mailbox.relabel(message, add=LABELS[folder], remove={"INBOX", "SPAM"} - {*LABELS[folder]})
        return message

    def delete(self, message: str) -> None:
        assert self.fake.mailbox.ask("DELETE", f"messages/{message}")[0] == 204

    def read(self, message: str) -> None:
        self.mailbox.relabel(message, remove=["UNREAD"])

    def expire(self) -> None:
        self.fake.answers.expire_history()
        self.fake.answers.expire_tokens()

    def trouble(self, kind: str | None) -> None:
        self.fake.always = None
        if kind == "busy":
            wait = str(self._chance.randrange(1, 3 * 3600))
            self.fake.always = faults.refuse(429, "rateLimitExceeded", Retry_After=wait)
        elif kind == "outage":
            outages = (faults.drop, faults.status(503), faults.text(b"<html>Sorry"), faults.refuse(500, "backendError"))
            self.fake.always = self._chance.choice(outages)
        elif kind == "hiccup":
            acts = (faults.drop, faults.cut, faults.cut_unannounced, faults.inside(429, "rateLimitExceeded"))
            self.fake.faults = {self.fake.requests + self._chance.randrange(4): self._chance.choice(acts)}

    def change_password(self) -> None:
        self.fake.tokens = {f"secret-{self._chance.random()}"}

    def reconnect(self) -> None:
        (self.token,) = self.fake.tokens

    def _clock(self) -> float:
        return self.now
