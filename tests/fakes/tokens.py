"""A fake sign-in service (RFC 6749) on loopback over TLS: Google's and Microsoft's token endpoints.

Where a person would be asked, a test says what they answered. A form without grant_type asks for a device code.
"""

import json
import ssl
import subprocess
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

Reply = tuple[int, dict[str, str], bytes]


def ok(**fields: Any) -> Reply:
    return 200, {}, json.dumps({"token_type": "Bearer", **fields}).encode()


def refused(error: str, description: str = "", status: int = 400) -> Reply:
    return status, {}, json.dumps({"error": error, "error_description": description}).encode()


class FakeTokens:
    """Answers token requests by `reply`, which is given the form; `forms` is what was asked."""

    def __init__(self, folder: Path, reply: Callable[[dict[str, str]], Reply]) -> None:
        self.reply = reply
        self.forms: list[dict[str, str]] = []
        self.ca_file = str(folder / "token-cert.pem")
        key = folder / "token-key.pem"
        subprocess.run(
            [
                *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
                *("-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"),
                *("-keyout", str(key), "-out", self.ca_file),
            ],
            check=True,
            capture_output=True,
        )
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                tenant = urlsplit(self.path).path.split("/")[1]
                base = f"{fake.url}/{tenant}"
                metadata = {
                    "issuer": f"{base}/v2.0",
                    "authorization_endpoint": f"{base}/authorize",
                    "token_endpoint": f"{base}/token",
                    "device_authorization_endpoint": f"{base}/devicecode",
                }
                self._answer((200, {}, json.dumps(metadata).encode()))

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                form = {name: values[0] for name, values in parse_qs(body).items()}
                fake.forms.append(form)
                self._answer(fake.reply(form))

            def _answer(self, reply: Reply) -> None:
                status, headers, body = reply
                self.send_response(status)
                usual = {"Content-Type": "application/json", "Content-Length": str(len(body))}
                for name, value in (usual | headers).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.ca_file, key)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.url = f"https://localhost:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join(5)
        self._server.server_close()

    def google(self, **more: Any) -> dict[str, Any]:
        """Return a grant like Google's file, whose tokens come from here."""
        return {
            "type": "authorized_user",
            "client_id": "id",
            "client_secret": "client-s3cret",
            "refresh_token": "refresh-1",
            "token_uri": f"{self.url}/token",
        } | more

    def microsoft(self, **more: Any) -> dict[str, Any]:
        """Return a Microsoft grant, whose tokens come from here."""
        return {
            "type": "microsoft",
            "tenant": "acme.example",
            "client_id": "id",
            "client_secret": "client-s3cret",
            "refresh_token": "refresh-1",
            "authority": self.url,
        } | more
