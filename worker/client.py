"""The Python client of the HTTP API: for the CRM's side, which needs nothing else of this package.

    worker = BounceWorker("https://bounces.acme.example", key)
    worker.register(Send(id="s-1", inbox="alice", kind="one_to_one", sent_at=now, recipients=[To(address="bob@…")]))

And where the webhook comes in: ``event = verify(secret, headers, body)``, or from the feed: ``worker.events(after)``.
"""

import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final, Self
from urllib.parse import quote, urlencode

import urllib3
from pydantic import ValidationError
from standardwebhooks import Webhook, WebhookVerificationError
from standardwebhooks.webhooks import EmptyWebhookSecretError

from worker.contract import (
    ANY_EVENT,
    BounceEvent,
    ContactEvent,
    EmailStatus,
    Entry,
    Head,
    InboxEntry,
    InboxEvent,
    IncidentEvent,
    Refused,
    RefusedEvent,
    Registered,
    Send,
    TestEvent,
    To,
    UnenrollEvent,
)
from worker.contract import Event as KnownEvent

__all__ = [
    "ApiProblem", "BounceEvent", "BounceWorker", "ContactEvent", "EmailStatus", "Entry", "Event", "InboxEntry",
    "InboxEvent", "IncidentEvent", "InvalidEvent", "OtherEvent", "Refused", "RefusedEvent", "Registered", "Send",
    "TestEvent", "To", "UnenrollEvent", "csv_cell", "verify",
]  # fmt: skip

AT_ONCE: Final = 10_000
"""Sends that one request registers."""
ADDRESSES: Final = 1_000
WAIT: Final = 20
"""Seconds for which the feed is asked to wait for an event."""
TRIES: Final = 4
FIRST_WAIT: Final = 0.5
LONGEST_WAIT: Final = 30.0
"""Seconds between two tries at most, whatever the server asks for."""
NOT_NOW: Final = (429, 502, 503, 504)
"""Answers of the API, or of a proxy before it, after which the same may be asked again."""


def csv_cell(text: str | None) -> str:
    """Return strangers' words as a cell that no spreadsheet takes for a formula (OWASP, CSV injection)."""
    return f"'{text}" if text and text[0] in "=+-@\t\r\n" else text or ""


class ApiProblem(Exception):
    """The API didn't do what was asked; the text says why, `status` is HTTP's (None where nothing answered)."""

    def __init__(self, status: int | None, detail: str) -> None:
        super().__init__(detail)
        self.status = status


class InvalidEvent(Exception):
    """A webhook's call that isn't proven to be ours, is too old, or can't be read: answer it with 400."""


class OtherEvent(Head):
    """An event of a type that this client is too old for: pass over it, and answer its call with 2xx."""

    type: str


Event = KnownEvent | OtherEvent


def verify(secrets: str | Sequence[str], headers: Mapping[str, str], body: bytes | str) -> Event:
    """Return the event of a webhook's call whose signature is right. Raises `InvalidEvent`.

    `secrets` is the webhook's secret, or several while they are changed; ValueError where one can't be any. Drop
    repeats by `event.id`: the same event may come more than once. https://www.standardwebhooks.com
    """
    named = {name.lower(): value for name, value in headers.items()}
    for webhook in [_webhook(secret) for secret in ([secrets] if isinstance(secrets, str) else secrets)]:
        try:
            data = webhook.verify(body, named)
        except WebhookVerificationError:
            continue
        except ValueError:
            break  # a signature, or a body, that nobody could have written by the rules
        try:
            return _event(data)
        except ValidationError as error:
            raise InvalidEvent(f"The event can't be read: {error.errors()[0]['msg']}") from None
    raise InvalidEvent("The signature is wrong, or the call is older than five minutes.")


def _webhook(secret: str) -> Webhook:
    try:
        return Webhook(secret)
    except (ValueError, EmptyWebhookSecretError):
        raise ValueError("That is no webhook's secret: `bounce-worker webhooks add` prints it, whsec_….") from None


def _event(data: Mapping[str, Any]) -> Event:
    try:
        return ANY_EVENT.validate_python(data)
    except ValidationError as error:
        if error.errors()[0]["type"] != "union_tag_invalid":
            raise
        return OtherEvent.model_validate(data)


class BounceWorker:
    """The API, as the holder of a key sees it. Safe to share between threads. Timeouts are in seconds.

    Calls that change nothing when repeated are tried again where nothing answers. Raises `ApiProblem`.
    """

    def __init__(self, url: str, key: str, *, timeout: float = 30.0, account: str | None = None) -> None:
        self._url = url.rstrip("/")
        self._pool = urllib3.PoolManager(retries=False)
        self._timeout = timeout
        self._headers = {"Authorization": f"Bearer {key.strip()}", "Accept": "application/json"}
        if account is not None:
            self._headers["Bounce-Account"] = account  # an operator's key speaks for the account that it names

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.clear()

    def register(self, *sends: Send) -> Registered:
        """Register what was sent; look at `refused` in the answer, the others are kept."""
        return self.register_all(sends)

    def register_all(self, sends: Iterable[Send]) -> Registered:
        """Register any number of sends, 10,000 a request."""
        rest = iter(sends)
        done: dict[str, Any] = {"registered": 0, "refused": [], "unknown_inboxes": [], "notices_looked_at_again": 0}
        first = 0
        while chunk := list(islice(rest, AT_ONCE)):
            lines = "\n".join(send.model_dump_json(by_alias=True, exclude_none=True) for send in chunk)
            got = self._ask("POST", "/v1/sends", lines.encode(), kind="application/x-ndjson")
            done["registered"] += got["registered"]
            done["notices_looked_at_again"] += got["notices_looked_at_again"]
            done["refused"] += [each | {"row": each["row"] + first} for each in got["refused"]]
            done["unknown_inboxes"] = sorted({*done["unknown_inboxes"], *got["unknown_inboxes"]})
            first += len(chunk)
        return Registered.model_validate(done)

    def email_status(self, addresses: Iterable[str]) -> dict[str, EmailStatus]:
        """Return whether addresses may be written to, by address."""
        rest = iter(dict.fromkeys(addresses))
        found: dict[str, EmailStatus] = {}
        while chunk := list(islice(rest, ADDRESSES)):
            rows = self._post("/v1/email-status", {"addresses": chunk}, again=True)["data"]
            found |= {row["address"]: EmailStatus.model_validate(row) for row in rows}
        return found

    def timeline(self, contact_id: str) -> Iterator[Entry]:
        """Yield the bounces on a contact's timeline, oldest record first."""
        for row in self._pages(f"/v1/contacts/{quote(contact_id, safe='')}/timeline"):
            yield Entry.model_validate(row)

    def bounces(self) -> Iterator[Entry]:
        """Yield all bounces of the account, oldest record first."""
        for row in self._pages("/v1/bounces"):
            yield Entry.model_validate(row)

    def inboxes(self) -> list[InboxEntry]:
        """Return all inboxes with their health."""
        return [InboxEntry.model_validate(row) for row in self._ask("GET", "/v1/inboxes")["data"]]

    def events(self, after: str | None = None, *, wait: int = WAIT) -> Iterator[tuple[list[Event], str]]:
        """Yield what happened, for ever: events, oldest first, and the position to keep once they are worked off.

        At least once: drop repeats by `event.id`.
        """
        while True:
            query = {"wait": wait, **({"after": after} if after else {})}
            got = self._ask("GET", f"/v1/events?{urlencode(query)}", timeout=wait + 30.0)
            after = str(got["next"])
            if got["data"]:
                yield [_event(data) for data in got["data"]], after

    def unbounce(self, address: str, why: str) -> str:
        """Lift all bounces of an address that stand; return the decision's id, by which it can be taken back."""
        return str(self._post("/v1/unbounces", {"address": address, "why": why})["decision"])

    def undo(self, decision: str, why: str) -> None:
        """Take an un-bounce or a rejection back."""
        self._post(f"/v1/decisions/{quote(decision, safe='')}/undo", {"why": why})

    def _pages(self, path: str) -> Iterator[dict[str, Any]]:
        query = {"limit": "1000"}
        while True:
            got = self._ask("GET", f"{path}?{urlencode(query)}")
            yield from got["data"]
            if got["next"] is None:
                return
            query["after"] = got["next"]

    def _post(self, path: str, body: Mapping[str, Any], *, again: bool = False) -> Any:  # noqa: ANN401 - JSON
        tries = TRIES if again else 1
        return self._ask("POST", path, json.dumps(body).encode(), kind="application/json", tries=tries)

    def _ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        *,
        kind: str | None = None,
        timeout: float | None = None,
        tries: int = TRIES,
    ) -> Any:  # noqa: ANN401 - JSON
        headers = self._headers | ({"Content-Type": kind} if kind else {})
        limit = urllib3.Timeout(total=timeout or self._timeout)
        for turn in range(1, tries + 1):
            try:
                answer = self._pool.request(
                    method, self._url + path, body=body, headers=headers, redirect=False, timeout=limit
                )
            except urllib3.exceptions.HTTPError as error:
                if turn == tries:
                    raise ApiProblem(None, f"{self._url} can't be reached ({type(error).__name__}).") from error
                time.sleep(FIRST_WAIT * 2**turn)
                continue
            if answer.status in NOT_NOW and turn < tries:
                time.sleep(_wait(answer, turn))
                continue
            return _told(answer)
        raise AssertionError("a loop of at least one turn returns or raises")


def _wait(answer: urllib3.BaseHTTPResponse, turn: int) -> float:
    asked = answer.headers.get("Retry-After", "")
    return min(float(asked) if asked.isdecimal() else FIRST_WAIT * 2**turn, LONGEST_WAIT)


def _told(answer: urllib3.BaseHTTPResponse) -> Any:  # noqa: ANN401 - JSON
    """Return what an answer says. Raises `ApiProblem` where that is a problem, or isn't ours to say."""
    try:
        said = json.loads(answer.data) if answer.data else {}
    except ValueError:
        said = None
    if answer.status >= 300:
        detail = said.get("detail") if isinstance(said, dict) else None
        raise ApiProblem(answer.status, str(detail or f"The API answered {answer.status}."))
    if not isinstance(said, dict):
        raise ApiProblem(answer.status, "What answers there isn't bounce-worker's API: look at its address.")
    return said
