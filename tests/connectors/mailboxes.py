"""Mailboxes under test: what the contract suite needs to do to a mailbox from outside."""

import base64
import imaplib
import itertools
import json
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.header import decode_header, make_header
from pathlib import Path
from typing import Protocol

from connectors import (
    Connector,
    Cursor,
    Dial,
    Envelope,
    ExchangeSettings,
    GmailSettings,
    ImapSettings,
    MaildirSettings,
    Office365Settings,
    Security,
    SignIn,
    dial,
)
from connectors.exchange import ExchangeConnector
from connectors.gmail import GmailConnector
from connectors.imap import ImapConnector
from connectors.maildir import MaildirConnector
from connectors.office365 import Office365Connector
from tests.fakes.ews.server import FakeExchange
from tests.fakes.gmail.server import FakeGmail
from tests.fakes.graph.server import FakeGraph
from tests.fakes.imap import FakeImap
from tests.fakes.wire import Wire
from tests.live.mailstack import MailStack, message_id
from tests.live.weak import PASSWORD as WEAK_PASSWORD
from tests.live.weak import USER, sign_in

LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
_numbers = itertools.count(1)


class Mailbox(Protocol):
    """An empty mailbox with the folders INBOX, Junk and Sent, that people and mail servers do things to."""

    def connector(self) -> Connector: ...

    def deliver_all(self, messages: Iterable[bytes], folder: str = "INBOX", at: datetime | None = None) -> None: ...

    def remove(self, raw: bytes) -> None:
        """Delete a message of the INBOX."""

    def is_untouched(self) -> bool:
        """Tell whether every message of the INBOX is still as new as when it was delivered."""


@dataclass(frozen=True)
class Password:
    """A `CredentialStore` that holds one password."""

    secret: str

    def load(self) -> tuple[str, int]:
        return self.secret, 1

    def save(self, secret: str, expected_version: int) -> int:
        raise AssertionError("no connector replaces a password")


@dataclass
class ImapMailbox:
    """An inbox on the tests' Dovecot. With a `wire` its connectors go over that, and without TLS."""

    stack: MailStack
    address: str = ""
    wire: Wire | None = None
    _connectors: list[Connector] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.address = self.address or self.stack.fresh_inbox()

    def settings(self, **changes) -> ImapSettings:
        where: dict = {"host": "localhost", "port": self.stack.ports.imaps, "ca_file": self.stack.ca_file}
        if self.wire:
            where = {"host": "127.0.0.1", "port": self.stack.ports.imap, "security": Security.NONE}
        return ImapSettings(**where | {"username": self.address, "read_timeout": 20.0} | changes)

    def connector(self, password: str | None = None, **changes) -> ImapConnector:
        secret = Password(password or self.stack.password)
        connector = ImapConnector(self.settings(**changes), secret, self.wire or dial)
        self._connectors.append(connector)
        return connector

    def deliver_all(self, messages, folder="INBOX", at=None) -> None:
        self.stack.deliver_all(messages, folder, self.address, at)

    def remove(self, raw: bytes) -> None:
        self.stack.remove(raw, user=self.address)

    def is_untouched(self) -> bool:
        return not any(self.stack.flags(user=self.address))

    def expire_cursor(self) -> None:
        self.stack.set_uid_validity(424242, user=self.address)

    def close(self) -> None:
        for connector in self._connectors:
            connector.close()


@dataclass
class WeakMailbox:
    """The only mailbox of the weak server, emptied: its UIDs go on, and its folders are new but for the INBOX."""

    port: int
    _connectors: list[Connector] = field(default_factory=list)

    def __post_init__(self) -> None:
        with sign_in(self.port) as imap:
            for folder in ("Junk", "Sent"):
                imap.delete(folder)
                imap.create(folder)
            imap.select("INBOX")
            imap.store("1:*", "+FLAGS", "(\\Deleted)")
            imap.expunge()

    def connector(self, **changes) -> ImapConnector:
        where = {"host": "127.0.0.1", "port": self.port, "security": Security.NONE, "username": USER}
        connector = ImapConnector(ImapSettings(**where | {"read_timeout": 20.0} | changes), Password(WEAK_PASSWORD))
        self._connectors.append(connector)
        return connector

    def deliver_all(self, messages, folder="INBOX", at=None) -> None:
        date = imaplib.Time2Internaldate((at or datetime.now(UTC)).astimezone())
        with sign_in(self.port) as imap:
            for raw in messages:
                answer, words = imap.append(folder, None, date, raw)
                assert answer == "OK", words

    def remove(self, raw: bytes) -> None:
        with sign_in(self.port) as imap:
            imap.select("INBOX")
            _, (found,) = imap.search(None, "HEADER", "Message-ID", message_id(raw))
            imap.store(found.decode(), "+FLAGS", "(\\Deleted)")
            imap.expunge()

    def is_untouched(self) -> bool:
        with sign_in(self.port) as imap:
            imap.select("INBOX", readonly=True)
            return imap.search(None, "SEEN") == ("OK", [b""])

    def close(self) -> None:
        for connector in self._connectors:
            connector.close()


@dataclass
class MaildirMailbox:
    root: Path

    def __post_init__(self) -> None:
        for folder in ("INBOX", "Junk", "Sent"):
            for sub in ("tmp", "new", "cur"):
                (self.path(folder) / sub).mkdir(parents=True)

    def path(self, folder: str = "INBOX") -> Path:
        return self.root if folder == "INBOX" else self.root / f".{folder}"

    def connector(self, **changes) -> MaildirConnector:
        return MaildirConnector(MaildirSettings(path=str(self.root), **changes))

    def deliver_all(self, messages, folder="INBOX", at=None) -> None:
        for raw in messages:
            name = f"{next(_numbers)}.M1P1.host,S={len(raw)}"
            (self.path(folder) / "tmp" / name).write_bytes(raw)
            if at:
                os.utime(self.path(folder) / "tmp" / name, (at.timestamp(), at.timestamp()))
            (self.path(folder) / "tmp" / name).rename(self.path(folder) / "new" / name)

    def remove(self, raw: bytes) -> None:
        next(path for path in self.root.glob("new/*") if path.read_bytes() == raw).unlink()

    def is_untouched(self) -> bool:
        return not list(self.root.glob("cur/*")) and not list(self.root.glob("tmp/*"))

    def close(self) -> None:
        pass


@dataclass
class ExchangeMailbox:
    """The first mailbox of a fake Exchange server."""

    fake: FakeExchange
    wire: Dial = dial

    def connector(self, password: str = "secret", **changes) -> ExchangeConnector:
        return exchange_connector(self.fake, password, self.wire, **changes)

    def deliver_all(self, messages, folder="INBOX", at=None) -> None:
        for raw in messages:
            self.fake.store.deliver(raw, {"INBOX": "inbox", "Junk": "junkemail", "Sent": "sentitems"}[folder], at)

    def remove(self, raw: bytes) -> None:
        store = self.fake.store
        store.delete(next(each for each in store.folder("inbox").items.values() if each.raw == raw))

    def is_untouched(self) -> bool:
        reading = {"GetFolder", "FindFolder", "SyncFolderItems", "FindItem", "GetItem"}
        return reading.issuperset(self.fake.operations())


@dataclass
class GmailMailbox:
    """A mailbox of emulate behind the fake Gmail API."""

    fake: FakeGmail
    wire: Dial = dial
    prefilter: bool = False

    def connector(self, token: str = "secret", **changes) -> GmailConnector:
        return gmail_connector(self.fake, token, self.wire, **{"prefilter": self.prefilter} | changes)

    def deliver_all(self, messages, folder="INBOX", at=None) -> None:
        labels = {"INBOX": ["INBOX", "UNREAD"], "Junk": ["SPAM", "UNREAD"], "Sent": ["SENT"]}[folder]
        for raw in messages:
            self.deliver(raw, labels, at)

    def deliver(self, raw: bytes, labels: Iterable[str], at: datetime | None = None) -> str:
        """Put a message there and return its id."""
        # Of two that come without a date, the second is younger: emulate counts in milliseconds, and is fast.
        self._last = max(round((at.timestamp() if at else time.time()) * 1000), 0 if at else self._last + 1)
        fields = {"raw": base64.urlsafe_b64encode(raw).decode(), "labelIds": [*labels]}
        status, answer = self.fake.mailbox.ask("POST", "messages", fields | {"internalDate": f"{self._last:013d}"})
        assert status == 200, answer
        return answer["id"]

    def expire_cursor(self) -> None:
        self.fake.answers.expire_history()

    def take_units(self) -> int:
        """Return the quota units that were used since last time."""
        units, self.fake.units = self.fake.units, 0
        return units

    def ref(self, raw: bytes) -> str:
        """Return the id of a message that is still there."""
        answers = self.fake.answers
        return next(ref for ref in answers._found("", "true") if (found := answers.stored(ref)) and found.raw == raw)

    def remove(self, raw: bytes) -> None:
        status, _ = self.fake.mailbox.ask("DELETE", f"messages/{self.ref(raw)}")
        assert status == 204

    def relabel(self, ref: str, add: Iterable[str] = (), remove: Iterable[str] = ()) -> None:
        fields = {"addLabelIds": [*add], "removeLabelIds": [*remove]}
        status, answer = self.fake.mailbox.ask("POST", f"messages/{ref}/modify", fields)
        assert status == 200, answer

    def is_untouched(self) -> bool:
        _, answer = self.fake.mailbox.get("labels/INBOX")
        reading = {"getProfile", "history.list", "messages.list", "messages.get", "labels.list", "labels.get"}
        return answer["messagesUnread"] == answer["messagesTotal"] and reading.issuperset(self.fake.names())

    def __post_init__(self) -> None:
        self._last = 0


def gmail_connector(fake: FakeGmail, token: str = "secret", dial=dial, **changes) -> GmailConnector:
    """Return a connector to a fake Gmail, which closes it at its own end. Its quota is large unless a test says so."""
    where = {"api": fake.url, "address": fake.mailbox.address, "read_timeout": 5.0, "units_per_minute": 1_000_000}
    grant = json.dumps({"type": "bearer", "access_token": token})
    connector = GmailConnector(GmailSettings(**where | changes), Password(grant), dial)
    fake.clients.append(connector)
    return connector


def exchange_connector(fake: FakeExchange, password: str = "secret", dial=dial, **changes) -> ExchangeConnector:
    """Return a connector to a fake Exchange server, which closes it at its own end."""
    where = {"endpoint": fake.endpoint, "address": fake.store.address, "sign_in": SignIn.BASIC}
    settings = ExchangeSettings(**where | {"username": "alice", "read_timeout": 5.0} | changes)
    connector = ExchangeConnector(settings, Password(password), dial)
    fake.clients.append(connector)
    return connector


@dataclass
class Office365Mailbox:
    """The mailbox of a fake Microsoft Graph."""

    fake: FakeGraph
    wire: Dial = dial

    def connector(self, token: str = "token-1", **changes) -> Office365Connector:
        return office365_connector(self.fake, token, self.wire, **changes)

    def deliver_all(self, messages, folder="INBOX", at=None) -> None:
        for raw in messages:
            self.fake.store.deliver(raw, {"INBOX": "inbox", "Junk": "junkemail", "Sent": "sentitems"}[folder], at)

    def remove(self, raw: bytes) -> None:
        store = self.fake.store
        store.delete(next(each for each in store.folder("inbox").items.values() if each.raw == raw))

    def expire_cursor(self) -> None:
        self.fake.store.expire()

    def is_untouched(self) -> bool:
        return not any(each.is_read for each in self.fake.store.folder("inbox").items.values())


def office365_connector(fake: FakeGraph, token: str = "token-1", dial=dial, **changes) -> Office365Connector:
    """Return a connector to a fake Microsoft Graph, which closes it at its own end."""
    where = {"api": fake.api, "address": fake.store.address, "read_timeout": 5.0}
    connector = Office365Connector(Office365Settings(**where | changes), Password(bearer(token)), dial)
    fake.clients.append(connector)
    return connector


def bearer(token: str) -> str:
    """Return a grant that somebody else renews."""
    return json.dumps({"type": "bearer", "access_token": token})


def size_of(mailbox: Mailbox, raw: bytes) -> int | None:
    """Return the size that an envelope gives for a message; Graph tells none."""
    return None if isinstance(mailbox, Office365Mailbox) else len(raw)


def fake_connector(fake: FakeImap, password: str = "secret", **changes) -> ImapConnector:
    """Return a connector to a fake server; the test closes it before the server ends."""
    where = {"host": "127.0.0.1", "port": fake.port, "security": Security.NONE}
    settings = ImapSettings(**where | {"username": "alice", "read_timeout": 5.0} | changes)
    return ImapConnector(settings, Password(password))


def message(subject: str = "Hello", body: bytes = b"Hello\r\n", **headers: str) -> bytes:
    """Return a message with a Message-ID of its own and CRLF line ends, as mail has them on its way."""
    fields = {"From": "Bob <bob@customer.test>", "To": "alice@sender.test", "Subject": subject}
    fields |= {name.replace("_", "-"): value for name, value in headers.items()}
    fields["Message-ID"] = f"<{next(_numbers)}@customer.test>"
    return b"".join(f"{name}: {value}\r\n".encode() for name, value in fields.items()) + b"\r\n" + body


def messages(count: int) -> list[bytes]:
    return [message(f"Number {number}") for number in range(count)]


def pages(connector: Connector, since: Cursor | datetime) -> Iterator[tuple[tuple[Envelope, ...], Cursor]]:
    """Poll until nothing is left; fail where that never ends."""
    for _ in range(100):
        page = connector.poll(since)
        yield page.envelopes, page.cursor
        if not page.has_more:
            return
        since = page.cursor
    raise AssertionError("has_more never ended")


def read_all(connector: Connector, since: Cursor | datetime) -> tuple[list[Envelope], Cursor]:
    found = list(pages(connector, since))
    return [envelope for envelopes, _ in found for envelope in envelopes], found[-1][1]


def ids(envelopes: Iterable[Envelope]) -> list[str]:
    """Return the Message-IDs of envelopes, each as often as it came, in an order that says nothing."""
    return sorted(envelope.headers["message-id"] for envelope in envelopes)


def ids_of(*raws: bytes) -> list[str]:
    return sorted(message_id(raw) for raw in raws)


def decoded(value: str) -> str:
    """Return a header value without RFC 2047: Exchange keeps none."""
    return str(make_header(decode_header(value)))


def ago(**span: float) -> datetime:
    return datetime.now(UTC) - timedelta(**span)
