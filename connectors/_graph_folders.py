"""Which folders of a mailbox are read: well-known ones by their well-known names, others by name or path.

Well-known names are the same in every language (https://learn.microsoft.com/graph/api/resources/mailfolder).
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from connectors._graph_http import GraphSession
from connectors.base import Folder, FolderRole
from connectors.errors import MessageGone, Misconfigured, Unavailable

INBOX: Final = "inbox"
JUNK: Final = "junkemail"
ARCHIVE: Final = "archive"
SENT: Final = "sentitems"
MAY_BE_MISSING: Final = frozenset({JUNK, ARCHIVE})
"""Folders that are read by default, and that not every mailbox has."""

_WORDS: Final = {
    "inbox": INBOX,
    "junk": JUNK,
    "junkemail": JUNK,
    "junk email": JUNK,
    "archive": ARCHIVE,
    "sentitems": SENT,
    "deleteditems": "deleteditems",
    "clutter": "clutter",
}
_ROLES: Final = {
    INBOX: FolderRole.INBOX,
    JUNK: FolderRole.JUNK,
    ARCHIVE: FolderRole.ARCHIVE,
    SENT: FolderRole.SENT,
}
_ASKED: Final = "id,displayName,childFolderCount,totalItemCount"
_PAGE: Final = 100
_REQUESTS: Final = 100
"""How many requests the folders of a mailbox may take; what more of them there is isn't shown."""
_LONG_ENOUGH: Final = 30.0
"""For how many seconds we ask for them; with the last request it stays below the time that a task has."""


@dataclass(frozen=True, slots=True)
class _Found:
    path: str
    id: str
    messages: int | None


def default_folders() -> dict[str, str]:
    return {INBOX: INBOX, JUNK: JUNK, ARCHIVE: ARCHIVE}


def find_folders(session: GraphSession, names: Sequence[str]) -> dict[str, str]:
    """Return the folder for each name; the server is only asked where a name isn't well-known.

    Raises `Misconfigured` naming the folders there are.
    """
    found: dict[str, str] = {}
    existing: Mapping[str, str] | None = None
    for name in names:
        folder = _WORDS.get(name.strip().casefold())
        if folder is None:
            if existing is None:
                existing = {each.path: each.id for each in _listing(session)}
            folder = _named(name, existing) or _below_well_known(session, name, existing)
        if folder is None:
            choice = ", ".join(sorted(existing or {})[:20])
            raise Misconfigured(f"There is no folder {name!r} in this mailbox: choose among {choice}.")
        if folder not in found.values():
            found[name] = folder
    return found


def all_folders(session: GraphSession, chosen: Sequence[str]) -> list[Folder]:
    """Return the folders that hold mail, for a person to look at; chosen ones that don't exist are left to polling."""
    words = {found: word for word in _ROLES if (found := _well_known(session, word))}
    listed = list(_listing(session))
    existing = {each.path: each.id for each in listed}
    read: set[str | None] = set(default_folders().values())
    if chosen:
        read = {
            _WORDS.get(name.strip().casefold()) or _named(name, existing) or _below_well_known(session, name, existing)
            for name in chosen
        }
    return [
        Folder(
            name=each.path,
            role=_ROLES.get(words.get(each.id, "")),
            messages=each.messages,
            polled=each.id in read or words.get(each.id, "") in read,
        )
        for each in listed
    ]


def _named(name: str, existing: Mapping[str, str]) -> str | None:
    """Find a folder by its path, or by its name where only one has it; case matters only between equals."""
    wanted = name.strip().strip("/")
    if wanted in existing:
        return existing[wanted]
    by_path = [folder for path, folder in existing.items() if path.casefold() == wanted.casefold()]
    by_name = [folder for path, folder in existing.items() if path.rpartition("/")[2].casefold() == wanted.casefold()]
    for matches in (by_path, by_name):
        if len(matches) == 1:
            return matches[0]
    return None


def _below_well_known(session: GraphSession, name: str, existing: Mapping[str, str]) -> str | None:
    """Find ``inbox/Returned`` where the inbox has another name, as it has in most languages."""
    top, _, rest = name.strip().strip("/").partition("/")
    word = _WORDS.get(top.strip().casefold())
    if word is None or not rest or (own := _well_known(session, word)) is None:
        return None
    path = next((path for path, folder in existing.items() if folder == own), None)
    return None if path is None else _named(f"{path}/{rest}", existing)


def _well_known(session: GraphSession, word: str) -> str | None:
    """Return the id of a well-known folder, if the mailbox has it."""
    try:
        found = session.json(session.path("mailFolders", word, select="id")).get("id")
    except MessageGone:
        return None
    return found if isinstance(found, str) else None


def _listing(session: GraphSession) -> Iterator[_Found]:
    """Yield the folders of the mailbox; those below others come after them."""
    waiting: list[tuple[str, str]] = [("", session.path("mailFolders", select=_ASKED, top=str(_PAGE)))]
    seen: set[str] = set()
    ends_at = time.monotonic() + _LONG_ENOUGH
    for _ in range(_REQUESTS):
        if not waiting:
            return
        if time.monotonic() > ends_at:
            raise Unavailable("Microsoft Graph takes too long to list this mailbox's folders; it will be tried again.")
        above, link = waiting.pop(0)
        try:
            page = session.json(link)
        except MessageGone:  # deleted while we looked
            continue
        for row in _rows(session, page):
            # A search folder shows messages that lie elsewhere.
            if row["id"] in seen or str(row.get("@odata.type", "")).endswith("mailSearchFolder"):
                continue
            seen.add(row["id"])
            path = above + " ".join(row["displayName"].split())[:200]
            count = row.get("totalItemCount")
            yield _Found(path, row["id"], count if isinstance(count, int) else None)
            if row.get("childFolderCount"):
                below = session.path("mailFolders", row["id"], "childFolders", select=_ASKED, top=str(_PAGE))
                waiting.append((f"{path}/", below))
        after = page.get("@odata.nextLink")
        if isinstance(after, str):
            waiting.insert(0, (above, after))


def _rows(session: GraphSession, page: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    rows = page.get("value")
    if not isinstance(rows, list):
        raise session.nonsense()
    for row in rows:
        if not isinstance(row, dict) or not {type(row.get("id")), type(row.get("displayName"))} <= {str}:
            raise session.nonsense()
    return rows
