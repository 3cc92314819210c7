"""A throw-away Dovecot and Postfix on loopback, so that tests meet real mail and real notices.

    sender.test     mailboxes in Dovecot: alice@ is the connected inbox, `fresh_inbox()` gives more
    customer.test   bob@ accepts, full@ is over quota (552 5.2.2), away@ sends a vacation reply, refuse@ rejects by
                    Sieve (550), anybody else is unknown (550 5.1.1)
    policy.test     rejects at RCPT (554 5.7.1)         content.test  rejects after DATA (550 5.7.1)
    tiny.test       advertises a small SIZE (552 5.3.4) grey.test     450 4.7.1: a delayed warning, then expiry
    dead.test       nothing listens: a delayed warning, then expiry

Nothing outside a temporary folder is read or written, and every listener is on 127.0.0.1.
"""

import base64
import imaplib
import os
import shutil
import smtplib
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path
from string import Template
from typing import Self

import jwt

from tests.live import needs
from tests.live.processes import free_ports, listens, public_folder, remove, run, start, stop, until

ALICE = "alice@sender.test"
PASSWORD = "secret"
TOKEN_KEY = b"a key that only the tests sign with"
TEMPLATES = Path(__file__).with_name("templates")
MASTER = "/usr/lib/postfix/sbin/master"
FRESH_INBOXES = 500
LOT = 100  # messages in one APPEND
QUOTA_FULL = "userdb_quota_rule=*:bytes=1"
SIEVE = {
    "away@customer.test": 'require "vacation";\nvacation :days 1 :subject "Out of office" "I am away until Monday.";\n',
    "refuse@customer.test": 'require "reject";\nreject "I do not want mail from you";\n',
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """Where the servers listen on 127.0.0.1; nobody listens on `dead`."""

    imap: int
    imaps: int
    lmtp: int
    smtp: int
    policy: int
    content: int
    tiny: int
    grey: int
    dead: int


class MailStack:
    """The pair of servers, from `with` to its end."""

    host = "localhost"
    password = PASSWORD

    def __init__(self) -> None:
        needs.need_root("Dovecot and Postfix")
        self._dovecot = needs.binary("dovecot")
        self._doveadm = needs.binary("doveadm")
        self._postfix = needs.binary("postfix")
        self._openssl = needs.binary("openssl")
        self._cleanup = ExitStack()
        self._inboxes = iter(_fresh_addresses())
        names = Ports.__dataclass_fields__
        self.ports = Ports(**dict(zip(names, free_ports(len(names)), strict=True)))

    def __enter__(self) -> Self:
        with ExitStack() as undo:
            self.root = public_folder("mail")
            undo.callback(remove, self.root)
            self._prepare()
            self._start_dovecot(undo)
            self._start_postfix(undo)
            self._cleanup = undo.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._cleanup.close()

    @property
    def ca_file(self) -> str:
        """The certificate of both servers, for the names localhost and 127.0.0.1."""
        return str(self.root / "cert.pem")

    def fresh_inbox(self) -> str:
        """Return the address of an empty inbox that no other test uses."""
        return next(self._inboxes)

    def deliver(
        self, raw: bytes, folder: str = "INBOX", user: str = ALICE, received_at: datetime | None = None
    ) -> None:
        """Put a message into a folder, as it is and unseen. (Bare line feeds are stored as CRLF.)"""
        self.deliver_all([raw], folder, user, received_at)

    def deliver_all(
        self, messages: Iterable[bytes], folder: str = "INBOX", user: str = ALICE, received_at: datetime | None = None
    ) -> None:
        date = imaplib.Time2Internaldate((received_at or datetime.now().astimezone()).astimezone())
        with self.imap(user) as imap:
            append_all(imap, messages, folder, date)

    def remove(self, raw: bytes, folder: str = "INBOX", user: str = ALICE) -> None:
        """Delete a message by its Message-ID, as a person's mail program does."""
        self.doveadm("expunge", "-u", user, "mailbox", folder, "HEADER", "Message-ID", message_id(raw))

    def submit(self, message: EmailMessage | bytes, recipients: Sequence[str], sender: str = ALICE) -> None:
        """Send mail out through Postfix; what comes back lands in the sender's inbox."""
        raw = message if isinstance(message, bytes) else message.as_bytes(policy=SMTP)
        with smtplib.SMTP("127.0.0.1", self.ports.smtp) as smtp:
            smtp.sendmail(sender, list(recipients), raw)

    def wait_for_mail(self, count: int, user: str = ALICE, folder: str = "INBOX", limit: float = 30.0) -> None:
        """Wait until a folder holds at least `count` messages."""
        until(lambda: self.count(user, folder) >= count, f"{count} messages in {folder} of {user}", limit)

    def count(self, user: str = ALICE, folder: str = "INBOX") -> int:
        answer = self.doveadm("-f", "flow", "mailbox", "status", "-u", user, "messages", folder)
        return int(answer.rpartition(b"=")[2])

    def set_uid_validity(self, value: int, folder: str = "INBOX", user: str = ALICE) -> None:
        """Say that every UID of a folder is void, as a server does after a restore."""
        self.doveadm("mailbox", "update", "--uid-validity", str(value), "-u", user, folder)

    def set_next_uid(self, value: int, folder: str = "INBOX", user: str = ALICE) -> None:
        """Leave a gap in a folder's UIDs."""
        self.doveadm("mailbox", "update", "--min-next-uid", str(value), "-u", user, folder)

    def flags(self, folder: str = "INBOX", user: str = ALICE) -> list[str]:
        """Return every message's flags, but for \\Recent, which no client can set."""
        answer = self.doveadm("-f", "tab", "fetch", "-u", user, "flags", "mailbox", folder)
        return [line.replace("\\Recent", "").strip() for line in answer.decode().splitlines()[1:]]

    def create_folder(self, folder: str, user: str = ALICE) -> None:
        self.doveadm("mailbox", "create", "-u", user, folder)

    def delete_folder(self, folder: str, user: str = ALICE) -> None:
        self.doveadm("mailbox", "delete", "-u", user, folder)

    def kick(self, user: str = ALICE) -> None:
        """Drop a user's live connections."""
        self.doveadm("kick", user)

    def add_user(self, address: str, password: str) -> None:
        """Add an inbox with a password of its own."""
        path = self.root / "users"
        second = path.stat().st_mtime + 1
        with path.open("a") as users:
            users.write(f"{address}:{password}::::::\n")
        os.utime(path, (second, second))  # Dovecot reads the file again when its date has another second,
        until(lambda: self._knows(address), f"Dovecot to know {address}")  # and looks for that once a second

    def _knows(self, address: str) -> bool:
        try:
            self.doveadm("user", address)
        except RuntimeError:
            return False
        return True

    @staticmethod
    def token(user: str, life: float = 3600.0, key: bytes = TOKEN_KEY) -> str:
        """Return an access token (a signed JWT) that Dovecot takes for `user` for `life` seconds from now."""
        now = int(time.time())
        return jwt.encode({"email": user, "sub": user, "iat": now - 60, "exp": now + int(life)}, key, "HS256")

    def doveadm(self, *arguments: str) -> bytes:
        return run(self._doveadm, "-c", self.root / "dovecot.conf", *arguments)

    @contextmanager
    def imap(self, user: str = ALICE) -> Iterator[imaplib.IMAP4]:
        """A plain connection of the tests' own, signed in."""
        with imaplib.IMAP4("127.0.0.1", self.ports.imap, timeout=20) as connection:
            connection.login(user, PASSWORD)
            yield connection

    def _prepare(self) -> None:
        for folder in (
            "dovecot/run",
            "dovecot/state",
            "mail",
            "sieve",
            "postfix/conf",
            "postfix/queue",
            "postfix/data",
        ):
            (self.root / folder).mkdir(parents=True)
        self._make_certificate()
        addresses = [ALICE, "bob@customer.test", *SIEVE, *_fresh_addresses()]
        users = [f"{address}:{PASSWORD}::::::\n" for address in addresses]
        users.append(f"full@customer.test:{PASSWORD}::::::{QUOTA_FULL}\n")
        (self.root / "users").write_text("".join(users))
        for address, script in SIEVE.items():
            (self.root / f"sieve/{address}.sieve").write_text(script)
        key = self.root / "token-keys/default/HS256/default"
        key.parent.mkdir(parents=True)
        key.write_text(base64.b64encode(TOKEN_KEY).decode())
        for folder, owner in (("mail", "mail"), ("sieve", "mail"), ("postfix/data", "postfix")):
            shutil.chown(self.root / folder, owner)
        for name, place in (
            ("dovecot.conf", ""),
            ("oauth2.conf", ""),
            ("main.cf", "postfix/conf"),
            ("master.cf", "postfix/conf"),
        ):
            values = {field: getattr(self.ports, field) for field in Ports.__dataclass_fields__}
            text = Template((TEMPLATES / name).read_text()).substitute(values, root=self.root)
            (self.root / place / name).write_text(text)

    def _make_certificate(self) -> None:
        names = "subjectAltName=DNS:localhost,IP:127.0.0.1"
        files = ("-keyout", self.root / "key.pem", "-out", self.root / "cert.pem")
        key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30")
        run(self._openssl, "req", "-x509", *key, "-subj", "/CN=localhost", "-addext", names, *files)

    def _start_dovecot(self, undo: ExitStack) -> None:
        server = start([self._dovecot, "-F", "-c", self.root / "dovecot.conf"], self.root / "dovecot.out")
        undo.callback(stop, server)
        for port in (self.ports.imap, self.ports.imaps, self.ports.lmtp):
            until(lambda port=port: listens(port), f"Dovecot on port {port}")

    def _start_postfix(self, undo: ExitStack) -> None:
        run(self._postfix, "-c", self.root / "postfix/conf", "check")  # makes the queue's folders
        # `postfix start-fg` would put a shell between us and the server, which our signal then never reaches.
        server = start([MASTER, "-s", "-c", self.root / "postfix/conf"], self.root / "postfix.out")
        undo.callback(stop, server)
        until(lambda: listens(self.ports.smtp), f"Postfix on port {self.ports.smtp}")


def append_all(imap: imaplib.IMAP4, messages: Iterable[bytes], folder: str, date: str) -> None:
    """Append messages without waiting between them (MULTIAPPEND and LITERAL+; imaplib knows neither)."""
    raws = [imaplib.MapCRLF.sub(imaplib.CRLF, raw) for raw in messages]
    for first in range(0, len(raws), LOT):
        lot = b"".join(b" %s {%d+}\r\n%s" % (date.encode(), len(raw), raw) for raw in raws[first : first + LOT])
        tag = imap._new_tag()
        imap.tagged_commands[tag] = None
        imap.send(b"%s APPEND %s%s\r\n" % (tag, _quoted(folder).encode(), lot))
        answer, words = imap._command_complete("APPEND", tag)
        assert answer == "OK", words


def message_id(raw: bytes) -> str:
    """Return a test message's own Message-ID."""
    line = next(line for line in raw.splitlines() if line.lower().startswith(b"message-id:"))
    return line.partition(b":")[2].strip().decode()


def _fresh_addresses() -> list[str]:
    return [f"inbox{number}@sender.test" for number in range(1, FRESH_INBOXES + 1)]


def _quoted(folder: str) -> str:
    """Return a folder's name as IMAP spells it: modified UTF-7 (RFC 3501, 5.1.3) in quotes."""
    from imapclient.imap_utf7 import encode

    escaped = encode(folder).decode("ascii").replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
