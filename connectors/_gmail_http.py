"""Google's API client over our own HTTP: it builds the requests and reads the answers, we send them.

Its own transport is not used: httplib2 takes proxies from the environment and reads answers of any size, and
google-auth's sleeps and tries again inside the caller's thread.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final, NoReturn, TypeVar

import httplib2
from googleapiclient.discovery import build
from googleapiclient.errors import BatchError, HttpError
from googleapiclient.errors import Error as ClientError
from googleapiclient.http import BatchHttpRequest

from connectors._gmail_errors import Refusal, Refused, meaning, read_refusal
from connectors._gmail_quota import UNITS, Meter, meter_of
from connectors._http import Http
from connectors.base import CredentialStore
from connectors.errors import Misconfigured, Unavailable
from connectors.network import Dial, dial
from connectors.oauth import GMAIL, access_token
from connectors.settings import GmailSettings

REQUEST_LIMIT: Final = 60.0
"""How long one request may take, in seconds."""
CALL_LIMIT: Final = 120.0
"""How long one poll or fetch may take: no request begins that could go on for longer. Well below the time that a task
has (see `worker.app`)."""
ANSWER_LIMIT: Final = 16 * 1024 * 1024
"""How large an answer may be, in bytes: 50 headers take about 100 KB."""
BATCH: Final = 50
"""Calls in one batch: Google advises against more (https://developers.google.com/workspace/gmail/api/guides/batch)."""

UNREADABLE: Final = (ClientError, ValueError, TypeError, LookupError, AttributeError, RecursionError)
"""What the client raises when it is given nonsense."""

Request = Any
"""A request of the API client, which ships no types."""

T = TypeVar("T")


class TooLarge(Exception):
    """An answer that is larger than we are ready to read."""


class _Nowhere:
    """What the client is built with, so that it doesn't look for credentials or open anything by itself."""

    def request(self, *_: object, **__: object) -> NoReturn:
        raise AssertionError("each request is sent by a transport of its own")


@dataclass(frozen=True, slots=True)
class Client:
    """What Google's client makes requests of. It makes each of these anew whenever it is asked, which takes long."""

    users: Any
    messages: Any
    history: Any
    labels: Any


@lru_cache(maxsize=16)
def client(api: str) -> Client:
    """Return the API client of an address: from the discovery document in the package, with nothing asked for.

    It keeps no state but that document, so that all inboxes and threads share it.
    """
    users = build(
        "gmail",
        "v1",
        http=_Nowhere(),
        cache_discovery=False,
        static_discovery=True,
        client_options={"api_endpoint": f"{api}/"},
    ).users()
    return Client(users, users.messages(), users.history(), users.labels())


@dataclass(frozen=True, slots=True)
class _Transport:
    """`Http` with the face of httplib2, for one request. An answer beyond `limit` is cut there, or `TooLarge`."""

    http: Http
    token: str = field(repr=False)
    limit: int
    cut: bool

    def request(
        self,
        uri: str,
        method: str = "GET",
        body: str | bytes | None = None,
        headers: Mapping[str, str] | None = None,
        **_: object,
    ) -> tuple[httplib2.Response, bytes]:
        # Google compresses only for those whose user agent says gzip too.
        sent = {"user-agent": "bounce-worker (gzip)"} | dict(headers or {})
        sent |= {"accept-encoding": "gzip", "authorization": f"Bearer {self.token}"}
        answer = self.http.ask(method, uri, sent, body, limit=self.limit, cut=True)
        if answer.truncated and not self.cut:
            raise TooLarge
        fields = {name.lower(): value for name, value in answer.headers.items()}
        return httplib2.Response(fields | {"status": str(answer.status_code)}), answer.body


class GmailSession:
    """The connection that a `GmailConnector` works on. Not for several threads at once."""

    def __init__(self, settings: GmailSettings, credentials: CredentialStore, dial: Dial = dial) -> None:
        self.settings = settings
        self.api = settings.api.rstrip("/")
        self._credentials = credentials
        self._dial = dial
        self._http: Http | None = None
        self._token: str | None = None
        self._is_renewed = False
        self._ends = 0.0

    @property
    def client(self) -> Client:
        """What requests are made of."""
        return client(self.api)

    @property
    def meter(self) -> Meter:
        return meter_of(self.api, self.settings.address.lower(), self.settings.units_per_minute)

    @contextmanager
    def use(self) -> Iterator[None]:
        """Make `ask` usable; whatever Gmail refuses inside leaves as a `ConnectorError`."""
        address = self.settings.address
        if not (address.isprintable() and "@" in address):
            raise Misconfigured(f"{address!r} is no mailbox of Gmail: give its address.")
        self._is_renewed = False
        self._ends = time.monotonic() + CALL_LIMIT - REQUEST_LIMIT
        try:
            yield
        except Refused as refused:
            raise meaning(refused.refusal, self.settings) from None
        except TooLarge:
            raise Unavailable("Gmail sent an answer that is absurdly large; it will be tried again.") from None

    def ask(self, request: Request, limit: int = ANSWER_LIMIT, *, cut: bool = False) -> Any:  # noqa: ANN401 - JSON
        """Send a request and return its answer. Raises `Refused`, `TooLarge` and `ConnectorError`."""
        self.meter.spend(UNITS[request.methodId])

        def send(token: str) -> object:
            return _object(request.execute(http=_Transport(self._connection(), token, limit, cut), num_retries=0))

        return self._signed(send)

    def ask_each(self, requests: Sequence[Request]) -> list[Any]:
        """Send up to `BATCH` requests at once; return each one's answer, or the `Refusal` of it. Raises as `ask`."""
        self.meter.spend(sum(UNITS[request.methodId] for request in requests))

        def send(token: str) -> list[Any]:
            answers: dict[str, Any] = {}

            def keep(name: str, answer: object, error: HttpError | None) -> None:
                answers[name] = _object(answer) if error is None else _refusal(error)

            batch = BatchHttpRequest(callback=keep, batch_uri=f"{self.api}/batch")
            for number, request in enumerate(requests):
                request.headers = {}  # the batch itself says who asks, and that its answer may be packed
                batch.add(request, request_id=str(number))
            batch.execute(http=_Transport(self._connection(), token, ANSWER_LIMIT, cut=False))
            found = [answers[str(number)] for number in range(len(requests))]
            if any(isinstance(each, Refusal) and each.status == 401 for each in found):
                raise Refused(Refusal(status=401))
            return found

        return self._signed(send)

    def close(self) -> None:
        """Let go of the connection and of the token; never raises."""
        http, self._http, self._token = self._http, None, None
        if http is not None:
            http.close()

    def _signed(self, send: Callable[[str], T]) -> T:
        """Send with the access token, and once more with a new one where it is refused."""
        token = self._token or self._load(None)
        try:
            return self._read(send, token)
        except Refused as refused:
            if refused.refusal.status != 401 or self._is_renewed:
                raise
        self._is_renewed = True  # a token may end before its time; a second refusal is meant
        return self._read(send, self._load(token))

    def _read(self, send: Callable[[str], T], token: str) -> T:
        if time.monotonic() > self._ends:
            raise Unavailable(f"Gmail was too slow: no end after {CALL_LIMIT:g} s.")
        try:
            return send(token)
        except BatchError:  # is an HttpError too, without a refusal in it
            raise _unreadable("no batch") from None
        except HttpError as error:
            raise Refused(_refusal(error)) from None
        except UNREADABLE as error:
            raise _unreadable(type(error).__name__) from None

    def _load(self, refused: str | None) -> str:
        settings = self.settings
        self._token = access_token(
            self._credentials,
            self._dial,
            resource=GMAIL,
            mailbox=settings.address,
            refused=refused,
            ca_file=settings.ca_file,
        )
        return self._token

    def _connection(self) -> Http:
        settings = self.settings
        if self._http is None:
            self._http = Http(
                self._dial,
                settings.ca_file,
                keep_alive=True,
                call_limit=REQUEST_LIMIT,
                connect_timeout=settings.connect_timeout,
                read_timeout=settings.read_timeout,
            )
        return self._http


def _object(answer: object) -> Mapping[str, Any]:
    """Return an answer that is a JSON object: the client hands on whatever else it was given."""
    if not isinstance(answer, Mapping):
        raise TypeError
    return answer


def _refusal(error: HttpError) -> Refusal:
    return read_refusal(error.resp.status, error.resp, error.content)


def _unreadable(why: str) -> Unavailable:
    return Unavailable(f"Gmail sent an answer that can't be read ({why}); it will be tried again.")
