"""The files of a Maildir, as they lie there. Nothing is moved, made or marked; what isn't a plain file isn't mail."""

import os
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
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
    for _ in range(2):  # it may be renamed between our look and our reading
        for path in [entry.path for entry in _entries(folder) if _stable_name(entry.name) == name]:
            try:
                return read_file(path, count)
            except FileNotFoundError:
                continue
    raise FileNotFoundError(name)


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
