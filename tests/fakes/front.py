"""A front that speaks TLS before a server that doesn't: msal wants https."""

import socket
import ssl
import subprocess
import threading
from contextlib import suppress
from pathlib import Path
from typing import Self


def certificate(folder: Path) -> tuple[Path, Path]:
    """Make a certificate for localhost, and its key."""
    certificate, key = folder / "front-cert.pem", folder / "front-key.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"),
            *("-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    return certificate, key


class TlsFront:
    """Takes TLS connections on a port of its own and passes on what they say; `ca_file` is whom to trust."""

    def __init__(self, folder: Path, port: int, behind: int) -> None:
        cert, key = certificate(folder)
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.load_cert_chain(cert, key)
        self._behind = behind
        self._listening = socket.create_server(("127.0.0.1", port))
        self._open: list[socket.socket] = []
        self.ca_file = str(cert)
        self.url = f"https://localhost:{port}"

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join(5)
        for each in self._open:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        while True:
            try:
                taken, _ = self._listening.accept()
            except OSError:  # closed
                return
            threading.Thread(target=self._serve, args=(taken,), daemon=True).start()

    def _serve(self, taken: socket.socket) -> None:
        with suppress(OSError):
            taken.settimeout(10)
            client = self._tls.wrap_socket(taken, server_side=True)
            server = socket.create_connection(("127.0.0.1", self._behind), 10)
            self._open += [client, server]
            back = threading.Thread(target=_pass_on, args=(server, client), daemon=True)
            back.start()
            _pass_on(client, server)
            back.join(10)


def _pass_on(one: socket.socket, other: socket.socket) -> None:
    with suppress(OSError):
        while data := one.recv(65_536):
            other.sendall(data)
        other.shutdown(socket.SHUT_WR)
