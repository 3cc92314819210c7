"""Questions to Microsoft Graph about one mailbox: with its token, one at a time, bounded in time and size."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import SplitResult, quote, urlencode, urlsplit

from connectors._graph_clouds import CLOUDS, VERSION, api
from connectors._graph_errors import refusal
from connectors._http import Answer, Http
from connectors.base import CredentialStore
from connectors.errors import MessageGone, Misconfigured, Unavailable
from connectors.network import Dial
from connectors.oauth import access_token
from connectors.settings import Office365Settings

CALL_LIMIT: Final = 45.0
"""How long one request may take, in seconds, and never longer than `PATIENCE` read timeouts: even one that is sent
again with a new token, at the end of a poll, must fit into the time that a task has (see `worker.app`)."""
PATIENCE: Final = 5
ANSWER_LIMIT: Final = 16 * 1024 * 1024
"""How large an answer may be, in bytes. A page of 100 messages with their headers takes about a megabyte."""
ERROR_LIMIT: Final = 64 * 1024

_IMMUTABLE: Final = 'IdType="ImmutableId"'
"""Without it an id changes when its message is moved. It counts only for the request it comes with."""


class TooLarge(Unavailable):
    """An answer that is larger than we are ready to read."""


@dataclass(frozen=True, slots=True)
class _Question:
    method: str
    url: str
    body: str | None = None
    may_be_gone: bool = False


class GraphSession:
    """The connection that an `Office365Connector` works on. Not for several threads at once."""

    def __init__(self, settings: Office365Settings, credentials: CredentialStore, dial: Dial) -> None:
        self.settings = settings
        self._credentials = credentials
        self._dial = dial
        self._http: Http | None = None
        self._token: str | None = None
        self.requests = 0

    def path(self, *parts: str, **options: str) -> str:
        """Return the address of something in the mailbox; options are OData's, without their ``$``.

        Raises `MessageGone` for a part that can't be an id: ``..`` would lead to something else.
        """
        address = self.settings.address
        if not address.isprintable() or "@" not in address:
            raise Misconfigured(f"{address[:100]!r} is no mailbox of Microsoft 365: give its user's principal name.")
        if not all(part.strip(".") and _is_text(part) for part in parts):
            raise MessageGone("There is nothing by that id in the mailbox.")
        steps = "/".join(quote(part, safe="$") for part in ("users", address, *parts))
        named = {name if name == "changeType" else f"${name}": value for name, value in options.items()}
        query = urlencode(named, safe="$'(),:", quote_via=quote)
        return f"{self._root}{steps}?{query}" if query else f"{self._root}{steps}"

    def is_own(self, link: str) -> bool:
        """Tell whether a link leads to the API itself. To no other place may the token be sent."""
        try:
            ours, theirs = urlsplit(self._root), urlsplit(link)
            same_place = _place(theirs) == _place(ours)
        except ValueError:
            return False
        return same_place and theirs.path.startswith(ours.path) and "@" not in theirs.netloc and link.isprintable()

    def json(self, url: str, page_size: int | None = None) -> Mapping[str, Any]:
        """Ask for something and return it. Raises `TooLarge` and `ConnectorError`s."""
        preferred = [_IMMUTABLE] if page_size is None else [_IMMUTABLE, f"odata.maxpagesize={page_size}"]
        return self._read(self._ask(_Question("GET", url), preferred, ANSWER_LIMIT))

    def change(self, method: str, path: str, body: Mapping[str, Any] | None) -> Mapping[str, Any]:
        """Change something of ours beside the mailbox; return what it is now, nothing where it is no more."""
        sent = None if body is None else json.dumps(body)
        question = _Question(method, self._root + path, sent, may_be_gone=method != "POST")
        answer = self._ask(question, [], ERROR_LIMIT)
        return self._read(answer) if answer.body else {}

    def content(self, url: str, limit: int) -> Answer:
        """Ask for the first `limit` bytes of something that may be of any size."""
        return self._ask(_Question("GET", url), [_IMMUTABLE], max(limit, ERROR_LIMIT))

    def nonsense(self) -> Unavailable:
        return Unavailable(f"{self._host} sent an answer that isn't Microsoft Graph's; it will be tried again.")

    def close(self) -> None:
        """Let go of the connection and of the token; never raises."""
        http, self._http, self._token = self._http, None, None
        if http is not None:
            http.close()

    @property
    def _root(self) -> str:
        return f"{api(self.settings)}/{VERSION}/"

    @property
    def _host(self) -> str:
        return urlsplit(self._root).hostname or "Microsoft Graph"

    def _read(self, answer: Answer) -> Mapping[str, Any]:
        if answer.truncated:
            raise TooLarge(f"{self._host} sent an answer that is absurdly large; it will be tried again.")
        try:
            body = json.loads(answer.body)
        except (ValueError, RecursionError):
            body = None
        if not isinstance(body, dict):
            raise self.nonsense()
        return body

    def _ask(self, question: "_Question", preferred: list[str], limit: int) -> Answer:
        if not self.is_own(question.url):
            raise Misconfigured(f"{self._host} leads to another address, which isn't followed: correct the api.")
        if self._token is None:
            self._token = self._sign_in()
        answer = self._send(question, preferred, limit)
        if answer.status_code == 401:  # a token may end before its time; a second refusal is meant
            self._token = self._sign_in(refused=self._token)
            answer = self._send(question, preferred, limit)
        if question.may_be_gone and answer.status_code == 404:
            raise MessageGone(f"{self._host} doesn't know it any more.")
        if not 200 <= answer.status_code < 300:
            raise refusal(answer, self._host, self.settings.address)
        return answer

    def _send(self, question: "_Question", preferred: list[str], limit: int) -> Answer:
        settings = self.settings
        self.requests += 1
        if self._http is None:
            self._http = Http(
                self._dial,
                settings.ca_file,
                keep_alive=True,
                call_limit=min(CALL_LIMIT, PATIENCE * settings.read_timeout),
                connect_timeout=settings.connect_timeout,
                read_timeout=settings.read_timeout,
            )
        headers = {"Authorization": f"Bearer {self._token}", "Accept-Encoding": "gzip"}
        if preferred:
            headers["Prefer"] = ", ".join(preferred)
        if question.body is not None:
            headers["Content-Type"] = "application/json"
        return self._http.ask(question.method, question.url, headers, question.body, limit=limit, cut=True)

    def _sign_in(self, refused: str | None = None) -> str:
        return access_token(
            self._credentials,
            self._dial,
            resource=CLOUDS[self.settings.cloud].resource,
            mailbox=self.settings.address,
            refused=refused,
            ca_file=self.settings.ca_file,
        )


def _is_text(part: str) -> bool:
    """Tell whether what came as JSON can be written at all: it may have half a character (RFC 8259, 8.2)."""
    try:
        part.encode()
    except UnicodeEncodeError:
        return False
    return True


def _place(url: SplitResult) -> tuple[str, str | None, int | None]:
    """Return what a token's destination is told by. Raises `ValueError`."""
    return url.scheme, url.hostname, url.port or {"https": 443, "http": 80}.get(url.scheme)
