"""The end of a sign-in on this machine: the browser comes back to a port here, or a person pastes where it went."""

import queue
import sys
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final, Self
from urllib.parse import parse_qs, urlsplit

PAGE: Final = b"<!doctype html><title>bounce-worker</title><p>Done. You can close this page."


class Loopback:
    """Listens on a free port of this machine (RFC 8252, 7.3). `host` is the name that the browser is to use."""

    def __init__(self, host: str) -> None:
        self._answers: queue.Queue[Mapping[str, str]] = queue.Queue()
        answers = self._answers

        class Handler(BaseHTTPRequestHandler):
            timeout = 10

            def do_GET(self) -> None:
                answer = parameters(self.path)
                self.send_response(200 if "state" in answer else 404)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                self.send_header("Referrer-Policy", "no-referrer")
                self.end_headers()
                if "state" in answer:
                    self.wfile.write(PAGE)
                    answers.put(answer)

            def log_message(self, *_: object) -> None:
                """Say nothing: the address holds the code."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.redirect_uri = f"http://{host}:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True).start()
        threading.Thread(target=self._read_pasted, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, seconds: float) -> Mapping[str, str] | None:
        """Return the parameters that came back, or None where nobody came in time."""
        try:
            return self._answers.get(timeout=seconds)
        except queue.Empty:
            return None

    def _read_pasted(self) -> None:
        """Where the browser runs elsewhere, its last address can't be opened there, but it says all that is needed."""
        for line in sys.stdin:
            answer = parameters(line.strip())
            if "state" in answer:
                self._answers.put(answer)
                return


def parameters(address: str) -> dict[str, str]:
    """Return the query of an address, each name's first value."""
    return {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}
