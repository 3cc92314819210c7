"""A weak IMAP server on loopback: pymap, in Python and in memory. It marks no folder and has few extensions."""

import imaplib
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.live.processes import free_ports, listens, public_folder, remove, start, stop, until

USER = "alice"
PASSWORD = "secret"
_COMMAND = "from pymap.main import main; main()"


@contextmanager
def weak_server() -> Iterator[int]:
    """Run the server, with one mailbox, and give its port."""
    (port,) = free_ports(1)
    folder = public_folder("pymap")
    options = ["--host", "127.0.0.1", "--port", str(port), "--no-tls"]
    user = ["--demo-user", USER, "--demo-password", PASSWORD]
    server = start([Path(sys.executable), "-c", _COMMAND, *options, "dict", *user], folder / "out")
    try:
        until(lambda: listens(port), "pymap to listen")
        yield port
    finally:
        stop(server)
        remove(folder)


def sign_in(port: int) -> imaplib.IMAP4:
    """Return a connection of the tests' own."""
    connection = imaplib.IMAP4("127.0.0.1", port, timeout=20)
    connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # a literal is two writes
    connection.login(USER, PASSWORD)
    return connection
