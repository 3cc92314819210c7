"""A mailbox for the fake Microsoft Graph: a tree of folders, messages, and a log of what came to each folder."""

import base64
import hashlib
import itertools
import secrets
import threading
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email import message_from_string
from email.message import Message

FILTERED_LIMIT = 5_000
"""How many messages a filtered delta round tells (learn.microsoft.com/graph/delta-query-messages): no more, and no word
of it."""


@dataclass
class Item:
    """A message. `immutable` names it wherever it lies; `legacy` only as long as it stays in its folder."""

    raw: bytes
    received: datetime
    immutable: str
    legacy: str = ""
    folder: str = ""
    seq: int = 0
    item_class: str = "IPM.Note"
    has_headers: bool = True
    is_read: bool = False


@dataclass
class Folder:
    id: str
    name: str
    word: str = ""
    parent: str = "root"
    is_search: bool = False
    items: dict[str, Item] = field(default_factory=dict)
    log: list[tuple[int, str, str]] = field(default_factory=list)


@dataclass(frozen=True)
class Round:
    """What a state token stands for: the place in a round (`waiting`), or after it, and the options it began with."""

    folder: str
    epoch: int
    end: int
    options: tuple[tuple[str, str], ...]
    waiting: tuple[str, ...] | None = None
    told_last: str = ""
    empty_pages: int = 0


class BadState(Exception):
    """The token isn't one of this folder, or has expired."""


def header(raw: bytes) -> Message:
    return message_from_string(raw.partition(b"\r\n\r\n")[0].decode("utf-8", "replace") + "\r\n\r\n")


def item_class(raw: bytes) -> str:
    """Tell what Exchange makes of a message on import (MS-OXCMAIL, 2.2.3.7)."""
    content_type = " ".join(header(raw).get("Content-Type", "").lower().split())
    is_report = "multipart/report" in content_type and "delivery-status" in content_type
    return "REPORT.IPM.Note.NDR" if is_report else "IPM.Note"


class Store:
    """One mailbox. `repeats` tells messages twice in a round; `empty_pages` come before each page of messages."""

    def __init__(self, address: str = "alice@sender.test") -> None:
        self.address = address
        self.lock = threading.RLock()
        self.epoch = 1
        self.filtered_limit = FILTERED_LIMIT
        self.repeats = False
        self.empty_pages = 0
        self._numbers = itertools.count(1)
        self._rounds: dict[str, Round] = {}
        self.folders: dict[str, Folder] = {}
        for word, name in (
            ("inbox", "Inbox"),
            ("junkemail", "Junk Email"),
            ("archive", "Archive"),
            ("sentitems", "Sent Items"),
            ("deleteditems", "Deleted Items"),
        ):
            self.add_folder(name, word)

    def add_folder(self, name: str, word: str = "", parent: str = "root", *, is_search: bool = False) -> Folder:
        folder = Folder(self._id("AQMk", 120), name, word, parent, is_search)
        self.folders[folder.id] = folder
        return folder

    def remove_folder(self, name: str) -> None:
        del self.folders[self.folder(name).id]

    def folder(self, name: str) -> Folder:
        """Find a folder by id, well-known word or name."""
        for each in self.folders.values():
            if name in (each.id, each.word, each.name):
                return each
        raise KeyError(name)

    def children(self, parent: str) -> list[Folder]:
        return [each for each in self.folders.values() if each.parent == parent]

    def deliver(
        self, raw: bytes, folder: str = "inbox", at: datetime | None = None, *, has_headers: bool = True
    ) -> Item:
        with self.lock:
            received = (at or datetime.now(UTC)).astimezone(UTC).replace(microsecond=0)
            item = Item(raw, received, self._id("AAkA", 100), item_class=item_class(raw), has_headers=has_headers)
            return self._put(item, self.folder(folder))

    def move(self, item: Item, folder: str) -> Item:
        with self.lock:
            self.delete(item)
            return self._put(item, self.folder(folder))

    def delete(self, item: Item) -> None:
        with self.lock:
            folder = self.folders[item.folder]
            del folder.items[item.immutable]
            folder.log.append((next(self._numbers), "deleted", item.immutable))

    def mark_read(self, item: Item) -> None:
        with self.lock:
            item.is_read = True
            self.folders[item.folder].log.append((next(self._numbers), "updated", item.immutable))

    def expire(self) -> None:
        self.epoch += 1

    def find(self, item_id: str, *, immutable: bool) -> Item | None:
        for folder in self.folders.values():
            for item in folder.items.values():
                if item_id == (item.immutable if immutable else item.legacy):
                    return item
        return None

    def begin(self, folder: Folder, options: dict[str, str], since: datetime | None) -> Round:
        """Begin the first round: all that the folder holds, in no order that anybody could rely on."""
        found = [each for each in folder.items.values() if since is None or each.received >= since]
        found.sort(key=lambda each: hashlib.md5(each.immutable.encode()).digest())
        if since is not None:
            found = found[: self.filtered_limit]
        waiting = tuple(each.immutable for each in found)
        return Round(
            folder.id, self.epoch, next(self._numbers), tuple(options.items()), waiting, empty_pages=self.empty_pages
        )

    def resume(self, token: str, folder: Folder, since_of) -> Round:
        """Return the round that a token stands for; a new one where the last is over."""
        state = self._rounds.get(token)
        if state is None or state.epoch != self.epoch or state.folder != folder.id:
            raise BadState
        if state.waiting is not None:
            return state
        since, kind = since_of(dict(state.options)), dict(state.options).get("changeType")
        changed: dict[str, None] = {}
        for seq, what, item_id in folder.log:
            item = folder.items.get(item_id)
            if seq <= state.end or (kind and what != kind):
                continue
            if what == "deleted" or (item is not None and (since is None or item.received >= since)):
                changed[item_id] = None
        waiting = tuple(changed)[: self.filtered_limit if since else None]
        return replace(state, end=next(self._numbers), waiting=waiting, empty_pages=self.empty_pages)

    def take(self, state: Round, count: int) -> tuple[list[str], Round]:
        """Return the ids of the next page, and the state after it."""
        assert state.waiting is not None
        if state.empty_pages:
            return [], replace(state, empty_pages=state.empty_pages - 1)
        page, rest = list(state.waiting[:count]), state.waiting[count:]
        repeated = [state.told_last] if self.repeats and state.told_last else []
        after = replace(state, waiting=rest or None, told_last=page[-1] if page else "", empty_pages=self.empty_pages)
        return [*repeated, *page, *(page[:1] if self.repeats else [])], after

    def token(self, state: Round) -> str:
        token = secrets.token_urlsafe(48)
        self._rounds[token] = state
        return token

    def listed(self, folder: Folder) -> list[Item]:
        return sorted(folder.items.values(), key=lambda each: (each.received, each.seq))

    def _put(self, item: Item, folder: Folder) -> Item:
        item.seq, item.folder, item.legacy = next(self._numbers), folder.id, self._id("AAMk", 152)
        folder.items[item.immutable] = item
        folder.log.append((item.seq, "created", item.immutable))
        return item

    def _id(self, prefix: str, length: int) -> str:
        seed = f"{self.address} {prefix} {next(self._numbers)}".encode()
        return prefix + base64.urlsafe_b64encode(hashlib.shake_128(seed).digest(length)).decode()[: length - 5] + "="
