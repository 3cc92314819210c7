"""A fake Gmail API: emulate keeps the mailbox, and this server stands before it, makes it Gmail's, and breaks it.

What is emulate's: messages, their labels, dates and threads; which are deleted; the order of a listing; what `after:`,
`before:` and `in:` find, in spam and trash or not; the records of the history; labels and their counts.

What is this server's, as emulate has none of it or has it otherwise: signing in; getProfile; batches; masks of fields;
metadata from the message itself (emulate keeps ten fields) and its size; history that expires (404) and ids that fit
into 64 bits; page tokens that are opaque, may die, and stand for a place and not for a number; search by words in
braces; bodies that are compressed; quota units; and every fault. A request is checked against the discovery document
that google-api-python-client ships, and so is an answer: what is wrong with either fails the test at its end.
"""

import gzip
import json
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from email.parser import BytesParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

from connectors import Connector
from tests.fakes.gmail import schema
from tests.fakes.gmail.answers import UNITS, Answers, error
from tests.live.emulate import Mailbox

Reply = tuple[int, dict[str, Any]]
BATCH_LIMIT = 100


@dataclass(frozen=True)
class Call:
    """One call, whether it came alone or in a batch."""

    name: str
    path: dict[str, str]
    query: list[tuple[str, str]]

    @property
    def short(self) -> str:
        return self.name.removeprefix("gmail.users.")


@dataclass
class Asked:
    """A request under way: a fault may answer it in its own manner."""

    handler: "_Handler"
    fake: "FakeGmail"
    calls: list[Call]
    ids: list[str] | None = None  # of a batch's parts
    status: int = 200

    @property
    def over(self) -> threading.Event:
        """Set when the server ends."""
        return self.fake.over

    def answer(self, body: bytes, status: int = 200, kind: str = "application/json", **headers: str) -> None:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.handler.reply(status, body, {"Content-Type": kind} | named)

    def true_answer(self) -> tuple[bytes, str]:
        """Return the body that would be right, and its type."""
        replies = [self.fake.reply(each) for each in self.calls]
        self.status = replies[0][0]
        if self.ids is not None:
            return _mixed(replies, self.ids), 'multipart/mixed; boundary="batch_x"'
        return json.dumps(replies[0][1], indent=2).encode(), "application/json; charset=UTF-8"

    def raw(self, data: bytes) -> None:
        self.handler.wfile.write(data)
        self.handler.close_connection = True

    def drop(self) -> None:
        self.handler.close_connection = True
        with suppress(OSError):
            self.handler.connection.shutdown(socket.SHUT_RDWR)


Fault = Callable[[Asked], None]


@dataclass
class FakeGmail:
    """Listens from `with` to its end. `faults` are by the number of the request, `inner` by the message's id."""

    mailbox: Mailbox
    tokens: set[str] = field(default_factory=lambda: {"secret"})
    faults: dict[int, Fault] = field(default_factory=dict)
    always: Fault | None = None
    inner: dict[str, Reply] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    requests: int = 0
    connections: int = 0
    units: int = 0
    headers: list[dict[str, str]] = field(default_factory=list)
    clients: list[Connector] = field(default_factory=list)

    def show(self, mailbox: Mailbox, faults: dict[int, Fault]) -> None:
        """Begin anew with another mailbox."""
        self.mailbox, self.answers, self.faults = mailbox, Answers(mailbox), faults
        for client in self.clients:
            client.close()
        self.clients.clear()
        self.clear()

    def __enter__(self) -> Self:
        self.answers = Answers(self.mailbox)
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
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                fake.connections += 1
                fake._open.append(connection)
                return connection, address

            def handle_error(self, request, client_address):
                problem = sys.exc_info()[1]
                # A client that went away is what many tests are about.
                if not isinstance(problem, OSError) and not fake.over.is_set():
                    fake.problems.append(repr(problem))

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
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

    def names(self) -> list[str]:
        return [each.short for each in self.calls]

    def clear(self) -> None:
        self.calls.clear()
        self.headers.clear()
        self.requests = self.connections = self.units = 0

    def reply(self, call: Call) -> Reply:
        """Return the answer of one call, checked."""
        if call.path.get("id") in self.inner:
            return self.inner[call.path["id"]]
        status, answer = self.answers.call(call.name, call.path, call.query)
        if status == 200:
            self.problems += schema.answer_problems(call.name, answer)
        return status, answer

    def read(self, verb: str, target: str) -> Call | None:
        """Read a request line; None where the API has no such call."""
        place = urlsplit(target)
        found = schema.method_of(verb, place.path)
        if found is None or found[0] not in UNITS:
            return None
        query = parse_qsl(place.query, keep_blank_values=True)
        self.problems += schema.request_problems(found[0], query)
        return Call(found[0], found[1], query)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    fake: FakeGmail

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self._answer([self.fake.read("GET", self.path)])

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        if self.path == "/batch":
            self._answer(*self._parts(body))
        elif self.headers.get("X-HTTP-Method-Override") == "GET":
            self._answer([self.fake.read("GET", f"{self.path}?{body.decode()}")])
        else:
            self._answer([None])

    def _answer(self, read: list[Call | None], ids: list[str] | None = None) -> None:
        fake = self.fake
        index = fake.requests
        fake.requests += 1
        fake.headers.append(dict(self.headers))
        calls = [each for each in read if each is not None]
        fake.calls += calls
        fake.units += sum(UNITS[each.name] for each in calls)
        asked = Asked(self, fake, calls, ids)
        if index in fake.faults or fake.always:
            (fake.faults.get(index) or fake.always)(asked)
            return
        if self.headers.get("Authorization", "").removeprefix("Bearer ") not in fake.tokens:
            self.reply(*_json(*error(401, "Request had invalid authentication credentials.", "authError")))
        elif len(calls) < len(read):
            fake.problems.append(f"the API has no {self.command} {self.path}")
            self.reply(*_json(*error(404, "Not Found", "notFound")))
        else:
            body, kind = asked.true_answer()
            status = 200 if ids is not None else asked.status
            self.reply(status, body, {"Content-Type": kind})

    def _parts(self, body: bytes) -> tuple[list[Call | None], list[str]]:
        head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
        parts = BytesParser().parsebytes(head + body).get_payload()
        if len(parts) > BATCH_LIMIT:
            self.fake.problems.append(f"a batch of {len(parts)}")
        lines = [part.get_payload().split("\n", 1)[0].split(" ") for part in parts]
        return [self.fake.read(verb, target) for verb, target, _ in lines], [part["Content-ID"] for part in parts]

    def reply(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        takes = self.headers.get("Accept-Encoding", ""), self.headers.get("User-Agent", "")
        if all("gzip" in each for each in takes) and len(body) > 200:
            body, headers = gzip.compress(body, 6, mtime=0), headers | {"Content-Encoding": "gzip"}
        lines = [f"HTTP/1.1 {status} Whatever", *(f"{name}: {value}" for name, value in headers.items())]
        head = "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode()
        self.wfile.write(head + body)
        self.wfile.flush()


def _json(status: int, answer: dict[str, Any]) -> tuple[int, bytes, dict[str, str]]:
    return status, json.dumps(answer, indent=2).encode(), {"Content-Type": "application/json; charset=UTF-8"}


def _mixed(replies: list[Reply], ids: list[str]) -> bytes:
    """Print the parts of a batch's answer, in an order of their own: Google promises none."""
    parts = []
    for (status, answer), name in reversed(list(zip(replies, ids, strict=True))):
        body = json.dumps(answer, indent=2)
        parts.append(
            "--batch_x\r\nContent-Type: application/http\r\n"
            f"Content-ID: <response-{name.removeprefix('<')}\r\n\r\nHTTP/1.1 {status} Whatever\r\n"
            f"Content-Type: application/json; charset=UTF-8\r\nContent-Length: {len(body)}\r\n\r\n{body}\r\n"
        )
    return "".join([*parts, "--batch_x--\r\n"]).encode()
