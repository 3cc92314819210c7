"""What can happen to a mailbox of Microsoft 365 within a month; see month_exchange for the month itself."""

import random
from dataclasses import dataclass
from datetime import datetime, timedelta

from connectors import Connector
from tests.connectors.mailboxes import office365_connector
from tests.fakes.graph import faults
from tests.fakes.graph.server import FakeGraph
from tests.fakes.graph.store import Item


@dataclass
class Office365Life:
    """The Life (see month_exchange) of the mailbox of a fake Microsoft Graph."""

    fake: FakeGraph
    seed: int
    watched: tuple[str, ...] = ("inbox", "junkemail", "archive")
    token: str = "token-1"

    def __post_init__(self) -> None:
        self._chance = random.Random(self.seed)

    def connector(self) -> Connector:
        for client in self.fake.clients:
            client.close()
        self.fake.clients.clear()
        return office365_connector(self.fake, self.token)

    def deliver(self, raw: bytes, folder: str, at: datetime) -> Item:
        # What Exchange makes itself, and what it delivers between its own, may have no header.
        return self.fake.store.deliver(raw, folder, at, has_headers=self._chance.random() < 0.9)

    def move(self, message: Item, folder: str) -> Item:
        return self.fake.store.move(message, folder)

    def delete(self, message: Item) -> None:
        self.fake.store.delete(message)

    def read(self, message: Item) -> None:
        self.fake.store.mark_read(message)

    def expire(self) -> None:
        self.fake.store.expire()

    def trouble(self, kind: str | None) -> timedelta | None:
        fake, chance = self.fake, self._chance
        fake.always = None
        fake.store.repeats = chance.random() < 0.3
        fake.store.empty_pages = chance.choice((0, 0, 1, 3))
        if kind == "busy":
            wait = timedelta(seconds=chance.randrange(1, 3 * 3600))
            fake.always = faults.error(429, "ApplicationThrottled", Retry_After=str(wait.seconds))
            return wait
        if kind == "outage":
            fake.always = chance.choice((faults.drop, faults.error(503), faults.text(b"<html>Sorry", 502)))
        elif kind == "hiccup":
            act = chance.choice((faults.drop, faults.cut, faults.cut_unannounced, faults.error(504), faults.error(429)))
            fake.faults = {fake.requests + chance.randrange(4): act}
        return None

    def change_password(self) -> None:
        self.fake.tokens = {f"token-{self._chance.random()}"}

    def reconnect(self) -> None:
        (self.token,) = self.fake.tokens
