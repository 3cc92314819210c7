"""HTTP, to addresses that a tenant may name too: by the dial we are handed, no redirects, bounded in time and size.

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
from connectors.settings import LOOPBACK

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


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server said, under the names that msal looks for; `truncated` where it had more than was wanted."""

    status_code: int
    headers: Mapping[str, str]
    body: bytes
    truncated: bool = False

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode("utf-8", "replace")

    def raise_for_status(self) -> None:
        """Nothing to do: what can't be read as an answer was raised by `Http` already."""


class Http:
    """Requests by one dial, each on a connection of its own, or with `keep_alive` all on one until `close`.

    `ask` brings every status but a redirect, which is `Misconfigured`. `get` and `post` are for sign-in services, where
    a server that asks for patience is `Throttled` and one that fails `Unavailable`.
    """

    def __init__(
        self,
        dial: Dial,
        ca_file: str | None = None,
        *,
        keep_alive: bool = False,
        call_limit: float = CALL_LIMIT,
        connect_timeout: float = CONNECT_TIMEOUT,
        read_timeout: float = READ_TIMEOUT,
        plain: bool = False,
    ) -> None:
        self._open: list[socket] = []
        self._overdue = False
        self._keep_alive = keep_alive
        self._call_limit = call_limit
        self._is_plain_allowed = plain

        def connect(connection: HTTPConnection) -> socket:
            opened = dial(connection.host, connection.port, connect_timeout)
            self._forget()  # one connection at a time is in use: a server that ends each must not pile them up
            self._open.append(opened.dup())  # TLS takes the socket itself away
            if self._overdue:  # the deadline passed while nothing was open that it could break
                opened.close()
                raise TimeoutError
            return opened

        class Plain(HTTPConnectionPool):
            class ConnectionCls(HTTPConnection):
                _new_conn = connect

        class Tls(HTTPSConnectionPool):
            class ConnectionCls(HTTPSConnection):
                _new_conn = connect

        timeout = urllib3.Timeout(connect=connect_timeout, read=read_timeout)
        self._pools = urllib3.PoolManager(
            retries=False, timeout=timeout, ssl_context=tls_context(ca_file, public_too=True)
        )
        self._pools.pool_classes_by_scheme = {"http": Plain, "https": Tls}

    def get(
        self, url: str, params: Mapping[str, str] | None = None, headers: Mapping[str, str] | None = None, **_: object
    ) -> Answer:
        """Ask for a page."""
        return _served(self.ask("GET", f"{url}?{urlencode(params)}" if params else url, headers), url)

    def post(
        self,
        url: str,
        params: Mapping[str, str] | None = None,
        data: Mapping[str, str] | str | None = None,
        headers: Mapping[str, str] | None = None,
        **_: object,
    ) -> Answer:
        """Send a form."""
        form = {"Content-Type": "application/x-www-form-urlencoded"} | dict(headers or {})
        target = f"{url}?{urlencode(params)}" if params else url
        return _served(self.ask("POST", target, form, data if isinstance(data, str) else urlencode(data or {})), url)

    def close(self) -> None:
        """Let go of all connections."""
        self._pools.clear()
        self._forget()

    def ask(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None = None,
        body: str | bytes | None = None,
        *,
        limit: int = ANSWER_LIMIT,
        cut: bool = False,
    ) -> Answer:
        """Send a request. An answer of more than `limit` bytes is cut there, or else `Unavailable`."""
        place = urlsplit(url)
        host = place.hostname or ""
        if place.scheme != "https" and host not in LOOPBACK and not self._is_plain_allowed:
            raise Misconfigured(f"The address at {host} isn't https, and secrets travel by nothing else: correct it.")
        slow = Unavailable(f"{host} was too slow: no end after {self._call_limit:g} s.")
        is_done = False
        try:
            with self._deadline():
                answer = self._read(method, url, body, headers or {}, limit)
            is_done = not answer.truncated
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            raise (slow if self._overdue else _translated(error, host)) from error
        finally:
            if not (self._keep_alive and is_done):
                self.close()
        if self._overdue:  # an answer that was broken off may look like a short one
            self.close()
            raise slow
        if answer.truncated and not cut:
            raise Unavailable(f"{host} sends more than {limit:,} bytes, which is no answer to what was asked.")
        if 300 <= answer.status_code < 400:
            raise Misconfigured(f"{host} leads elsewhere, which isn't followed: name the address it leads to.")
        return answer

    def _read(self, method: str, url: str, body: str | bytes | None, headers: Mapping[str, str], limit: int) -> Answer:
        response = self._pools.request(
            method, url, body=body, headers=dict(headers), redirect=False, preload_content=False, decode_content=True
        )
        parts: list[bytes] = []
        left = limit + 1
        is_read = False
        try:
            while left and (part := response.read(left)):
                parts.append(part)
                left -= len(part)
            is_read = left > 0
        finally:
            if is_read:
                response.release_conn()
            else:
                response.close()
        return Answer(response.status, response.headers, b"".join(parts)[:limit], truncated=not left)

    def _forget(self) -> None:
        while self._open:
            self._open.pop().close()

    @contextmanager
    def _deadline(self) -> Iterator[None]:
        """Break the connection where a request takes `call_limit`: a read timeout alone ends no server that drips."""
        self._overdue = False

        def end() -> None:
            self._overdue = True
            for opened in self._open:
                with suppress(OSError):
                    opened.shutdown(SHUT_RDWR)

        timer = threading.Timer(self._call_limit, end)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()


def _served(answer: Answer, url: str) -> Answer:
    host = urlsplit(url).hostname
    if answer.status_code == 429 or (answer.status_code == 503 and "Retry-After" in answer.headers):
        raise Throttled(f"{host} asks for patience.", retry_after(answer.headers.get("Retry-After")))
    if answer.status_code >= 500:
        raise Unavailable(f"{host} is out of service for now ({answer.status_code}); it will be tried again.")
    return answer


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
