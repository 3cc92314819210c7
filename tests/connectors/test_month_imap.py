"""A month on a real IMAP server, and one in a Maildir."""

import imaplib
import itertools
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest

from connectors.imap import ImapConnector
from tests.connectors.mailboxes import ImapMailbox, MaildirMailbox
from tests.connectors.month import Month, check, check_budget
from tests.fakes.wire import Wire
from tests.live.mailstack import append_all, message_id

A_MESSAGE = 1_024  # these have short headers: see test_budget for long ones
AN_IDLE_POLL = 2_048
_validities = itertools.count(2_000_000_000)
PATIENCE = b"* BYE [THROTTLED] Request is throttled. Suggested Backoff Time: 7200000 milliseconds\r\n"


@dataclass
class LivelyImap(ImapMailbox):
    """An inbox on Dovecot that a mail program stays connected to. What goes wrong goes wrong on the line."""

    password: str | None = None  # another one than the server's, while that has changed

    def __post_init__(self) -> None:
        super().__post_init__()
        self.wire = Wire()
        self._sign_in()

    def _sign_in(self) -> None:
        self._program = imaplib.IMAP4("127.0.0.1", self.stack.ports.imap, timeout=20)
        self._program.login(self.address, self.stack.password)

    def connector(self, password: str | None = None, **changes) -> ImapConnector:
        return super().connector(password or self.password, **changes)

    def deliver_all(self, messages, folder="INBOX", at=None) -> None:
        append_all(self._program, messages, folder, imaplib.Time2Internaldate(at))

    def move(self, raw: bytes, source: str, target: str) -> None:
        self._take(raw, source, target)

    def remove(self, raw: bytes) -> None:
        self._take(raw, "INBOX", None)

    def _take(self, raw: bytes, source: str, target: str | None) -> None:
        self._program.select(source)
        (found,) = self._program.uid("SEARCH", "HEADER", "Message-ID", f'"{message_id(raw)}"')[1]
        uid = found.decode().split()[0]
        if target:
            assert self._program.uid("COPY", uid, target)[0] == "OK"
        self._program.uid("STORE", uid, "+FLAGS", "(\\Deleted)")
        self._program.close()

    def troubles(self) -> Mapping[str, Callable[[Random], None]]:
        return {"outage": self._outage, "cut": self._cut, "throttled": self._throttle, "password": self._new_password}

    def _outage(self, chance: Random) -> None:
        def refuse() -> None:
            raise ConnectionRefusedError(111, "Connection refused")

        self.wire.refuse = refuse

    def _cut(self, chance: Random) -> None:
        self.wire.cut_at, self.wire.keep = chance.randint(1, 9), chance.choice((0, 30, 3_000))

    def _throttle(self, chance: Random) -> None:
        self.wire.farewell = PATIENCE

    def _new_password(self, chance: Random) -> None:
        self.password = "the one before"

    def mend(self) -> None:
        self.wire.refuse = self.wire.farewell = self.wire.cut_at = self.password = None

    def renumber(self) -> None:
        self._program.logout()
        self.stack.set_uid_validity(next(_validities), user=self.address)
        self._sign_in()

    def close(self) -> None:
        self._program.logout()
        super().close()


@dataclass
class LivelyMaildir(MaildirMailbox):
    """A Maildir on a disk that is away at times."""

    wire: Wire | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        (self.path("Archive") / "new").mkdir(parents=True)
        self._away = self.root.with_name("away")

    def deliver_all(self, messages, folder="INBOX", at=None) -> None:
        with self._mounted():
            super().deliver_all(messages, folder, at)

    def move(self, raw: bytes, source: str, target: str) -> None:
        with self._mounted():
            path = self._find(raw, source)
            path.rename(self.path(target) / "new" / path.name)

    def remove(self, raw: bytes) -> None:
        with self._mounted():
            self._find(raw, "INBOX").unlink()

    def _find(self, raw: bytes, folder: str) -> Path:
        paths = self.path(folder).glob(f"new/*,S={len(raw)}")
        return next(path for path in paths if path.read_bytes() == raw)

    @contextmanager
    def _mounted(self) -> Iterator[None]:
        """Put the disk back for as long as something happens on it."""
        if away := self._away.exists():
            self._away.rename(self.root)
        yield
        if away:
            self.root.rename(self._away)

    def troubles(self) -> Mapping[str, Callable[[Random], None]]:
        return {"away": self._unmount}

    def _unmount(self, chance: Random) -> None:
        self.root.rename(self._away)

    def mend(self) -> None:
        if self._away.exists():
            self._away.rename(self.root)

    def renumber(self) -> None:
        with self._mounted():
            for path in self.root.glob("new/*"):
                path.chmod(0o600)  # its change time, as after a copy


@pytest.mark.parametrize("seed", [1])
def test_a_month_on_an_imap_server(mail_stack, seed):
    with closing(LivelyImap(mail_stack)) as mailbox:
        month = Month(mailbox, seed)
        reader = month.live()
        check(month, reader)
        check_budget(reader, A_MESSAGE, AN_IDLE_POLL)
        assert {"Unavailable", "Throttled", "AuthRequired", "CursorExpired"} <= set(reader.errors)


@pytest.mark.parametrize("seed", [1])
def test_a_month_in_a_maildir(tmp_path, seed):
    month = Month(LivelyMaildir(tmp_path / "Maildir"), seed)
    reader = month.live()
    check(month, reader)
    assert {"Misconfigured", "CursorExpired"} <= set(reader.errors)
