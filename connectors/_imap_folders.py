"""Which folders an IMAP server has, and what each is for, in whatever language it names them."""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from imapclient import IMAPClient

from connectors._headers import HEADER_LIMIT, SENT_FIELDS, parse_headers
from connectors._imap_commands import header_block, listing
from connectors.base import SENT_HEADERS, SENT_LIMIT, FolderRole

MARKS: Final[Mapping[bytes, FolderRole]] = {  # RFC 6154, 2
    b"\\junk": FolderRole.JUNK,
    b"\\archive": FolderRole.ARCHIVE,
    b"\\sent": FolderRole.SENT,
}
NAMES: Final[Mapping[str, FolderRole]] = {  # of servers that mark none
    "inbox": FolderRole.INBOX,
    "junk": FolderRole.JUNK,
    "spam": FolderRole.JUNK,
    "junk e-mail": FolderRole.JUNK,
    "junk email": FolderRole.JUNK,
    "bulk mail": FolderRole.JUNK,
    "archive": FolderRole.ARCHIVE,
    "archives": FolderRole.ARCHIVE,
    "sent": FolderRole.SENT,
    "sent items": FolderRole.SENT,
    "sent mail": FolderRole.SENT,
    "sent messages": FolderRole.SENT,
}
_SENT_FIELDS: Final = f"BODY.PEEK[HEADER.FIELDS ({' '.join(SENT_HEADERS)})]<0.{HEADER_LIMIT}>"


def roles(client: IMAPClient) -> dict[str, FolderRole | None]:
    """Return each folder's name and role; a mark counts for more than a name, and each role stands once."""
    folders = list(listing(client))
    found: dict[str, FolderRole | None] = {name: None for _, name, _ in folders}
    taken: set[FolderRole] = set()

    def take(name: str, role: FolderRole | None) -> None:
        if role and role not in taken and found[name] is None:
            found[name] = role
            taken.add(role)

    for attributes, name, _ in folders:
        take(name, next((MARKS[mark] for mark in attributes if mark in MARKS), None))
    for _, name, last in folders:
        take(name, NAMES.get(last.lower()))
    return found


def sent_messages(client: IMAPClient, since: datetime, until: datetime) -> Iterator[tuple[int, Mapping[bytes, Any]]]:
    """Yield UID and answer of what the open folder took between two moments, newest first."""
    # Both compare dates and ignore the time zone, which may be any (RFC 3501, 6.4.4).
    day = timedelta(days=1)
    criteria = ["SINCE", (since - day).date(), "BEFORE", (until + 2 * day).date()]
    uids = sorted(client.search(criteria))[-SENT_LIMIT:]
    answers = client.fetch(uids, ["INTERNALDATE", "RFC822.SIZE", _SENT_FIELDS]) if uids else {}
    yield from sorted(answers.items(), reverse=True)


def sent_headers(answer: Mapping[bytes, Any]) -> Mapping[str, str]:
    """Return the header fields of an answer."""
    return parse_headers(header_block(answer) or b"", SENT_FIELDS)
