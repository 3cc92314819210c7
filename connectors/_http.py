"""HTTP to endpoints that a stored grant may name: by the dial we are handed, no redirects, bounded in time and size.

Proxies and passwords of the environment count for nothing (urllib3 reads none). The interface is the one that msal asks
of its `http_client`.
"""

import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from socket import SHUT_RDWR, socket
from typing import Final
from urllib.parse import urlencode, urlsplit

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from connectors._tls import tls_context
from connectors.errors import Misconfigured, Throttled, Unavailable
from connectors.network import Dial

CALL_LIMIT: Final = 15.0
"""How long one request may take, from the connection to the last byte, in seconds. Renewing a token takes up to two,
and a poll may renew twice (before it, and after a refusal): together with the poll that must fit into a task's time."""
CONNECT_TIMEOUT: Final = 10.0
READ_TIMEOUT: Final = 10.0
ANSWER_LIMIT: Final = 256 * 1024
"""How large an answer may be, in bytes."""
RETRY_AFTER: Final = timedelta(minutes=1)
"""What a server means that asks for patience without saying for how long."""
LONGEST_WAIT: Final = timedelta(hours=6)
LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True, slots=True)
class Answer:
    """What an endpoint said, under the names that msal looks for."""

    status_code: int
    text: str
    headers: Mapping[str, str]

    def raise_for_status(self) -> None:
        """Nothing to do: what can't be read as an answer was raised by `Http` already."""


class Http:
    """Requests by one dial. Raises `Unavailable`, `Throttled` and `Misconfigured`; every other status is an answer."""

    def __init__(self, dial: Dial, ca_file: str | None = None) -> None:
        self._open: list[socket] = []
        self._overdue = False

        def connect(connection: HTTPConnection) -> socket:
            opened = dial(connection.host, connection.port, CONNECT_TIMEOUT)
            self._open.append(opened.dup())  # TLS takes the socket itself away
            return opened

        class Plain(HTTPConnectionPool):
            class ConnectionCls(HTTPConnection):
                _new_conn = connect

        class Tls(HTTPSConnectionPool):
            class ConnectionCls(HTTPSConnection):
                _new_conn = connect

        timeout = urllib3.Timeout(connect=CONNECT_TIMEOUT, read=READ_TIMEOUT)
        self._pools = urllib3.PoolManager(
            retries=False, timeout=timeout, ssl_context=tls_context(ca_file, public_too=True)
        )
        self._pools.pool_classes_by_scheme = {"http": Plain, "https": Tls}

    def get(
        self, url: str, params: Mapping[str, str] | None = None, headers: Mapping[str, str] | None = None, **_: object
    ) -> Answer:
        """Ask for a page."""
        return self._ask("GET", f"{url}?{urlencode(params)}" if params else url, None, headers or {})

    def post(
        self,
        url: str,
        params: Mapping[str, str] | None = None,
        data: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        **_: object,
    ) -> Answer:
        """Send a form."""
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        return self._ask(
            "POST", f"{url}?{urlencode(params)}" if params else url, urlencode(data or {}), form | dict(headers or {})
        )

    def close(self) -> None:
        """Let go of all connections."""
        self._pools.clear()
        while self._open:
            self._open.pop().close()

    def _ask(self, method: str, url: str, body: str | None, headers: Mapping[str, str]) -> Answer:
        place = urlsplit(url)
        host = place.hostname or ""
        if place.scheme != "https" and host not in LOOPBACK:
            raise Misconfigured(f"The address at {host} isn't https, and secrets travel by nothing else: correct it.")
        slow = Unavailable(f"{host} was too slow: no end after {CALL_LIMIT:g} s.")
        try:
            with self._deadline():
                answer = self._read(method, url, body, headers, host)
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            raise (slow if self._overdue else _translated(error, host)) from error
        finally:
            self.close()
        if self._overdue:  # an answer that was broken off may look like a short one
            raise slow
        return answer

    def _read(self, method: str, url: str, body: str | None, headers: Mapping[str, str], host: str) -> Answer:
        response = self._pools.request(
            method, url, body=body, headers=dict(headers), redirect=False, preload_content=False, decode_content=False
        )
        text = b""
        try:
            while len(text) <= ANSWER_LIMIT and (part := response.read(ANSWER_LIMIT + 1 - len(text))):
                text += part
        finally:
            response.close()
        if len(text) > ANSWER_LIMIT:
            raise Unavailable(f"{host} sends more than {ANSWER_LIMIT:,} bytes: that is no answer of a sign-in service.")
        if 300 <= response.status < 400:
            raise Misconfigured(f"{host} leads elsewhere, which isn't followed: name the address it leads to.")
        if response.status == 429 or (response.status == 503 and "Retry-After" in response.headers):
            raise Throttled(f"{host} asks for patience.", retry_after(response.headers.get("Retry-After")))
        if response.status >= 500:
            raise Unavailable(f"{host} is out of service for now ({response.status}); it will be tried again.")
        return Answer(response.status, text.decode("utf-8", "replace"), dict(response.headers))

    @contextmanager
    def _deadline(self) -> Iterator[None]:
        """Break the connection where a request takes `CALL_LIMIT`: a read timeout alone ends no server that drips."""
        self._overdue = False

        def end() -> None:
            self._overdue = True
            for opened in self._open:
                with suppress(OSError):
                    opened.shutdown(SHUT_RDWR)

        timer = threading.Timer(CALL_LIMIT, end)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()


def retry_after(value: str | None) -> timedelta:
    """Read Retry-After: seconds, or a date (RFC 9110, 10.2.3)."""
    text = (value or "").strip()
    try:
        wait = timedelta(seconds=int(text)) if text.isdigit() else parsedate_to_datetime(text) - datetime.now(UTC)
    except (ValueError, TypeError, OverflowError):
        return RETRY_AFTER
    return min(max(wait, timedelta(seconds=1)), LONGEST_WAIT)


def _translated(error: Exception, host: str) -> Misconfigured | Unavailable:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            why = cause.verify_message
            return Misconfigured(f"{host} shows a certificate that can't be trusted ({why}): correct the address.")
        cause = cause.__cause__ or cause.__context__
    return Unavailable(f"{host} can't be reached ({type(error).__name__}); it will be tried again.")
