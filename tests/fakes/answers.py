"""A server on loopback that answers as it is told, and remembers what it was asked."""

import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self


@dataclass(frozen=True)
class Answer:
    """A status with a body (JSON, or text as it is); `cut` breaks the connection off instead."""

    status: int = 200
    body: object = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: bool = False


CUT = Answer(cut=True)


class Answers:
    """Gives one answer after the other, and the last for ever; `asked` are (method and path, headers, body)."""

    def __init__(self, *answers: Answer) -> None:
        self._answers: Sequence[Answer] = answers
        self.asked: list[tuple[str, Mapping[str, str], bytes]] = []
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                fake._answer(self)

            def do_POST(self) -> None:
                fake._answer(self)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers["Content-Length"] or 0))
        answer = self._answers[min(len(self.asked), len(self._answers) - 1)]
        self.asked.append((f"{request.command} {request.path}", dict(request.headers), body))
        if answer.cut:
            request.close_connection = True
            return
        text = answer.body if isinstance(answer.body, str) else json.dumps(answer.body)
        request.send_response(answer.status)
        for name, value in {**answer.headers, "Content-Length": str(len(text.encode()))}.items():
            request.send_header(name, value)
        request.end_headers()
        request.wfile.write(text.encode())
