"""A fake IMAP server on loopback, for what no real server can be made to do: it answers as each test scripts it."""

import re
import socket
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Self

HANG = "hang"  # never answers, and keeps the connection
DROP = "drop"  # closes the connection
DRIP = "drip"  # sends a byte now and then, for ever, and never the end of a line

Answer = str | bytes | Callable[[str], str | bytes]

MAILBOX: Mapping[str, Answer] = {
    "CAPABILITY": "* CAPABILITY IMAP4rev1\r\n{tag} OK done",
    "LOGIN": "{tag} OK welcome",
    "LIST": '* LIST () "/" INBOX\r\n{tag} OK done',
    "STATUS": "* STATUS INBOX (MESSAGES 1 UIDNEXT 8 UIDVALIDITY 1)\r\n{tag} OK done",
    "EXAMINE": "* 1 EXISTS\r\n* OK [UIDVALIDITY 1] fine\r\n{tag} OK [READ-ONLY] done",
    "UID SEARCH": "* SEARCH 7\r\n{tag} OK done",
    "UID FETCH": "{tag} OK nothing there",
    "CLOSE": "{tag} OK done",
    "LOGOUT": "* BYE see you\r\n{tag} OK done",
}
"""A mailbox whose only message, UID 7, vanishes before it can be fetched."""


class FakeImap:
    """Listens from `with` to its end. `commands` is what clients have sent; never look for a password there."""

    def __init__(self, answers: Mapping[str, Answer] | None = None, greeting: str = "* OK fake server ready") -> None:
        self._answers = MAILBOX | (answers or {})
        self._greeting = greeting
        self._over = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads: list[threading.Thread] = []
        self.port: int = self._listener.getsockname()[1]
        self.commands: list[str] = []

    def __enter__(self) -> Self:
        self._run(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(5)

    def _run(self, target: Callable[..., None], *arguments: object) -> None:
        self._threads.append(threading.Thread(target=target, args=arguments, daemon=True))
        self._threads[-1].start()

    def _accept(self) -> None:
        while not self._over.is_set():
            with suppress(OSError):
                self._run(self._serve, self._listener.accept()[0])

    def _serve(self, connection: socket.socket) -> None:
        connection.settimeout(0.05)
        with connection, suppress(ConnectionError):
            if not self._send(connection, self._greeting, "*"):
                return
            received = b""
            while not self._over.is_set():
                try:
                    received += (chunk := connection.recv(65536))
                except TimeoutError:
                    continue
                if not chunk:
                    return
                while b"\r\n" in received:
                    line, _, received = received.partition(b"\r\n")
                    if not self._answer(connection, line.decode()):
                        return

    def _answer(self, connection: socket.socket, line: str) -> bool:
        tag, _, command = line.partition(" ")
        self.commands.append(command)
        name = re.match(r"UID \w+|\w+", command)[0].upper()
        answer = self._answers.get(name, "{tag} BAD the fake has no answer")
        return self._send(connection, answer(command) if callable(answer) else answer, tag)

    def _send(self, connection: socket.socket, answer: str | bytes, tag: str) -> bool:
        """Answer, and tell whether the conversation goes on."""
        if answer == DROP:
            return False
        if answer == HANG:
            self._over.wait()
            return False
        while answer == DRIP and not self._over.is_set():
            connection.sendall(b"*")
            time.sleep(0.02)
        text = answer if isinstance(answer, bytes) else answer.encode()
        connection.sendall(text.replace(b"{tag}", tag.encode()) + b"\r\n")
        return True


def literal(content: bytes) -> bytes:
    """Return content as an IMAP literal (RFC 3501, 4.3)."""
    return b"{%d}\r\n%s" % (len(content), content)
