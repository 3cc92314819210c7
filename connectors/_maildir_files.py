"""The files of a Maildir, as they lie there. Nothing is moved, made or marked; what isn't a plain file isn't mail."""

import os
import stat
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final
from urllib.parse import quote_from_bytes

# New before cur: a message that is opened meanwhile moves from new to cur, and is met at least once.
SUBFOLDERS: Final = ("new", "cur")

# A link may lead anywhere and a FIFO never answers: neither is followed or waited for.
_OPEN: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class MessageFile:
    """A message on disk.

    `name` is the part of its file name that never changes (before the ``:`` of its flags), percent-encoded. `arrived`
    is its inode's change time, `written` its modification time: nanoseconds since 1970.
    """

    name: str
    path: str
    arrived: int
    written: int
    size: int


def is_maildir(folder: Path) -> bool:
    """Tell whether there is any place for mail; one of the two may have been lost for being empty."""
    return any((folder / each).is_dir() for each in SUBFOLDERS)


def messages(folder: Path) -> list[MessageFile]:
    """Return a folder's messages, each once, in the order of their arrival."""
    now = time.time_ns()
    found = {}
    for entry in _entries(folder):
        try:
            facts = entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            continue  # renamed or deleted since it was listed; its change time brings it back next time
        if stat.S_ISREG(facts.st_mode):
            name = _stable_name(entry.name)
            # A clock that once ran ahead must not put what comes now into the past.
            arrived = min(facts.st_ctime_ns, now)
            found[name] = MessageFile(name, entry.path, arrived, facts.st_mtime_ns, facts.st_size)
    return sorted(found.values(), key=lambda message: (message.arrived, message.name))


def read(folder: Path, name: str, count: int) -> bytes:
    """Return up to `count` bytes of a message, wherever it has moved to within its folder.

    Raises `FileNotFoundError` where it is gone.
    """
    for look in (_remembered, _listed, _listed):  # it may be renamed between our look and our reading
        if (path := look(folder).get(name)) is not None:
            try:
                return read_file(path, count)
            except FileNotFoundError:
                continue
    raise FileNotFoundError(name)


def _remembered(folder: Path) -> Mapping[str, str]:
    """Return a folder's files as last listed, if it hasn't changed: a large one is not listed for each message."""
    places = [folder / each for each in SUBFOLDERS]
    return _listed_at(folder, tuple(place.stat().st_mtime_ns if place.is_dir() else 0 for place in places))


@lru_cache(maxsize=2)
def _listed_at(folder: Path, _changed_at: tuple[int, ...]) -> Mapping[str, str]:
    return _listed(folder)


def _listed(folder: Path) -> Mapping[str, str]:
    # Of a file that is listed twice, as it moves from new to cur, the later place counts.
    return {_stable_name(entry.name): entry.path for entry in _entries(folder)}


def read_file(path: str, count: int) -> bytes:
    with open(os.open(path, _OPEN), "rb") as file:  # noqa: PTH123 - a Path can't be opened so carefully
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise FileNotFoundError(path)
        return file.read(count)


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    for subfolder in SUBFOLDERS:
        if not (folder / subfolder).is_dir():
            continue
        with os.scandir(folder / subfolder) as entries:
            yield from (entry for entry in entries if not entry.name.startswith("."))


def _stable_name(file_name: str) -> str:
    """Return what new and cur, read and unread have in common. File names are bytes; a reference is text."""
    return quote_from_bytes(os.fsencode(file_name.partition(":")[0]), safe=",=+@")
