"""Which folders of a mailbox are read: well-known ones by their well-known names, others by name or path."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from exchangelib import errors as ews
from exchangelib import folders as ews_folders
from exchangelib.fields import FieldPath
from exchangelib.properties import DistinguishedFolderId, FolderId
from exchangelib.properties import Mailbox as MailboxName

from connectors._exchange_errors import NotEws
from connectors._exchange_http import ExchangeSession
from connectors._exchange_services import FindFolder, GetFolder, M, Mailbox, T
from connectors.base import Folder, FolderRole
from connectors.errors import Misconfigured

INBOX: Final = "inbox"
JUNK: Final = "junkemail"
ARCHIVE: Final = "archive"
SENT: Final = "sentitems"

_WORDS: Final = {"inbox": INBOX, "junk": JUNK, "junkemail": JUNK, "junk email": JUNK}
_ROLES: Final = {
    INBOX: FolderRole.INBOX,
    JUNK: FolderRole.JUNK,
    ARCHIVE: FolderRole.ARCHIVE,
    SENT: FolderRole.SENT,
}
_WELL_KNOWN: Final = frozenset({*_ROLES, "msgfolderroot"})
_ASKED: Final = ("name", "parent_folder_id", "folder_class", "total_count")
_PAGE: Final = 1_000
_PAGES: Final = 20


def folder_id(folder: str, address: str) -> FolderId:
    """Return what a request names a folder by; a well-known one with its mailbox, which need not be the signer's."""
    if folder in _WELL_KNOWN:
        return DistinguishedFolderId(id=folder, mailbox=MailboxName(email_address=address))
    return FolderId(id=folder)


def default_folders() -> dict[str, str]:
    return {INBOX: INBOX, JUNK: JUNK}


def find_folders(session: ExchangeSession, mailbox: Mailbox, names: Sequence[str]) -> dict[str, str]:
    """Return the folder for each name; the server is only asked where a name isn't well-known.

    Raises `Misconfigured` naming the folders there are.
    """
    found: dict[str, str] = {}
    existing: Mapping[str, str] | None = None
    for name in names:
        folder = _WORDS.get(name.strip().casefold())
        if folder is None:
            if existing is None:
                existing = {path: folder for path, folder, _ in _listing(session, mailbox)}
            folder = _named(name, existing)
        if folder is None and name.strip().casefold() == ARCHIVE and (known := _archive(session, mailbox)):
            folder = next(iter(known))
        if folder is None:
            choice = ", ".join(sorted(existing or {})[:20])
            raise Misconfigured(f"There is no folder {name!r} in this mailbox: choose among {choice}.")
        if folder not in found.values():
            found[name] = folder
    return found


def all_folders(session: ExchangeSession, mailbox: Mailbox, chosen: Sequence[str]) -> list[Folder]:
    """Return the folders that hold mail, for a person to look at; chosen ones that don't exist are left to polling."""
    words = _well_known(session, mailbox, [INBOX, JUNK, SENT]) | _archive(session, mailbox)
    listed = list(_listing(session, mailbox))
    existing = {path: folder for path, folder, _ in listed}
    read = {_WORDS.get(name.strip().casefold()) or _named(name, existing) or name.casefold() for name in chosen}
    read = read or {INBOX, JUNK}
    return [
        Folder(
            name=path,
            role=_ROLES.get(words.get(folder) or path.casefold()),
            messages=messages,
            polled=folder in read or words.get(folder, "") in read,
        )
        for path, folder, messages in listed
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


def _listing(session: ExchangeSession, mailbox: Mailbox) -> Iterator[tuple[str, str, int | None]]:
    """Yield path, id and number of messages of each folder that holds mail."""
    parents: dict[str, tuple[str, str]] = {}
    holds_mail: dict[str, int | None] = {}
    service = FindFolder(session, mailbox)
    fields = [FieldPath(ews_folders.Folder.get_field_by_fieldname(name)) for name in _ASKED]
    for page in range(_PAGES):
        (answer,) = service.ask(
            service.get_payload(
                folders=[folder_id("msgfolderroot", mailbox.primary_smtp_address)],
                additional_fields=fields,
                restriction=None,
                shape="IdOnly",
                depth="Deep",
                page_size=_PAGE,
                offset=page * _PAGE,
            )
        )
        if isinstance(answer, ews.EWSError):
            raise answer
        root = answer.find(f"{M}RootFolder")
        if root is None:
            raise NotEws
        for folder in root.iterfind(f"{T}Folders/*"):
            own, parent = folder.find(f"{T}FolderId"), folder.find(f"{T}ParentFolderId")
            if own is None or not own.get("Id"):
                raise NotEws
            name = " ".join((folder.findtext(f"{T}DisplayName") or "").split())[:200]
            parents[own.get("Id")] = (name, "" if parent is None else parent.get("Id") or "")
            if (folder.findtext(f"{T}FolderClass") or "IPF.Note").startswith("IPF.Note"):
                count = folder.findtext(f"{T}TotalCount") or ""
                holds_mail[own.get("Id")] = int(count) if count.isascii() and count.isdecimal() else None
        if (root.get("IncludesLastItemInRange") or "true").lower() in ("true", "1"):
            break
    for folder in parents:
        if folder in holds_mail:
            yield _path(folder, parents), folder, holds_mail[folder]


def _path(folder: str, parents: Mapping[str, tuple[str, str]]) -> str:
    names: list[str] = []
    while folder in parents and len(names) < 50:  # a server may name a folder as its own ancestor
        name, folder = parents[folder]
        names.insert(0, name)
    return "/".join(names)


def _well_known(session: ExchangeSession, mailbox: Mailbox, words: Sequence[str]) -> dict[str, str]:
    """Return the well-known words by the ids of those folders that exist."""
    service = GetFolder(session, mailbox)
    ids = [folder_id(word, mailbox.primary_smtp_address) for word in words]
    answers = service.ask(service.get_payload(folders=ids, additional_fields=None, shape="IdOnly"), len(ids))
    found = {}
    for word, answer in zip(words, answers, strict=True):
        own = None if isinstance(answer, ews.EWSError) else answer.find(f"{M}Folders/*/{T}FolderId")
        if own is not None:
            found[own.get("Id")] = word
    return found


def _archive(session: ExchangeSession, mailbox: Mailbox) -> dict[str, str]:
    """Ask for the archive alone: it is the youngest of the words, and servers that lack it refuse the whole request."""
    try:
        return _well_known(session, mailbox, [ARCHIVE])
    except (ews.ErrorSchemaValidation, ews.ErrorInvalidRequest):
        return {}
