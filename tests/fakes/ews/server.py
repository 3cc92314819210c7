"""A fake Exchange server on loopback: EWS over HTTP(S) for a few mailboxes, with faults where a test wants them."""

import base64
import socket
import ssl
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

from connectors import Connector
from tests.fakes.ews import answers, schemas
from tests.fakes.ews.store import Store

PATH = "/EWS/Exchange.asmx"


@dataclass(frozen=True)
class Exchanged:
    """One request and what was answered: sizes with HTTP headers."""

    operation: str
    request: bytes
    answer: bytes
    status: int
    sent: int
    received: int


@dataclass
class Asked:
    """A request under way: a fault may answer it in its own manner, by `raw` bytes or by `answer`."""

    handler: "_Handler"
    store: Store
    request: bytes
    operation: str
    over: threading.Event

    def answer(self, body: bytes, status: int = 200, **headers: str) -> None:
        self.handler.reply(status, body, {"Content-Type": "text/xml; charset=utf-8"} | headers)

    def true_answer(self) -> bytes:
        return answers.answer(self.store, self.request)

    def raw(self, data: bytes) -> None:
        self.handler.wfile.write(data)
        self.handler.close_connection = True

    def drop(self) -> None:
        self.handler.close_connection = True
        with suppress(OSError):
            self.handler.connection.shutdown(socket.SHUT_RDWR)


Fault = Callable[[Asked], None]


@dataclass
class FakeExchange:
    """Listens from `with` to its end. `users` maps a user name to (password, mailbox); NTLM is a gate of its own."""

    stores: list[Store] = field(default_factory=lambda: [Store()])
    users: dict[str, str] = field(default_factory=lambda: {"alice": "secret"})
    tokens: set[str] = field(default_factory=set)
    offers: tuple[str, ...] = ('Basic realm="mail"',)
    faults: dict[int, Fault] = field(default_factory=dict)
    always: Fault | None = None
    tls: ssl.SSLContext | None = None
    gate: Callable[["_Handler", str], bool] | None = None
    exchanged: list[Exchanged] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    is_validating: bool = True
    requests: int = 0
    connections: int = 0
    headers: list[dict[str, str]] = field(default_factory=list)
    clients: list[Connector] = field(default_factory=list)

    def __enter__(self) -> Self:
        self.over = threading.Event()
        self._open: list[socket.socket] = []
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
                if fake.tls is not None:
                    connection.settimeout(5)
                    connection = fake.tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
                    fake._open.append(connection)
                return connection, address

            def handle_error(self, request, client_address):
                error = sys.exc_info()[1]
                # A client that went away is what many tests are about.
                if not isinstance(error, OSError) and not fake.over.is_set():
                    fake.problems.append(repr(error))

        self._server = Server(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
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

    @property
    def endpoint(self) -> str:
        scheme, host = ("https", "localhost") if self.tls else ("http", "127.0.0.1")
        return f"{scheme}://{host}:{self.port}{PATH}"

    @property
    def store(self) -> Store:
        return self.stores[0]

    def operations(self) -> list[str]:
        return [each.operation for each in self.exchanged]

    def clear(self) -> None:
        self.exchanged.clear()
        self.headers.clear()
        self.requests = self.connections = 0

    def store_for(self, anchor: str) -> Store:
        """Return the mailbox that X-AnchorMailbox names, as a request by item ids names none itself."""
        return next((each for each in self.stores if each.address == anchor), self.stores[0])


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    fake: FakeExchange

    def log_message(self, *_: object) -> None:
        pass

    def do_POST(self) -> None:
        fake = self.fake
        request = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        self._store = fake.store_for(self.headers.get("X-AnchorMailbox", ""))
        index = fake.requests
        fake.requests += 1
        fake.headers.append(dict(self.headers))
        if index in fake.faults or fake.always:
            operation = answers.operation(request) if request else "sign-in"
            self._request, self._operation = request, operation
            (fake.faults.get(index) or fake.always)(Asked(self, self._store, request, operation, fake.over))
            return
        self._request, self._operation = request, "sign-in"
        if not self._is_signed_in():
            return
        self._operation = answers.operation(request)
        if self.path != PATH:
            self.reply(404, b"", {})
            return
        if fake.is_validating:
            fake.problems += schemas.problems(request)
        body = answers.answer(self._store, request)
        if fake.is_validating:
            fake.problems += schemas.problems(body)
        self.reply(200, body, {"Content-Type": "text/xml; charset=utf-8"})

    def reply(self, status: int, body: bytes, headers: dict[str, str] | list[tuple[str, str]]) -> None:
        pairs = list(headers.items()) if isinstance(headers, dict) else headers
        lines = [f"HTTP/1.1 {status} Whatever", *(f"{name.replace('_', '-')}: {value}" for name, value in pairs)]
        head = "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode()
        size = len(self._request) + len(self.raw_requestline) + len(bytes(str(self.headers), "utf-8"))
        exchanged = Exchanged(self._operation, self._request, body, status, size, len(head) + len(body))
        self.fake.exchanged.append(exchanged)
        self.wfile.write(head + body)
        self.wfile.flush()

    def refuse(self, offers: tuple[str, ...] | None = None) -> None:
        named = self.fake.offers if offers is None else offers
        self.reply(401, b"", [("WWW-Authenticate", each) for each in named])

    def _is_signed_in(self) -> bool:
        fake = self.fake
        given = self.headers.get("Authorization", "")
        scheme, _, value = given.partition(" ")
        if fake.gate is not None:
            return fake.gate(self, given)
        if scheme == "Basic":
            user, _, password = base64.b64decode(value).decode().partition(":")
            if fake.users.get(user) == password:
                return True
        if scheme == "Bearer" and value in fake.tokens:
            return True
        self.refuse()
        return False
