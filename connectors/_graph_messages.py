"""The questions about messages: what came to a folder, what lies in it, what one message is, what was sent."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from connectors._graph_cursor import Backlog, Place
from connectors._graph_http import GraphSession, TooLarge
from connectors._graph_items import EXPAND, SELECT, SENT_EXPAND, SENT_SELECT, Entry
from connectors.base import Fetched, MessageRef
from connectors.errors import Misconfigured, Unavailable

PAGE: Final = 100
"""Messages that one request asks for."""

SMALLER_PAGES: Final = (10, 1)
"""How many it asks for instead where their headers are too large for one answer."""

TOP: Final = 1_000
"""The largest page of a listing (https://learn.microsoft.com/graph/api/user-list-messages)."""

SENT: Final = "sentitems"

SENT_PAGES: Final = 20
"""How many pages of what was sent are read at most, should the server send small ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """One page of a delta query: what came, and the link that goes on from there; `is_over` at the end of a round."""

    entries: tuple[Entry, ...]
    link: str
    is_over: bool


class Messages:
    """Asks about the messages of one mailbox."""

    def __init__(self, session: GraphSession) -> None:
        self._session = session

    def changes(self, place: Place) -> Changes:
        """Ask what came to a folder. Raises `MessageGone` where there is no such folder, and `CursorExpired`."""
        # Options are for the first request; links already hold them (https://learn.microsoft.com/graph/api/message-delta).
        link = place.link or self._session.path(
            *("mailFolders", place.folder, "messages", "delta"),
            changeType="created",
            select=SELECT,
            expand=EXPAND,
            filter=f"receivedDateTime ge {_literal(place.since)}",
        )
        page = self._in_one_answer(lambda size: self._session.json(link, page_size=size))
        created = (each for each in self._entries(page) if "@removed" not in each)
        after, end = page.get("@odata.nextLink"), page.get("@odata.deltaLink")
        found = end if isinstance(end, str) else after
        if not isinstance(found, str):
            raise self._session.nonsense()
        if not self._session.is_own(found):
            raise Misconfigured("Microsoft Graph's links lead to another address, which isn't followed: correct api.")
        return Changes(entries=tuple(created), link=found, is_over=found is end)

    def listing(self, folder: str, backlog: Backlog) -> tuple[tuple[Entry, ...], bool]:
        """List what a folder holds, oldest first; tell whether that was all. Raises `MessageGone`, as above."""
        known = len(backlog.tail)
        if known >= TOP:
            raise Unavailable("More messages came within a second than can be told apart; it will be tried again.")

        def ask(size: int) -> Mapping[str, Any]:
            return self._session.json(
                self._session.path(
                    *("mailFolders", folder, "messages"),
                    filter=f"receivedDateTime ge {_literal(backlog.since)}",
                    orderby="receivedDateTime",
                    top=str(min(size + known, TOP)),
                    select=SELECT,
                    expand=EXPAND,
                )
            )

        page = self._in_one_answer(ask)
        return self._entries(page), not isinstance(page.get("@odata.nextLink"), str)

    def one(self, message: str) -> Entry:
        """Ask for what is known of one message. Raises `MessageGone`."""
        answer = self._session.json(self._session.path("messages", message, select=SELECT, expand=EXPAND))
        return self._entries({"value": [answer]})[0]

    def content(self, ref: MessageRef, max_bytes: int) -> Fetched:
        """Ask for a message's MIME form. Raises `MessageGone`."""
        answer = self._session.content(self._session.path("messages", ref, "$value"), max_bytes)
        return Fetched(raw=answer.body[:max_bytes], truncated=answer.truncated or len(answer.body) > max_bytes)

    def last_sent(self, since: datetime, until: datetime, limit: int) -> list[Entry]:
        """List what was sent between two moments, the latest first. Raises `MessageGone` where nothing ever was."""
        begin = since.astimezone(UTC).replace(microsecond=0)
        end = until.astimezone(UTC).replace(microsecond=0) + timedelta(seconds=1)
        link: object = self._session.path(
            *("mailFolders", SENT, "messages"),
            filter=f"sentDateTime ge {_literal(begin)} and sentDateTime le {_literal(end)}",
            orderby="sentDateTime desc",
            top=str(PAGE),
            select=SENT_SELECT,
            expand=SENT_EXPAND,
        )
        found: dict[str, Entry] = {}
        for _ in range(SENT_PAGES):
            page, known = self._session.json(str(link)), len(found)
            found |= {each["id"]: each for each in self._entries(page)}
            link = page.get("@odata.nextLink")
            if len(found) == known or len(found) >= limit or not isinstance(link, str):
                break
        return list(found.values())[:limit]

    def _in_one_answer(self, ask: Callable[[int], Mapping[str, Any]]) -> Mapping[str, Any]:
        *larger, smallest = PAGE, *SMALLER_PAGES
        for size in larger:
            try:
                return ask(size)
            except TooLarge:
                continue
        return ask(smallest)

    def _entries(self, page: Mapping[str, Any]) -> tuple[Entry, ...]:
        found = page.get("value")
        if not isinstance(found, Sequence) or isinstance(found, str):
            raise self._session.nonsense()
        for each in found:
            if not isinstance(each, dict) or not isinstance(each.get("id"), str) or not each["id"]:
                raise self._session.nonsense()
        return tuple(found)


def _literal(at: datetime | str) -> str:
    """Write a moment as OData does, in UTC and whole seconds."""
    moment = datetime.fromisoformat(at) if isinstance(at, str) else at
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="seconds") + "Z"
