"""Which folders of a mailbox are read: well-known ones by their well-known names, others by name or path."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from exchangelib import errors as ews
from exchangelib.fields import FieldPath
from exchangelib.folders import Folder
from exchangelib.properties import DistinguishedFolderId, FolderId
from exchangelib.properties import Mailbox as MailboxName

from connectors._exchange_errors import NotEws
from connectors._exchange_http import ExchangeSession
from connectors._exchange_services import FindFolder, GetFolder, M, Mailbox, T
from connectors.errors import Misconfigured

INBOX: Final = "inbox"
JUNK: Final = "junkemail"
ARCHIVE: Final = "archive"

_WORDS: Final = {"inbox": INBOX, "junk": JUNK, "junkemail": JUNK, "junk email": JUNK}
_WELL_KNOWN: Final = frozenset({INBOX, JUNK, ARCHIVE, "msgfolderroot"})
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
                existing = dict(_paths(session, mailbox))
            folder = _named(name, existing)
        if folder is None and name.strip().casefold() == ARCHIVE and _exists(session, mailbox, ARCHIVE):
            folder = ARCHIVE
        if folder is None:
            choice = ", ".join(sorted(existing or {})[:20])
            raise Misconfigured(f"There is no folder {name!r} in this mailbox: choose among {choice}.")
        if folder not in found.values():
            found[name] = folder
    return found


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


def _paths(session: ExchangeSession, mailbox: Mailbox) -> Iterator[tuple[str, str]]:
    """Yield path and id of each folder that holds mail."""
    parents: dict[str, tuple[str, str]] = {}
    holds_mail: set[str] = set()
    service = FindFolder(session, mailbox)
    fields = [FieldPath(Folder.get_field_by_fieldname(name)) for name in ("name", "parent_folder_id", "folder_class")]
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
                holds_mail.add(own.get("Id"))
        if (root.get("IncludesLastItemInRange") or "true").lower() in ("true", "1"):
            break
    for folder in parents:
        if folder in holds_mail:
            yield _path(folder, parents), folder


def _path(folder: str, parents: Mapping[str, tuple[str, str]]) -> str:
    names: list[str] = []
    while folder in parents and len(names) < 50:  # a server may name a folder as its own ancestor
        name, folder = parents[folder]
        names.insert(0, name)
    return "/".join(names)


def _exists(session: ExchangeSession, mailbox: Mailbox, folder: str) -> bool:
    service = GetFolder(session, mailbox)
    ids = [folder_id(folder, mailbox.primary_smtp_address)]
    (answer,) = service.ask(service.get_payload(folders=ids, additional_fields=None, shape="IdOnly"))
    return not isinstance(answer, ews.EWSError)
