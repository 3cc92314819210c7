"""A fake Microsoft Graph on loopback: one mailbox over HTTP, with faults where a test wants them."""

import gzip
import re
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self
from urllib.parse import urlsplit

from connectors import Connector
from tests.fakes.graph import answers
from tests.fakes.graph.store import Store
from tests.fakes.graph.subscriptions import Subscriptions

WORTH_PACKING = 1024
"""From how many bytes on an answer is packed for a client that takes gzip."""


@dataclass
class Asked:
    """A request under way: a fault may answer it in its own manner, by `raw` bytes or by `reply`."""

    handler: "_Handler"
    request: answers.Request
    over: threading.Event

    def reply(self, reply: answers.Reply) -> None:
        self.handler.reply(reply)

    def true_answer(self) -> answers.Reply:
        return answers.answer(self.handler.fake.store, self.request)

    def raw(self, data: bytes) -> None:
        self.handler.wfile.write(data)
        self.handler.close_connection = True

    def drop(self) -> None:
        self.handler.close_connection = True
        with suppress(OSError):
            self.handler.connection.shutdown(socket.SHUT_RDWR)


Fault = Callable[[Asked], None]


@dataclass
class FakeGraph:
    """Listens from `with` to its end. `tokens` are the access tokens it takes; `targets` is what was asked.

    A request that no documentation allows is answered as Graph would, and fails the test at the end as well; so does
    one that forgets to ask for immutable ids.
    """

    store: Store = field(default_factory=Store)
    tokens: set[str] = field(default_factory=lambda: {"token-1"})
    faults: dict[int, Fault] = field(default_factory=dict)
    always: Fault | None = None
    is_strict: bool = True
    targets: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    clients: list[Connector] = field(default_factory=list)
    requests: int = 0
    connections: int = 0
    subscriptions: Subscriptions = field(default_factory=Subscriptions)

    def __enter__(self) -> Self:
        self.over = threading.Event()
        self._open: list[socket.socket] = []
        self._at_once = threading.Semaphore(1)
        fake = self

        class Handler(_Handler):
            pass

        Handler.fake = fake

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            block_on_close = False
            request_queue_size = 50

            def get_request(self):
                connection, address = super().get_request()
                fake.connections += 1
                fake._open.append(connection)
                return connection, address

            def handle_error(self, request, client_address):
                error = sys.exc_info()[1]
                # A client that went away is what many tests are about.
                if not isinstance(error, OSError) and not fake.over.is_set():
                    fake.problems.append(repr(error))

        self._server = Server(("127.0.0.1", 0), Handler)
        self.api = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for client in self.clients:
            client.close()
        self.over.set()
        self._server.shutdown()
        self._server.server_close()
        for connection in self._open:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()
        self._thread.join(5)
        assert self.problems == [], self.problems

    def clear(self) -> None:
        self.targets.clear()
        self.requests = self.connections = 0

    def asked(self) -> list[str]:
        """Return what was asked for, by the last parts of the paths."""
        return [urlsplit(each).path.partition("/users")[2].partition("/")[2] for each in self.targets]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    fake: FakeGraph

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        fake = self.fake
        index, fake.requests = fake.requests, fake.requests + 1
        fake.targets.append(self.path)
        prefer = ", ".join(self.headers.get_all("Prefer") or [])
        size = re.search(r"odata\.maxpagesize=(\d+)", prefer)
        immutable = 'IdType="ImmutableId"' in prefer
        base = f"http://{self.headers['Host']}"
        request = answers.Request(self.path, base, immutable, int(size[1]) if size else None)
        if fake.is_strict and not immutable:
            fake.problems.append(f"no immutable ids asked for: {self.path}")
        if act := fake.faults.get(index) or fake.always:
            act(Asked(self, request, fake.over))
            return
        if self.headers.get("Authorization", "").removeprefix("Bearer ") not in fake.tokens:
            self.reply(
                answers.error(401, "InvalidAuthenticationToken", "Access token has expired or is not yet valid.")
            )
            return
        if not fake._at_once.acquire(blocking=False):
            fake.problems.append("two requests at once")
        try:
            reply = answers.answer(fake.store, request)
        finally:
            fake._at_once.release()
        if fake.is_strict and reply[0] == 400 and b"ErrorInvalidIdMalformed" not in reply[2]:
            fake.problems.append(f"{self.path}: {reply[2]!r}")
        self.reply(reply)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if not self.path.startswith("/v1.0/subscriptions"):
            self._not_ours()
            return
        fake = self.fake
        index, fake.requests = fake.requests, fake.requests + 1
        fake.targets.append(f"{self.command} {self.path}")
        if act := fake.faults.get(index) or fake.always:
            act(Asked(self, answers.Request(self.path, "", immutable=True, page_size=None), fake.over))
        elif self.headers.get("Authorization", "").removeprefix("Bearer ") not in fake.tokens:
            self.reply(answers.error(401, "InvalidAuthenticationToken"))
        else:
            self.reply(fake.subscriptions.answer(self.command, self.path, body))

    do_PATCH = do_PUT = do_DELETE = do_POST  # noqa: N815 - http.server's names

    def _not_ours(self) -> None:
        self.fake.problems.append(f"{self.command} {self.path}: reading changes nothing")
        self.close_connection = True
        self.reply(answers.error(405, "Request_BadRequest"))

    def reply(self, reply: answers.Reply) -> None:
        status, headers, body = reply
        headers = {"Content-Type": "application/json"} | headers
        if len(body) >= WORTH_PACKING and "gzip" in self.headers.get("Accept-Encoding", ""):
            body, headers = gzip.compress(body, 6), headers | {"Content-Encoding": "gzip"}
        if status == 401:
            headers["WWW-Authenticate"] = 'Bearer realm="", authorization_uri="https://login.microsoftonline.com"'
        lines = [
            f"HTTP/1.1 {status} Whatever",
            *(f"{name.replace('_', '-')}: {each}" for name, each in headers.items()),
        ]
        self.wfile.write("\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body)
        self.wfile.flush()
