"""HTTP to one Exchange server: by the dial we are handed, bounded in time and size, dropped on failure.

exchangelib's own transport is not used. It keeps sessions, and with them passwords, in a cache of the whole process,
reads answers of any size, and takes proxies from the environment.
"""

import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse, RemoteDisconnected
from socket import IPPROTO_TCP, SHUT_RDWR, TCP_NODELAY, socket
from typing import Final

from connectors import settings as ways
from connectors._exchange_errors import TooLarge, refusal, schemes, translate
from connectors._exchange_sign_in import SignIn, sign_in
from connectors._exchange_url import EwsUrl
from connectors._tls import tls_context
from connectors.base import CredentialStore
from connectors.errors import CursorExpired, MessageGone, Misconfigured, Unavailable
from connectors.network import Dial, dial
from connectors.settings import ExchangeSettings

CALL_LIMIT: Final = 120.0
"""How long one poll or fetch may take, in seconds, and never longer than `PATIENCE` read timeouts: a read timeout alone
never ends a server that drips. Well below the time that a task has (see `worker.app`)."""

PATIENCE: Final = 5

ANSWER_LIMIT: Final = 16 * 1024 * 1024
"""How large an answer may be, in bytes. A page of 512 ids takes about 150 KB."""

_CHUNK: Final = 64 * 1024
_HEADERS: Final = {"Content-Type": "text/xml; charset=utf-8", "Accept": "text/xml", "Accept-Encoding": "identity"}


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server said; not `complete` where there is more than we wanted to read."""

    status: int
    body: bytes
    complete: bool = True


class _Connection(HTTPConnection):
    """An `HTTPConnection` by our dial, which can be broken off from another thread even while it shakes hands."""

    def __init__(self, endpoint: EwsUrl, settings: ExchangeSettings, dial: Dial, tls: ssl.SSLContext | None) -> None:
        super().__init__(endpoint.host, endpoint.port)
        self.path = endpoint.path
        self._settings = settings
        self._dial = dial
        self._tls = tls
        self._handle: socket | None = None
        self.is_signed_in = False
        self.is_used = False

    def connect(self) -> None:
        self.is_signed_in = self.is_used = False  # NTLM signs in a connection, not a request
        opened = self._dial(self.host, self.port, self._settings.connect_timeout)
        opened.settimeout(self._settings.read_timeout)
        opened.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)  # header and body are sent one after the other
        self._drop_handle()
        self._handle = opened.dup()  # TLS takes the socket itself away
        self.sock = opened if self._tls is None else self._tls.wrap_socket(opened, server_hostname=self.host)

    def abort(self) -> None:
        if self._handle is not None:
            with suppress(OSError):
                self._handle.shutdown(SHUT_RDWR)

    def release(self) -> None:
        """Close for good; never raises. http.client's own `close` comes before an answer of open end is even read."""
        with suppress(OSError):
            self.close()
        self._drop_handle()

    def certificate(self) -> bytes | None:
        return self.sock.getpeercert(binary_form=True) if isinstance(self.sock, ssl.SSLSocket) else None

    def _drop_handle(self) -> None:
        if self._handle is not None:
            self._handle.close()
            self._handle = None


class ExchangeSession:
    """The connection that an `ExchangeConnector` works on. Not for several threads at once."""

    def __init__(self, settings: ExchangeSettings, credentials: CredentialStore, dial: Dial = dial) -> None:
        self.settings = settings
        self._credentials = credentials
        self._dial = dial
        self._connection: _Connection | None = None
        self._sign_in: SignIn | None = None
        self._overdue = False
        self._is_renewed = False
        self._secret = ""  # to be kept out of what we say

    @property
    def _limit(self) -> float:
        return min(CALL_LIMIT, PATIENCE * self.settings.read_timeout)

    @contextmanager
    def use(self) -> Iterator[None]:
        """Make `post` usable; whatever fails inside leaves as a `ConnectorError`.

        Connection and secret are dropped after every failure but those that say nothing of them.
        """
        endpoint = EwsUrl.parse(self.settings.endpoint)
        address = self.settings.address
        if not (address.isascii() and address.isprintable() and "@" in address):
            raise Misconfigured(f"{address!r} is no mailbox of Exchange: give its primary SMTP address.")
        if self._sign_in is None:
            self._load()
        try:
            if self._connection is None:
                tls = tls_context(self.settings.ca_file) if endpoint.is_tls else None
                self._connection = _Connection(endpoint, self.settings, self._dial, tls)
            with self._deadline(self._connection):
                yield
        except (MessageGone, CursorExpired):
            raise
        except BaseException as error:
            secret = self._secret
            self.close()
            if self._overdue:
                raise Unavailable(f"{endpoint.host} was too slow: no end after {self._limit:g} s.") from error
            if (translated := translate(error, self.settings, secret)) is not None:
                raise translated from error
            raise

    def post(self, body: bytes, limit: int = ANSWER_LIMIT, *, partial: bool = False) -> Answer:
        """Ask, and return an answer that is SOAP as far as its status tells; every other one becomes an error.

        Raises `TooLarge` beyond `limit` bytes, or with `partial` returns those.
        """
        settings, connection, signing = self.settings, self._connection, self._sign_in
        assert connection is not None, "post is for inside of use"
        assert signing is not None, "post is for inside of use"
        was_used = connection.is_used and connection.sock is not None
        try:
            response = self._send(connection, signing, body)
        except (RemoteDisconnected, ConnectionResetError, BrokenPipeError):
            if not was_used or self._overdue:
                raise
            # The server had closed a connection that we kept; asking again does no harm, as we only read.
            connection.release()
            response = self._send(connection, signing, body)
        is_read = False
        try:
            answer = _read(response, limit, partial=partial)
            is_read = answer.complete
        finally:
            if not is_read:  # the rest of the answer is still on its way
                connection.release()
        connection.is_used = True
        if answer.status == 200 or (answer.status == 500 and b"Envelope" in answer.body[:200]):
            return answer
        offered = response.headers.get_all("WWW-Authenticate") or []
        is_token = settings.sign_in is ways.SignIn.OAUTH and "bearer" in schemes(offered)
        if answer.status == 401 and is_token and not self._is_renewed:
            self._is_renewed = True  # a token may end before its time; a second refusal is meant
            self._load(refused=signing.secret)
            return self.post(body, limit, partial=partial)
        raise refusal(settings, answer.status, response.headers, offered)

    def close(self) -> None:
        """Let go of the connection and of the secret; never raises."""
        connection, self._connection, self._sign_in = self._connection, None, None
        self._is_renewed, self._secret = False, ""
        if connection is not None:
            connection.release()

    def _load(self, refused: str | None = None) -> None:
        self._sign_in = sign_in(self.settings, self._credentials, self._dial, refused)
        self._secret = self._sign_in.secret

    def _send(self, connection: _Connection, signing: SignIn, body: bytes) -> HTTPResponse:
        headers = _HEADERS | {"X-AnchorMailbox": self.settings.address}  # routes to the mailbox's own server
        if connection.sock is None:
            connection.connect()
        if not connection.is_signed_in:

            def ask(extra: Mapping[str, str]) -> HTTPResponse:
                response = _exchange(connection, b"", {**headers, **extra})
                _read(response, _CHUNK, partial=False)
                if connection.sock is None:
                    raise RemoteDisconnected("in the middle of the sign-in")
                return response

            headers |= dict(signing.headers(ask, connection.host, connection.certificate()))
            connection.is_signed_in = not signing.is_for_each_request
        return _exchange(connection, body, headers)

    @contextmanager
    def _deadline(self, connection: _Connection) -> Iterator[None]:
        """Break the connection where a call takes `CALL_LIMIT`, so that its pending read ends."""
        self._overdue = False

        def end() -> None:
            self._overdue = True
            connection.abort()

        timer = threading.Timer(self._limit, end)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()


def _exchange(connection: _Connection, body: bytes, headers: Mapping[str, str]) -> HTTPResponse:
    connection.request("POST", connection.path, body, dict(headers))
    return connection.getresponse()


def _read(response: HTTPResponse, limit: int, *, partial: bool) -> Answer:
    """Read a body of known or unknown length, but never more than `limit`; it keeps the socket open until closed."""
    with response:
        return _read_open(response, limit, partial=partial)


def _read_open(response: HTTPResponse, limit: int, *, partial: bool) -> Answer:
    if response.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise HTTPException("the answer is packed, and nobody asked for that")
    if not partial and (response.length or 0) > limit:
        raise TooLarge(response.length)
    parts: list[bytes] = []
    size = 0
    while part := response.read(min(_CHUNK, limit + 1 - size)):
        parts.append(part)
        size += len(part)
        if size > limit:
            if not partial:
                raise TooLarge(size)
            return Answer(response.status, b"".join(parts), complete=False)
    if response.length:  # Python says nothing where a body ends before its announced length
        raise HTTPException("the answer ended too early")
    return Answer(response.status, b"".join(parts))
