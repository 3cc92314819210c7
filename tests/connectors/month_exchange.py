"""A month in the life of an inbox: mail, people, servers and passwords in a seeded random order, and a worker.

`Month` drives any `Life`; what a provider can do to an inbox is the `Life`'s to say. The worker's side does what
worker/pipeline/poll.py does: it keeps a cursor with each page, reads a bounded window again where the cursor is lost,
waits as long as it is told, and asks a person where only a person can help.
"""

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from typing import Protocol

from connectors import AuthRequired, Connector, ConnectorError, Cursor, CursorExpired, MessageGone, Throttled
from tests.connectors.mailboxes import Password, exchange_connector
from tests.fakes.ews import faults
from tests.fakes.ews.server import FakeExchange
from tests.fakes.ews.store import Item
from worker.screen import screen

DAYS = 30
POLL_EVERY = timedelta(minutes=60)
REREAD = timedelta(days=7)
BODY = 256 * 1024


class Life(Protocol):
    """What happens to one inbox from outside. `watched` folders are read; a message that leaves them may be missed."""

    watched: tuple[str, ...]

    def connector(self) -> Connector: ...

    def deliver(self, raw: bytes, folder: str, at: datetime) -> object: ...

    def move(self, message: object, folder: str) -> object: ...

    def delete(self, message: object) -> None: ...

    def read(self, message: object) -> None: ...

    def expire(self) -> None:
        """Make the server forget all cursors."""

    def trouble(self, kind: str | None) -> timedelta | None:
        """Begin ("busy", "outage", "hiccup") or end (None) a trouble; return the time to wait that a busy one tells."""

    def change_password(self) -> None: ...

    def reconnect(self) -> None:
        """Give the worker the new password, as a person would."""


@dataclass
class Month:
    """One run. `seen` counts how often each notice was read to its bytes, before any de-duplication."""

    life: Life
    seed: int
    now: datetime = field(default_factory=lambda: datetime.now(UTC).replace(microsecond=0) - timedelta(days=DAYS))
    seen: Counter[str] = field(default_factory=Counter)
    happened: Counter[str] = field(default_factory=Counter)
    notices: dict[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._chance = random.Random(self.seed)
        self._numbers = iter(range(10**9))
        self._mail: list[object] = []
        self._since = self.now
        self._caught_up = self.now
        self._cursor: Cursor | None = None
        self._wait_until = self.now
        self._trouble_until: datetime | None = None
        self._reconnect_at: datetime | None = None
        self._between: Callable[[], None] | None = None
        self._is_stopped = False

    def run(self) -> None:
        """Live through the month, then in peace until all is read."""
        end = self.now + timedelta(days=DAYS) - timedelta(hours=6)
        while self.now < end:
            self._happen()
            self._turn()
            self.now += POLL_EVERY
        self._peace()
        for _ in range(5):
            self.now += POLL_EVERY
            self._turn()

    def _happen(self) -> None:
        """Let a few things happen between two polls."""
        for _ in range(self._chance.choice((0, 1, 2, 4, 10))):
            self._deliver(ordinary(next(self._numbers)), "ordinary")
        if self._chance.random() < 0.2:
            number = next(self._numbers)
            self.notices[f"<notice-{number}@sender.test>"] = self._deliver(notice(number), "notice")
        for chance, act in (
            (0.3, self._person_reads),
            (0.1, self._person_deletes),
            (0.1, self._person_moves),
            (0.015, self._server_forgets),
            (0.03, self._server_troubles),
            (0.008, self._password_changes),
        ):
            if self._chance.random() < chance:
                act()

    def _deliver(self, raw: bytes, kind: str) -> object:
        self.happened[kind] += 1
        at = max(self._since, self.now - timedelta(seconds=self._chance.randrange(POLL_EVERY.seconds)))
        message = self.life.deliver(raw, self._chance.choice((*self.life.watched, self.life.watched[0])), at)
        if kind == "ordinary":
            self._mail.append(message)
        return message

    def _person_reads(self) -> None:
        if self._mail:
            self.happened["read"] += 1
            self.life.read(self._chance.choice(self._mail))

    def _person_deletes(self) -> None:
        done = [each for each in self.notices if self.seen[each] and self.notices[each] is not None]
        if done and self._chance.random() < 0.3:
            gone = self._chance.choice(done)
            self.life.delete(self.notices[gone])
            self.notices[gone] = None
        elif self._mail:
            self.life.delete(self._mail.pop(self._chance.randrange(len(self._mail))))
        self.happened["deleted"] += 1

    def _person_moves(self) -> None:
        """Move a notice, seen or not, or a message to another folder that is read."""
        alive = [each for each, message in self.notices.items() if message is not None]
        folder = self._chance.choice(self.life.watched)
        if alive and self._chance.random() < 0.5:
            name = self._chance.choice(alive[-5:])
            self.notices[name] = self.life.move(self.notices[name], folder)
            self.happened["notice moved"] += 1
        elif self._mail:
            index = self._chance.randrange(len(self._mail))
            self._mail[index] = self.life.move(self._mail[index], folder)
            self.happened["moved"] += 1

    def _newest_notice_moves(self) -> None:
        name = next(each for each in reversed(self.notices) if self.notices[each] is not None)
        self.notices[name] = self.life.move(self.notices[name], self._chance.choice(self.life.watched))

    def _server_forgets(self) -> None:
        self.happened["expired"] += 1
        self.life.expire()

    def _server_troubles(self) -> None:
        kind = self._chance.choice(("busy", "outage", "hiccup", "hiccup", "unforeseen move", "unforeseen move"))
        self.happened[kind] += 1
        if kind == "unforeseen move":
            self._between = self._newest_notice_moves
            return
        self.life.trouble(kind)
        hours = 1 if kind != "outage" else self._chance.randrange(1, 20)
        self._trouble_until = self.now + timedelta(hours=hours)

    def _password_changes(self) -> None:
        self.happened["password changed"] += 1
        self.life.change_password()
        self._reconnect_at = self.now + timedelta(hours=self._chance.randrange(1, 48))

    def _peace(self) -> None:
        self.life.trouble(None)
        self.life.reconnect()
        self._trouble_until = self._reconnect_at = self._between = None
        self._is_stopped = False
        self._wait_until = self.now

    def _turn(self) -> None:
        """Poll, unless we were told to wait; note down what fails."""
        if self._trouble_until is not None and self.now >= self._trouble_until:
            self.life.trouble(None)
            self._trouble_until = None
        if self._reconnect_at is not None and self.now >= self._reconnect_at:
            self.life.reconnect()
            self._reconnect_at = None
            self._is_stopped = False
        if self._is_stopped or self.now < self._wait_until:
            self.happened["waited"] += 1
            return
        self.happened["polls"] += 1
        connector = self.life.connector()
        try:
            self._read(connector)
        except Throttled as error:
            self.happened["told to wait"] += 1
            self._wait_until = self.now + error.retry_after
        except AuthRequired:
            self.happened["asked a person"] += 1
            self._is_stopped = True
        except ConnectorError:
            self.happened["failed"] += 1
        finally:
            connector.close()

    def _read(self, connector: Connector) -> None:
        try:
            page = connector.poll(self._cursor or self._since)
        except CursorExpired:
            self.happened["read again"] += 1
            page = connector.poll(max(self._since, self._caught_up - REREAD))
        while True:
            self.happened["pages"] += 1
            self.happened["envelopes"] += len(page.envelopes)
            self.happened["pages with mail"] += bool(page.envelopes)
            waiting = [each.ref for each in page.envelopes if screen(each)]
            if self._between is not None and waiting:
                self._between()
                self._between = None
            for ref in waiting:
                self._fetch(connector, ref)
            self._cursor = page.cursor  # with what waits, in one transaction
            if not page.has_more:
                self._caught_up = self.now
                return
            page = connector.poll(page.cursor)

    def _fetch(self, connector: Connector, ref) -> None:
        self.happened["fetches"] += 1
        try:
            raw = connector.fetch(ref, BODY).raw
        except MessageGone:
            self.happened["gone"] += 1
            return
        self.seen[message_from_bytes(raw)["Message-ID"]] += 1


@dataclass
class ExchangeLife:
    fake: FakeExchange
    seed: int
    watched: tuple[str, ...] = ("inbox", "junkemail")
    password: str = "secret"

    def __post_init__(self) -> None:
        self._chance = random.Random(self.seed)

    def connector(self) -> Connector:
        for client in self.fake.clients:
            client.close()
        self.fake.clients.clear()
        connector = exchange_connector(self.fake)
        connector._session._credentials = Password(self.password)
        return connector

    def deliver(self, raw: bytes, folder: str, at: datetime) -> Item:
        return self.fake.store.deliver(raw, folder, at)

    def move(self, message: Item, folder: str) -> Item:
        return self.fake.store.move(message, folder)

    def delete(self, message: Item) -> None:
        self.fake.store.delete(message)

    def read(self, message: Item) -> None:
        self.fake.store.mark_read(message)

    def expire(self) -> None:
        self.fake.store.expire_sync_states()

    def trouble(self, kind: str | None) -> None:
        self.fake.always = None
        if kind == "busy":
            self.fake.always = faults.busy(self._chance.randrange(1, 3 * 3600) * 1000)
        elif kind == "outage":
            self.fake.always = self._chance.choice((faults.drop, faults.status(503), faults.text(b"<html>Sorry")))
        elif kind == "hiccup":
            act = self._chance.choice((faults.drop, faults.cut, faults.cut_unannounced, faults.busy(1000)))
            self.fake.faults = {self.fake.requests + self._chance.randrange(4): act}

    def change_password(self) -> None:
        self.fake.users["alice"] = f"secret {self._chance.random()}"

    def reconnect(self) -> None:
        self.password = self.fake.users["alice"]


def ordinary(number: int) -> bytes:
    """Return a message with the header of one that has come through a few gateways, and a long thread behind it."""
    references = "\r\n ".join(f"<CAF{number:06d}{each:030d}@mail.customer.test>" for each in range(8))
    received = "".join(
        f"Received: from mx{each}.gateway.test (203.0.113.{each}) by hub{each}.sender.test id {number:08x};\r\n"
        " Mon, 23 Nov 2026 00:00:00 +0000\r\n"
        for each in range(6)
    )
    return (
        f"{received}DKIM-Signature: v=1; a=rsa-sha256; d=customer.test; b={'x' * 340}\r\n"
        "Return-Path: bob.builder@customer.test\r\nFrom: Bob Builder <bob.builder@customer.test>\r\n"
        "Sender: Bob Builder <bob.builder@customer.test>\r\nTo: Alice Seller <alice@sender.test>\r\n"
        f"Subject: Re: Offer {number} for the new building in the harbour, with all drawings\r\n"
        "Date: Mon, 23 Nov 2026 00:00:00 +0000\r\n"
        f"Message-ID: <CAF{number:06d}xyz0123456789abcdefghijklmnop@mail.customer.test>\r\n"
        f"In-Reply-To: <CAF{number:06d}{7:030d}@mail.customer.test>\r\nReferences: {references}\r\n"
        'Content-Type: multipart/alternative; boundary="000000000000a1b2c3d4e5f6"\r\nPrecedence: normal\r\n'
        f"X-MS-Exchange-Generated-Message-Source: Transport\r\n\r\n{'Dear Alice, all is well. ' * 400}\r\n"
    ).encode()


def notice(number: int) -> bytes:
    """Return a delivery report of about 6 KB."""
    return (
        "Return-Path: <>\r\nFrom: Mail Delivery System <MAILER-DAEMON@sender.test>\r\nTo: alice@sender.test\r\n"
        f"Subject: Undelivered Mail Returned to Sender\r\nMessage-ID: <notice-{number}@sender.test>\r\n"
        'Content-Type: multipart/report; report-type=delivery-status; boundary="b"\r\n\r\n'
        "--b\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mail.sender.test\r\n\r\n"
        f"Final-Recipient: rfc822; gone{number}@customer.test\r\nAction: failed\r\nStatus: 5.1.1\r\n\r\n"
        f"--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: Offer\r\n\r\n{'Dear Bob. ' * 500}\r\n--b--\r\n"
    ).encode()
