"""What we ask Gmail, and what its answers say (https://developers.google.com/workspace/gmail/api/reference/rest)."""

import base64
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from connectors._gmail_cursor import HISTORY_ID, MESSAGE_ID
from connectors._gmail_errors import Refusal, Refused, meaning
from connectors._gmail_http import BATCH, GmailSession, TooLarge
from connectors._headers import HEADER_LIMIT
from connectors.base import Envelope, Fetched, MessageRef
from connectors.errors import CursorExpired, MessageGone, Unavailable

IDS: Final = 500
"""Messages in one page of a listing, and records in one of the history: the most that Gmail gives."""

ME: Final = "me"
"""Whoever has signed in."""

OWN: Final = frozenset({"DRAFT", "CHAT"})
RECEIVED: Final = frozenset({"INBOX", "SPAM"})

_FOLD: Final = re.compile(r"\r?\n(?=[ \t])")  # RFC 5322, 2.2.3
_RAW: Final = re.compile(rb'"raw"\s*:\s*"([A-Za-z0-9_-]*)')
_BESIDES: Final = 1024
"""What an answer has besides the message itself, in bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One page of a listing or of the history: messages with their threads, and the token of the page after it."""

    messages: Mapping[str, str]
    next_page: str | None
    history: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """A message's envelope, and what else tells whether it is wanted."""

    envelope: Envelope
    labels: frozenset[str] = frozenset()
    history: int = 0


class Questions:
    """Each method is one request, or as many batches as needed; made inside of `GmailSession.use`."""

    def __init__(self, session: GmailSession) -> None:
        self._session = session
        # By its address, so that a sign-in that leads to another mailbox is refused and reads nobody else's mail.
        self._mailbox = session.settings.address

    def profile(self) -> tuple[str, str]:
        """Return the mailbox's address and its history id."""
        request = self._session.client.users.getProfile(userId=ME, fields="emailAddress,historyId")
        answer = self._session.ask(request)
        return str(answer.get("emailAddress", "")), _history_id(answer)

    def history(self, start: str, page: str) -> Found:
        """Return the messages that were added since; not those that we know to be our own. Raises `CursorExpired`."""
        request = self._session.client.history.list(
            userId=self._mailbox,
            startHistoryId=start,
            historyTypes=["messageAdded"],
            maxResults=IDS,
            fields="history(messagesAdded(message(id,threadId,labelIds))),nextPageToken,historyId",
            **({"pageToken": page} if page else {}),
        )
        try:
            answer = self._session.ask(request)
        except Refused as refused:
            if refused.refusal.status == 404:
                raise CursorExpired(
                    "Gmail no longer knows where reading stopped: the inbox's recent mail is read again."
                ) from None
            raise
        added = [each for record in _listed(answer, "history") for each in _listed(record, "messagesAdded")]
        messages = [each["message"] for each in added if isinstance(each.get("message"), Mapping)]
        return Found(
            messages=_threads(each for each in messages if not is_own(_labels(each))),
            next_page=_next_page(answer, page),
            history=_history_id(answer),
        )

    def messages(self, query: str, page: str = "", *, everywhere: bool = True) -> Found:
        """Return messages that a search finds, newest first; `everywhere` means in spam and trash too."""
        request = self._session.client.messages.list(
            userId=self._mailbox,
            includeSpamTrash=everywhere,
            maxResults=IDS,
            fields="messages(id,threadId),nextPageToken",
            **({"q": query} if query else {}),
            **({"pageToken": page} if page else {}),
        )
        answer = self._session.ask(request)
        return Found(messages=_threads(_listed(answer, "messages")), next_page=_next_page(answer, page))

    def headers(self, refs: Sequence[str], wanted: Sequence[str]) -> Iterator[tuple[str, Looked | Refusal]]:
        """Yield each message's headers, or why they can't be had; nothing for those that are gone."""
        for start in range(0, len(refs), BATCH):
            yield from self._headers(refs[start : start + BATCH], wanted)

    def _headers(self, refs: Sequence[str], wanted: Sequence[str]) -> Iterator[tuple[str, Looked | Refusal]]:
        requests = [
            self._session.client.messages.get(
                userId=self._mailbox,
                id=ref,
                format="metadata",
                metadataHeaders=list(wanted),
                fields="id,threadId,labelIds,historyId,internalDate,sizeEstimate,payload(headers)",
            )
            for ref in refs
        ]
        try:
            answers = self._session.ask_each(requests)
        except TooLarge:
            # No sender may keep the others' mail from being read: where its header is too large, it has none.
            if len(refs) == 1:
                yield refs[0], Looked(envelope=Envelope(ref=MessageRef(refs[0])))
                return
            half = len(refs) // 2
            yield from self._headers(refs[:half], wanted)
            yield from self._headers(refs[half:], wanted)
            return
        for ref, answer in zip(refs, answers, strict=True):
            if not isinstance(answer, Refusal):
                yield ref, _looked(ref, answer, wanted)
            elif answer.is_for_later:
                yield ref, answer
            elif answer.status not in (400, 404, 410):
                raise meaning(answer, self._session.settings)

    def content(self, ref: MessageRef, max_bytes: int) -> Fetched:
        """Return the first bytes of a message, and read no more of the answer than they take."""
        gone = MessageGone("The message is no longer in the mailbox.")
        if not MESSAGE_ID.fullmatch(ref):
            raise gone
        request = self._session.client.messages.get(
            userId=self._mailbox, id=ref, format="raw", fields="sizeEstimate,raw"
        )
        request.postproc = lambda _, body: {"raw": _raw(body)}
        limit = (max_bytes + 3) // 3 * 4 + 4 + _BESIDES
        try:
            raw = self._session.ask(request, limit, cut=True)["raw"]
        except Refused as refused:
            if refused.refusal.status in (400, 404, 410) and not refused.refusal.reasons & {"failedPrecondition"}:
                raise gone from None
            raise
        return Fetched(raw=raw[:max_bytes], truncated=len(raw) > max_bytes)

    def labels(self) -> list[Mapping[str, Any]]:
        """Return the mailbox's labels: names and kinds, no counts."""
        request = self._session.client.labels.list(userId=self._mailbox, fields="labels(id,name,type)")
        return _listed(self._session.ask(request), "labels")

    def counts(self, names: Sequence[str]) -> dict[str, int]:
        """Return how many messages some labels have."""
        requests = [
            self._session.client.labels.get(userId=self._mailbox, id=name, fields="messagesTotal") for name in names
        ]
        answers = self._session.ask_each(requests) if requests else []
        return {
            name: answer["messagesTotal"]
            for name, answer in zip(names, answers, strict=True)
            if not isinstance(answer, Refusal) and isinstance(answer.get("messagesTotal"), int)
        }


def is_own(labels: frozenset[str]) -> bool:
    """Whether a message only left this mailbox, or never will. Mail to oneself is both sent and received."""
    return bool(labels & OWN) or ("SENT" in labels and not labels & RECEIVED)


def _looked(ref: str, answer: Mapping[str, Any], wanted: Sequence[str]) -> Looked:
    date, size, history = (_number(answer.get(name)) for name in ("internalDate", "sizeEstimate", "historyId"))
    thread = answer.get("threadId")
    envelope = Envelope(
        ref=MessageRef(ref),
        headers=_headers_of(answer.get("payload"), frozenset(name.lower() for name in wanted)),
        size=size,
        thread_id=thread if isinstance(thread, str) else None,
        received_at=None if date is None else _moment(date),
    )
    return Looked(envelope=envelope, labels=_labels(answer), history=history or 0)


def _headers_of(payload: object, wanted: frozenset[str]) -> dict[str, str]:
    """Return the first value of each wanted field, unfolded; see `Envelope.headers`."""
    headers: dict[str, str] = {}
    for each in _listed(payload, "headers") if isinstance(payload, Mapping) else []:
        name, value = str(each.get("name", "")).strip().lower(), each.get("value")
        if name in wanted and isinstance(value, str):
            headers.setdefault(name, _FOLD.sub("", value[:HEADER_LIMIT]).strip())
    return headers


def _moment(milliseconds: int) -> datetime | None:
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _raw(body: bytes) -> bytes:
    """Return the message in an answer, which may be cut off anywhere."""
    try:
        coded = str(json.loads(body)["raw"]).encode("ascii").rstrip(b"=")
    except (ValueError, LookupError, TypeError):
        found = _RAW.search(body)
        if found is None:
            raise ValueError from None
        coded = found[1]
    coded = coded[: len(coded) - 1] if len(coded) % 4 == 1 else coded
    return base64.urlsafe_b64decode(coded + b"=" * (-len(coded) % 4))


def _history_id(answer: Mapping[str, Any]) -> str:
    found = answer.get("historyId")
    if not isinstance(found, str) or not HISTORY_ID.fullmatch(found):
        raise Unavailable("Gmail tells no history id; it will be tried again.")
    return found


def _next_page(answer: Mapping[str, Any], page: str) -> str | None:
    found = answer.get("nextPageToken")
    if not isinstance(found, str) or not found:
        return None
    if found == page or not found.isascii():
        raise Unavailable("Gmail's pages don't get on: it names the same one again, or none; it will be tried again.")
    return found


def _threads(messages: Iterator[Mapping[str, Any]] | Sequence[Mapping[str, Any]]) -> dict[str, str]:
    named = ((str(each.get("id", "")), str(each.get("threadId", ""))) for each in messages)
    return {ref: thread for ref, thread in named if MESSAGE_ID.fullmatch(ref)}


def _labels(message: Mapping[str, Any]) -> frozenset[str]:
    found = message.get("labelIds")
    return frozenset(str(each) for each in found) if isinstance(found, list) else frozenset()


def _listed(answer: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    found = answer.get(name)
    return [each for each in found if isinstance(each, Mapping)] if isinstance(found, list) else []


def _number(value: object) -> int | None:
    try:
        return int(value) if isinstance(value, str | int) else None
    except ValueError:
        return None
