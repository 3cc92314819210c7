"""A webhook's receiver on loopback, as a CRM has one: it verifies by the library, and misbehaves as it is told."""

import ssl
import threading
from collections.abc import Callable, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Self

from worker.client import Event, InvalidEvent, verify


class Receiver:
    """Answers each call by `behave`, which is given its number (from 1): a status, or what breaks it off.

    `events` are the verified ones that it took (answered with 2xx), in order; `calls` counts all; `forged` those that
    could not be verified.
    """

    def __init__(self, behave: Callable[[int], int | str] = lambda _: 204, tls: Path | None = None) -> None:
        self.behave = behave
        self.secrets: Sequence[str] = ()
        self.events: list[Event] = []
        self.heads: list[Mapping[str, str]] = []
        self.bodies: list[bytes] = []
        self.forged = 0
        self.calls = 0
        self.came = threading.Condition()
        self.let_go = threading.Event()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self.send_error(405)

            def do_POST(self) -> None:
                receiver._take(self)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        if tls is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(tls / "cert.pem", tls / "key.pem")
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        host = "localhost" if tls else "127.0.0.1"
        self.port: int = self._server.server_address[1]
        self.url = f"{'https' if tls else 'http'}://{host}:{self.port}/bounces"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.let_go.set()
        self._server.shutdown()
        self._server.server_close()

    def _take(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers["Content-Length"]))
        with self.came:
            self.calls += 1
            answer = self.behave(self.calls)
        try:
            event = verify(self.secrets, dict(request.headers), body)
        except InvalidEvent:
            self.forged += 1
            answer = 400
        if answer == "hang":
            self.let_go.wait(60)
        if isinstance(answer, str):
            request.close_connection = True
            return
        with self.came:
            if 200 <= answer < 300:
                self.events.append(event)
                self.heads.append(dict(request.headers))
                self.bodies.append(body)
            self.came.notify_all()
        request.send_response(answer)
        if answer in (301, 302, 307, 308):
            request.send_header("Location", self.url)
        request.send_header("Content-Length", "0")
        request.end_headers()
