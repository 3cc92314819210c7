"""A fake mailbox: a connector over a list, for tests of what stands behind connectors."""

import json
from collections.abc import Callable
from datetime import datetime
from email import message_from_bytes

from connectors import ENVELOPE_HEADERS, Cursor, Envelope, Fetched, MessageGone, MessageRef, Page

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
        message = message_from_bytes(raw)
        headers = {name.lower(): str(message[name]) for name in ENVELOPE_HEADERS if message[name] is not None}
        return Envelope(ref=MessageRef(f"{self.epoch}.{number}"), headers=headers, size=len(raw), received_at=at)

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
