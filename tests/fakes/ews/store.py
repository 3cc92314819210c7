"""A mailbox for the fake Exchange server: folders, items, and a log of changes that sync states point into."""

import base64
import binascii
import bisect
import hashlib
import itertools
import json
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email import message_from_string
from email.message import Message


@dataclass
class Item:
    id: str
    raw: bytes
    received: datetime
    seq: int
    folder: str = ""
    is_read: bool = False


def header(raw: bytes) -> Message:
    return message_from_string(raw.partition(b"\r\n\r\n")[0].decode("utf-8", "replace") + "\r\n\r\n")


def item_class(message: Message) -> str:
    content_type = " ".join(message.get("Content-Type", "").lower().split())
    is_report = "multipart/report" in content_type and "delivery-status" in content_type
    return "REPORT.IPM.Note.NDR" if is_report else "IPM.Note"


@dataclass
class Folder:
    id: str
    name: str
    word: str = ""
    parent: str = "root"
    folder_class: str = "IPF.Note"
    items: dict[str, Item] = field(default_factory=dict)
    log: list[tuple[int, str, str]] = field(default_factory=list)


class BadSyncState(Exception):
    """The state isn't one of this folder, or not of this epoch."""


class Store:
    """One mailbox. Ids are as long as Exchange's, and depend on the folder as Exchange's do."""

    def __init__(self, address: str = "alice@sender.test") -> None:
        self.address = address
        self.lock = threading.RLock()
        self.epoch = 1
        self.touched = 0
        self._numbers = itertools.count(1)
        self.folders: dict[str, Folder] = {}
        for word, name in (("inbox", "Inbox"), ("junkemail", "Junk Email"), ("sentitems", "Sent Items")):
            self.add_folder(name, word)

    def add_folder(self, name: str, word: str = "", parent: str = "root", folder_class: str = "IPF.Note") -> Folder:
        folder = Folder(self._id("folder", 120), name, word, parent, folder_class)
        self.folders[folder.id] = folder
        return folder

    def folder(self, name: str) -> Folder:
        """Find a folder by id, well-known word or name."""
        for each in self.folders.values():
            if name in (each.id, each.word, each.name):
                return each
        raise KeyError(name)

    def deliver(self, raw: bytes, folder: str = "inbox", at: datetime | None = None) -> Item:
        with self.lock:
            received = (at or datetime.now(UTC)).astimezone(UTC)
            return self._put(Item("", raw, received, 0), self.folder(folder))

    def move(self, item: Item, folder: str) -> Item:
        with self.lock:
            self.delete(item)
            return self._put(item, self.folder(folder))

    def delete(self, item: Item) -> None:
        with self.lock:
            folder = self.folders[item.folder]
            del folder.items[item.id]
            folder.log.append((next(self._numbers), "Delete", item.id))

    def mark_read(self, item: Item) -> None:
        with self.lock:
            item.is_read = True
            self.folders[item.folder].log.append((next(self._numbers), "ReadFlagChange", item.id))

    def update(self, item: Item) -> None:
        with self.lock:
            self.folders[item.folder].log.append((next(self._numbers), "Update", item.id))

    def expire_sync_states(self) -> None:
        self.epoch += 1

    def find(self, item_id: str) -> Item | None:
        return next((each.items[item_id] for each in self.folders.values() if item_id in each.items), None)

    def changes(self, folder: Folder, state: str | None, limit: int) -> tuple[list[tuple[str, str]], str, bool]:
        """Return (kind, item id) of the next changes, the state after them, and whether these were all."""
        start = self._read_state(folder, state)
        changes: list[tuple[str, str]] = []
        end = start
        for seq, kind, item_id in folder.log[bisect.bisect_right(folder.log, (start, "~", "")) :]:
            if len(changes) == limit:
                return changes, self._state(folder, end), False
            end = seq
            item = folder.items.get(item_id)
            if kind == "Delete":
                if state:
                    changes.append((kind, item_id))
            elif item is not None and (kind == "Create" or item.seq <= start):
                changes.append((kind, item_id))
        return changes, self._state(folder, end), True

    def received_since(self, folder: Folder, since: datetime | None) -> list[Item]:
        found = (each for each in folder.items.values() if since is None or each.received >= since)
        return sorted(found, key=lambda each: (each.received, each.seq))

    def _put(self, item: Item, folder: Folder) -> Item:
        seq = next(self._numbers)
        placed = Item(self._id("item", 152), item.raw, item.received, seq, folder.id, item.is_read)
        folder.items[placed.id] = placed
        folder.log.append((seq, "Create", placed.id))
        return placed

    def _id(self, kind: str, length: int) -> str:
        seed = f"{self.address} {kind} {next(self._numbers)}".encode()
        return "AAMk" + base64.b64encode(hashlib.shake_128(seed).digest(length)).decode()[: length - 4]

    def _state(self, folder: Folder, seq: int) -> str:
        return base64.b64encode(json.dumps([folder.id, self.epoch, seq]).encode()).decode()

    def _read_state(self, folder: Folder, state: str | None) -> int:
        if not state:
            return 0
        try:
            folder_id, epoch, seq = json.loads(base64.b64decode(state))
        except (ValueError, binascii.Error) as error:
            raise BadSyncState from error
        if (folder_id, epoch) != (folder.id, self.epoch):
            raise BadSyncState
        return int(seq)


def paged(items: list, offset: int, count: int) -> tuple[list, bool]:
    return items[offset : offset + count], offset + count >= len(items)
