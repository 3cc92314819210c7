"""One IMAP connection that waits in IDLE for the server to speak (RFC 2177)."""

import os
import socket
from collections.abc import Iterable
from contextlib import closing
from typing import Any, Final

from imapclient import IMAPClient

from connectors._imap_session import ImapSession
from connectors.base import CredentialStore
from connectors.errors import Misconfigured, Unavailable
from connectors.network import Dial, dial
from connectors.settings import ImapSettings

MAIL_CAME: Final = b"EXISTS"
"""What a server must say when mail has come (RFC 3501, 7.3.1); RECENT also follows a deletion."""


class ImapDoorbell:
    """See `Doorbell`: waits on the inbox, where nearly all notices come; what comes elsewhere is found by polling."""

    def __init__(self, settings: ImapSettings, credentials: CredentialStore, dial: Dial = dial) -> None:
        self._host = settings.host
        self._session = ImapSession(settings, credentials, dial)

    def open(self) -> None:
        with self._session.use() as client:
            if not client.has_capability("IDLE"):
                raise Misconfigured(f"{self._host} offers no IDLE: this inbox is found out about by polling only.")
            self._session.select("INBOX")
            client.idle()

    def fileno(self) -> int:
        with self._session.use() as client:
            return int(client.socket().fileno())

    def rung(self) -> bool:
        with self._session.use() as client:
            answers = client.idle_check(timeout=0)
            if not answers and _closed(client):
                raise Unavailable(f"{self._host} closed the connection; it will be opened again.")
            return _new(answers)

    def renew(self) -> bool:
        with self._session.use() as client:
            _, answers = client.idle_done()
            client.idle()
            return _new(answers)

    def close(self) -> None:
        # Without a goodbye: a server in IDLE would take it for the end of IDLE.
        self._session.close()


def _new(answers: Iterable[Any]) -> bool:
    return any(isinstance(answer, tuple) and MAIL_CAME in answer for answer in answers)


def _closed(client: IMAPClient) -> bool:
    """Tell whether the other side has hung up: imapclient takes that for silence."""
    with closing(socket.socket(fileno=os.dup(client.socket().fileno()))) as peek:
        try:
            return not peek.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
