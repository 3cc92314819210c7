"""A fake mailbox: a connector over a list, for tests of what stands behind connectors."""

import json
from collections.abc import Callable
from datetime import datetime
from email import message_from_bytes

from connectors import (
    ENVELOPE_HEADERS,
    SENT_HEADERS,
    Cursor,
    Envelope,
    Fetched,
    Folder,
    FolderRole,
    MessageGone,
    MessageRef,
    Page,
)

PAGE = 3


class FakeMailbox:
    """Messages by number. `epoch` stands in their references, as UIDVALIDITY does; `broken` fails every call."""

    def __init__(self) -> None:
        self.messages: list[tuple[bytes, datetime]] = []
        self.gone: set[int] = set()
        self.epoch = 1
        self.broken: Callable[[], Exception] | None = None
        self.expired: Callable[[], Exception] | None = None
        self.fetched: list[str] = []
        self.closed = 0
        self.sent_mail: list[tuple[bytes, datetime]] = []
        self.asked_sent: list[tuple[datetime, datetime]] = []

    def deliver(self, raw: bytes, at: datetime) -> None:
        self.messages.append((raw, at))

    def poll(self, since: Cursor | datetime) -> Page:
        self._check()
        if isinstance(since, datetime):
            start, after = 0, since
        else:
            epoch, start = json.loads(since)
            after = None
            if epoch != self.epoch and self.expired:
                raise self.expired()
        page = [
            self._envelope(number)
            for number in range(start, min(start + PAGE, len(self.messages)))
            if after is None or self.messages[number][1] >= after
        ]
        end = min(start + PAGE, len(self.messages))
        cursor = Cursor(json.dumps([self.epoch, end]))
        return Page(envelopes=tuple(page), cursor=cursor, has_more=end < len(self.messages))

    def _envelope(self, number: int) -> Envelope:
        raw, at = self.messages[number]
        ref = MessageRef(f"{self.epoch}.{number}")
        return Envelope(ref=ref, headers=_headers(raw, ENVELOPE_HEADERS), size=len(raw), received_at=at)

    def folders(self) -> list[Folder]:
        self._check()
        return [Folder(name="INBOX", role=FolderRole.INBOX, messages=len(self.messages), polled=True)]

    def sent(self, since: datetime, until: datetime) -> list[Envelope]:
        self._check()
        self.asked_sent.append((since, until))
        return [
            Envelope(ref=MessageRef(f"sent.{number}"), headers=_headers(raw, SENT_HEADERS), received_at=at)
            for number, (raw, at) in enumerate(self.sent_mail)
            if since <= at <= until
        ]

    def fetch(self, ref: MessageRef, max_bytes: int) -> Fetched:
        self._check()
        self.fetched.append(ref)
        epoch, number = map(int, ref.split("."))
        if epoch != self.epoch or number in self.gone:
            raise MessageGone("The message is no longer there.")
        raw = self.messages[number][0]
        return Fetched(raw=raw[:max_bytes], truncated=len(raw) > max_bytes)

    def close(self) -> None:
        self.closed += 1

    def _check(self) -> None:
        if self.broken:
            raise self.broken()


def _headers(raw: bytes, wanted: tuple[str, ...]) -> dict[str, str]:
    message = message_from_bytes(raw)
    return {name.lower(): str(message[name]) for name in wanted if message[name] is not None}
