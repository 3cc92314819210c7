"""What we ask of a mailbox: a question each, answered in our own values. All read-only."""

import base64
import binascii
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from exchangelib import errors as ews
from exchangelib.fields import FieldOrder
from exchangelib.properties import ItemId
from exchangelib.util import create_element

import connectors._exchange_items as items
import connectors._exchange_substitute as substitute
from connectors._exchange_errors import NotEws, TooLarge
from connectors._exchange_folders import SENT, folder_id
from connectors._exchange_http import ExchangeSession
from connectors._exchange_services import FindItem, GetItem, M, Mailbox, SyncFolderItems, T
from connectors.base import Envelope, Fetched, MessageRef
from connectors.errors import CursorExpired, MessageGone

EPOCH: Final = datetime(1970, 1, 2, tzinfo=UTC)

_LOST_PLACE: Final = (
    ews.ErrorInvalidSyncStateData,
    ews.ErrorSyncFolderNotFound,
    ews.ErrorFolderNotFound,
    ews.ErrorItemNotFound,
    ews.ErrorInvalidIdMalformed,
    ews.ErrorInvalidId,
    ews.ErrorParentFolderNotFound,
)
_GONE: Final = (
    ews.ErrorItemNotFound,
    ews.ErrorInvalidIdMalformed,
    ews.ErrorInvalidId,
    ews.ErrorInvalidIdEmpty,
    ews.ErrorInvalidIdXml,
    ews.ErrorInvalidIdMonikerTooLong,
    ews.ErrorInvalidIdStoreObjectIdTooLong,
    ews.ErrorObjectTypeChanged,
)
_SICK: Final = (
    ews.ErrorItemCorrupt,
    ews.ErrorCorruptData,
    ews.ErrorMimeContentConversionFailed,
    ews.ErrorContentConversionFailed,
    ews.ErrorInvalidPropertyRequest,
    ews.ErrorUnsupportedMimeConversion,
)
_ITEM_ID: Final = re.compile(r"[A-Za-z0-9+/=_-]{16,1000}")
_CONTENT: Final = re.compile(rb"<(?:\w+:)?MimeContent(?:\s[^<>]*)?>([A-Za-z0-9+/=\s]*)")
_ROOM: Final = 64 * 1024
"""What an answer may hold beside the message itself, in bytes."""


@dataclass(frozen=True, slots=True)
class Changes:
    """One page of a folder's changes: what was put there, and the sync state that covers it."""

    created: tuple[str, ...]
    state: str
    is_last: bool
    count: int


@dataclass(frozen=True, slots=True)
class Listed:
    """One page of a folder's listing, oldest first: ids with the moments of their arrival."""

    rows: tuple[tuple[str, datetime | None], ...]
    is_last: bool


class _Arrived:
    """A restriction to what arrived between two moments, as exchangelib takes it."""

    def __init__(self, since: datetime, until: datetime | None = None) -> None:
        self._since = since
        self._until = until

    def to_xml(self, version: object) -> Any:  # noqa: ANN401, ARG002 - lxml ships no types; exchangelib hands it over
        restriction = create_element("m:Restriction")
        condition = _compared("t:IsGreaterThanOrEqualTo", self._since)
        if self._until is not None:
            both = create_element("t:And")
            both.append(condition)
            both.append(_compared("t:IsLessThanOrEqualTo", self._until))
            condition = both
        restriction.append(condition)
        return restriction


class Questions:
    """Asks about one mailbox."""

    def __init__(self, session: ExchangeSession) -> None:
        self._session = session
        self.mailbox = Mailbox(session.settings)

    def changes(self, folder: str, state: str | None, limit: int) -> Changes:
        """SyncFolderItems: ids only. Raises `CursorExpired` where the server doesn't know state or folder."""
        service = SyncFolderItems(self._session, self.mailbox)
        payload = service.get_payload(
            folder=folder_id(folder, self.mailbox.primary_smtp_address),
            shape="IdOnly",
            additional_fields=None,
            sync_state=state,
            ignore=None,
            max_changes_returned=limit,
            sync_scope=None,
        )
        with _lost_place():
            (answer,) = service.ask(payload)
            if isinstance(answer, ews.EWSError):
                raise answer
        new_state = answer.findtext(f"{M}SyncState")
        is_last = _truth(answer.findtext(f"{M}IncludesLastItemInRange"))
        changes = list(answer.iterfind(f"{M}Changes/*"))
        # A page that gets nowhere would be asked for without end.
        if not new_state or is_last is None or (not is_last and not changes and new_state == state):
            raise NotEws
        # Read flags, changes and deletions bring nothing new; what is moved here is created here.
        created = tuple(_id(change[0]) for change in changes if change.tag == f"{T}Create" and len(change))
        return Changes(created, new_state, is_last, len(changes))

    def listing(self, folder: str, since: datetime, offset: int, limit: int) -> Listed:
        """FindItem: what a folder holds and was received since, oldest first."""
        service = FindItem(self._session, self.mailbox)
        payload = service.get_payload(
            folders=[folder_id(folder, self.mailbox.primary_smtp_address)],
            additional_fields=[items.RECEIVED],
            restriction=_Arrived(since) if since > EPOCH else None,
            order_fields=[FieldOrder(items.RECEIVED)],
            query_string=None,
            shape="IdOnly",
            depth="Shallow",
            calendar_view=None,
            page_size=limit,
            offset=offset,
        )
        with _lost_place():
            (answer,) = service.ask(payload)
            if isinstance(answer, ews.EWSError):
                raise answer
        root = answer.find(f"{M}RootFolder")
        is_last = None if root is None else _truth(root.get("IncludesLastItemInRange"))
        if root is None or is_last is None:
            raise NotEws
        rows = tuple((_id(item), items.received_at(item)) for item in root.iterfind(f"{T}Items/*"))
        if not rows and not is_last:
            raise NotEws  # it says that there is more, and gives nothing
        return Listed(rows, is_last)

    def last_sent(self, since: datetime, until: datetime, limit: int) -> list[str]:
        """FindItem in Sent Items: the newest ids between two moments. Nothing where there is no such folder."""
        service = FindItem(self._session, self.mailbox)
        payload = service.get_payload(
            folders=[folder_id(SENT, self.mailbox.primary_smtp_address)],
            additional_fields=None,
            restriction=_Arrived(max(since, EPOCH), max(until, EPOCH)),
            order_fields=[FieldOrder(items.RECEIVED, reverse=True)],
            query_string=None,
            shape="IdOnly",
            depth="Shallow",
            calendar_view=None,
            page_size=limit,
            offset=0,
        )
        try:
            (answer,) = service.ask(payload)
        except _LOST_PLACE:
            return []
        if isinstance(answer, _LOST_PLACE):
            return []
        if isinstance(answer, ews.EWSError):
            raise answer
        return [_id(item) for item in answer.iterfind(f"{M}RootFolder/{T}Items/*")][:limit]

    def envelopes(self, refs: Sequence[str], shape: Sequence[Any] = items.ENVELOPE) -> Iterator[Envelope]:
        """GetItem, all in one: the envelopes of those messages that are still there.

        A message whose properties can't be had is told without: nothing then speaks against downloading it.
        """
        if not refs:
            return
        try:
            answers = self._properties(refs, shape)
        except TooLarge:
            if len(refs) == 1:
                yield Envelope(ref=MessageRef(refs[0]))
                return
            half = len(refs) // 2
            yield from self.envelopes(refs[:half], shape)
            yield from self.envelopes(refs[half:], shape)
            return
        for ref, answer in zip(refs, answers, strict=True):
            if isinstance(answer, _GONE):
                continue
            if isinstance(answer, _SICK):
                yield Envelope(ref=MessageRef(ref))
            elif isinstance(answer, ews.EWSError):
                raise answer
            else:
                yield items.envelope(ref, _item(answer))

    def content(self, ref: str, max_bytes: int) -> Fetched:
        """GetItem with the message as MIME. Of a large one no more is read than we need. Raises `MessageGone`."""
        if not _ITEM_ID.fullmatch(ref):
            raise MessageGone("This reference names no message of an Exchange mailbox.")
        service = GetItem(self._session, self.mailbox)
        payload = service.get_payload(items=[ItemId(id=ref)], additional_fields=[items.CONTENT], shape="IdOnly")
        limit = (max_bytes + 3) // 3 * 4 + _ROOM  # base64
        answer = self._session.post(service.question(payload), limit, partial=True)
        if not answer.complete:
            return Fetched(raw=_beginning(answer.body, max_bytes), truncated=True)
        try:
            (message,) = service.read(answer, 1)
        except _GONE as error:
            raise MessageGone("This message was deleted or moved.") from error
        if isinstance(message, _GONE):
            raise MessageGone("This message was deleted or moved.") from message
        if isinstance(message, _SICK):
            return self._substitute(ref, max_bytes)
        if isinstance(message, ews.EWSError):
            raise message
        text = _item(message).findtext(f"{T}MimeContent")
        if text is None:
            raise NotEws
        try:
            raw = base64.b64decode("".join(text.split()), validate=True)
        except binascii.Error as error:
            raise NotEws from error
        return Fetched(raw=raw[:max_bytes], truncated=len(raw) > max_bytes)

    def _substitute(self, ref: str, max_bytes: int) -> Fetched:
        """Return what can be had of a message that has no MIME; where nothing can, it is passed over.

        Waiting wouldn't help it, and an error that says so would keep all other messages waiting with it.
        """
        (answer,) = self._properties([ref], substitute.SHAPE)
        if isinstance(answer, (*_GONE, *_SICK)):
            raise MessageGone("Exchange can't read this message itself: it is passed over.") from answer
        if isinstance(answer, ews.EWSError):
            raise answer
        raw = substitute.compose(ref, _item(answer))
        return Fetched(raw=raw[:max_bytes], truncated=len(raw) > max_bytes)

    def _properties(self, refs: Sequence[str], shape: Sequence[Any]) -> list[Any]:
        service = GetItem(self._session, self.mailbox)
        payload = service.get_payload(items=[ItemId(id=ref) for ref in refs], additional_fields=shape, shape="IdOnly")
        answers: list[Any] = service.ask(payload, len(refs))
        return answers


def _compared(operator: str, moment: datetime) -> Any:  # noqa: ANN401 - lxml ships no types
    comparison = create_element(operator)
    comparison.append(items.RECEIVED.to_xml())
    constant = create_element("t:FieldURIOrConstant")
    value = moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    constant.append(create_element("t:Constant", attrs={"Value": value}))
    comparison.append(constant)
    return comparison


@contextmanager
def _lost_place() -> Iterator[None]:
    try:
        yield
    except _LOST_PLACE as error:
        raise CursorExpired("The server no longer knows where reading stopped: recent mail is read again.") from error


def _item(answer: Any) -> Any:  # noqa: ANN401 - lxml ships no types
    found = answer.find(f"{M}Items")
    if found is None or len(found) != 1:
        raise NotEws
    return found[0]


def _id(item: Any) -> str:  # noqa: ANN401
    found = items.item_id(item)
    if not found:
        raise NotEws  # to pass over it would be to lose a message
    return found


def _truth(text: str | None) -> bool | None:
    return {"true": True, "1": True, "false": False, "0": False}.get((text or "").strip().lower())


def _beginning(body: bytes, max_bytes: int) -> bytes:
    """Return the first bytes of a message out of an answer that we stopped reading."""
    found = _CONTENT.search(body)
    if found is None:
        raise NotEws
    text = b"".join(found[1].split())
    try:
        raw = base64.b64decode(text[: len(text) // 4 * 4])
    except binascii.Error as error:
        raise NotEws from error
    if len(raw) <= max_bytes:
        raise TooLarge(len(body))  # it isn't the message that is large
    return raw[:max_bytes]
