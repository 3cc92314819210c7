"""One signed-in IMAP connection: opened when first needed, kept between calls, dropped after any failure."""

import imaplib
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from socket import SHUT_RDWR, socket
from typing import Any, Final, cast

from imapclient import IMAPClient, SocketTimeout
from imapclient.exceptions import IMAPClientError
from imapclient.imap4 import IMAP4WithTimeout

from connectors._imap_bearer import TokenRefused, sign_in_by_token
from connectors._imap_errors import modern_sign_in, translate, translate_login
from connectors._tls import tls_context
from connectors.base import CredentialStore
from connectors.errors import AuthRequired, ConnectorError, Misconfigured, Unavailable
from connectors.network import Dial, dial
from connectors.oauth import access_token
from connectors.settings import ImapSettings, Security, SignIn

CALL_LIMIT: Final = 120.0
"""How long one poll or fetch may take, in seconds, and never longer than `PATIENCE` read timeouts: a read timeout alone
never ends a server that drips. Well below the time that a task has (see `worker.app`)."""

PATIENCE: Final = 5

CALL_BYTES: Final = 16 * 1024 * 1024
"""How much a server may say during one poll or fetch, in bytes: 200 headers of the largest size, and then some."""

LOGOUT_LIMIT: Final = 5.0
"""How long a server may take to answer our goodbye, in seconds."""

_QUOTED: Final = str.maketrans({"\\": "\\\\", '"': '\\"'})


class TooMuch(Exception):
    """A server says more than any mailbox has to say."""


class _Client(IMAPClient):  # type: ignore[misc] # imapclient ships no types
    """An `IMAPClient` that hands over its socket before the greeting is read, so that a deadline can end even that."""

    def __init__(
        self, settings: ImapSettings, context: ssl.SSLContext | None, dial: Dial, on_open: Callable[[socket], None]
    ) -> None:
        self._on_open = on_open
        self._dial = dial
        self._left = CALL_BYTES
        timeout = SocketTimeout(connect=settings.connect_timeout, read=settings.read_timeout)
        super().__init__(settings.host, settings.port, ssl=context is not None, ssl_context=context, timeout=timeout)
        self.normalise_times = False  # aware datetimes, as the server says them

    def _create_IMAP4(self) -> imaplib.IMAP4:  # noqa: N802 - imapclient's name
        open_socket, spend = self._open_socket, self._spend

        class Connection(IMAP4WithTimeout):  # type: ignore[misc]
            def read(self, size: int) -> bytes:
                spend(size)  # before: imaplib would make room for whatever length a server announces
                return cast("bytes", super().read(size))

            def readline(self) -> bytes:
                line = cast("bytes", super().readline())
                spend(len(line))
                return line

            def _get_capabilities(self) -> None:
                told = self.untagged_responses.pop("CAPABILITY", None)  # by the greeting (RFC 3501, 7.1)
                if told:
                    self.capabilities = tuple(told[-1].decode("ascii", "replace").upper().split())
                else:
                    super()._get_capabilities()

            def _create_socket(self, _timeout: float | None = None) -> socket:
                return open_socket()

        return Connection(self.host, self.port, self._timeout.connect)

    def allow(self, count: int) -> None:
        """Let the server say so many bytes from now on."""
        self._left = count

    def _spend(self, count: int) -> None:
        if count < 0 or count > self._left:
            raise TooMuch
        self._left -= count

    def _open_socket(self) -> socket:
        opened = self._dial(self.host, self.port, self._timeout.connect)
        self._on_open(opened)  # before the handshake too: a server may be slow at that
        if self.ssl_context is not None:
            opened = self.ssl_context.wrap_socket(opened, server_hostname=self.host)
            self._on_open(opened)
        return opened


class ImapSession:
    """The connection that an `ImapConnector` works on. Not for several threads at once, as imaplib isn't."""

    def __init__(self, settings: ImapSettings, credentials: CredentialStore, dial: Dial = dial) -> None:
        self._settings = settings
        self._dial = dial
        self._credentials = credentials
        self._client: Any = None  # an IMAPClient, once there is one
        self._socket: socket | None = None
        self._selected: tuple[str, int] | None = None
        self._overdue = False

    @property
    def _limit(self) -> float:
        return min(CALL_LIMIT, PATIENCE * self._settings.read_timeout)

    @contextmanager
    def use(self) -> Iterator[IMAPClient]:
        """Give the signed-in `IMAPClient`; whatever fails inside leaves as a `ConnectorError`.

        The connection is dropped after every failure but a `ConnectorError`, even one that isn't the server's (a task
        killed by its time limit): half an answer may be waiting on it.
        """
        secret = None if self._client is not None else self._secret()
        try:
            with self._deadline():
                if secret is not None:
                    self._open(secret)
                else:
                    self._client.allow(CALL_BYTES)
                yield self._client
        except ConnectorError:
            raise
        except BaseException as error:
            self.close()
            host = self._settings.host
            if self._overdue:
                raise Unavailable(f"{host} was too slow: no end after {self._limit:g} s.") from error
            if isinstance(error, TooMuch):
                limit = CALL_BYTES // 2**20
                raise Unavailable(f"{host} says more than {limit} MB at once: that is no mail server.") from error
            if (translated := translate(error, self._settings)) is not None:
                raise translated from error
            raise

    def select(self, folder: str) -> int:
        """Open a folder read-only (EXAMINE), if it isn't the open one, and return its UIDVALIDITY."""
        if self._selected is None or self._selected[0] != folder:
            self._selected = None
            answer = self._client.select_folder(folder, readonly=True)
            self._selected = (folder, int(answer[b"UIDVALIDITY"]))
        return self._selected[1]

    def deselect(self) -> None:
        """Leave the open folder: STATUS isn't meant for it (RFC 3501, 6.3.10). CLOSE expunges no read-only folder."""
        if self._selected is not None:
            self._selected = None
            self._client.close_folder()

    def close(self) -> None:
        """Let go of the connection; never raises."""
        client, self._client, self._socket, self._selected = self._client, None, None, None
        if client is not None:
            with suppress(Exception):
                client.shutdown()

    def logout(self) -> None:
        """Say goodbye, then let go; never raises."""
        if self._client is not None:
            with suppress(Exception):
                self._client.socket().settimeout(LOGOUT_LIMIT)
                self._client.logout()
        self.close()

    @contextmanager
    def _deadline(self) -> Iterator[None]:
        """Break the connection where a call takes `CALL_LIMIT`, so that its pending read ends."""
        self._overdue = False
        timer = threading.Timer(self._limit, self._break)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _break(self) -> None:
        self._overdue = True
        if self._socket is not None:
            with suppress(OSError):
                socket.shutdown(self._socket, SHUT_RDWR)  # not SSLSocket's own: that isn't for another thread

    def _watch(self, opened: socket) -> None:
        self._socket = opened
        if self._overdue:  # the deadline passed while nothing was open: a token was renewed, say
            self._break()

    def _secret(self, refused: str | None = None) -> str:
        """Return a password, or an access token that isn't the one just refused."""
        if self._settings.sign_in is SignIn.PASSWORD:
            return self._credentials.load()[0]
        return access_token(self._credentials, self._dial, refused=refused)

    def _open(self, secret: str) -> None:
        """Connect and sign in; a token that is refused is renewed once, for a provider may revoke it before its end."""
        by_password = self._settings.sign_in is SignIn.PASSWORD
        try:
            self._connect()
            if by_password:
                self._login(self._client, secret)
                return
            try:
                sign_in_by_token(self._client, self._settings, secret)
            except TokenRefused:
                self.close()
                renewed = self._secret(refused=secret)
                self._connect()
                sign_in_by_token(self._client, self._settings, renewed)
        except ConnectorError:
            self.close()
            raise

    def _connect(self) -> None:
        settings = self._settings
        context = None if settings.security is Security.NONE else tls_context(settings.ca_file)
        tls = context if settings.security is Security.TLS else None
        self._client = client = _Client(settings, tls, self._dial, self._watch)
        if settings.security is Security.STARTTLS:
            client.starttls(context)
            self._watch(client.socket())

    def _login(self, client: IMAPClient, secret: str) -> None:
        """Sign in with a password: LOGIN (RFC 3501, 6.2.3), or PLAIN (RFC 4616) where LOGIN can't carry it."""
        settings = self._settings
        if any(letter < " " for letter in settings.username + secret):
            raise AuthRequired(
                f"The password or name of {settings.username!r} has a control character: enter it again."
            )
        disabled = client.has_capability("LOGINDISABLED")
        if disabled and settings.security is Security.NONE:
            raise Misconfigured(f"{settings.host} takes passwords only over TLS: set security to starttls or tls.")
        if disabled and not client.has_capability("AUTH=PLAIN"):
            raise modern_sign_in(settings)
        try:
            if disabled or not (settings.username + secret).isascii():
                client.plain_login(settings.username, secret)
            else:
                # imaplib quotes the password only (RFC 3501, 4.3).
                client.login(f'"{settings.username.translate(_QUOTED)}"', secret)
        except IMAPClientError as error:
            # Without its cause: the server's words may echo what we sent.
            raise translate_login(error, settings, secret) from None
