"""What we ask of an IMAP server: a question each, answered in our own values. All read-only."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from imapclient import IMAPClient
from imapclient.exceptions import IMAPClientAbortError, IMAPClientError

from connectors._headers import HEADER_LIMIT
from connectors._imap_errors import UNREADABLE
from connectors.base import ENVELOPE_HEADERS
from connectors.errors import MessageGone

SPAN: Final = 50_000
"""UIDs in one SEARCH of a large folder: its answer is one line, and imaplib refuses lines of over 1,000,000 bytes."""

FIRST_SPAN: Final = 1_000
"""UIDs in the first SEARCH of a poll, which mostly is the only one."""

SEARCHES: Final = 40
"""How often one poll may search one folder. What lies beyond is left to the next page."""

_MAX_UID: Final = 2**32
_EPOCH: Final = datetime(1970, 1, 2, tzinfo=UTC)
_HEADER_FIELDS: Final = f"BODY.PEEK[HEADER.FIELDS ({' '.join(ENVELOPE_HEADERS)})]<0.{HEADER_LIMIT}>"
_NOT_A_FOLDER: Final = frozenset({b"\\noselect", b"\\nonexistent"})


@dataclass(frozen=True, slots=True)
class Status:
    """What STATUS says of a folder: `top` is the highest UID that it can hold."""

    uidvalidity: int
    top: int
    messages: int


def status(client: IMAPClient, folder: str) -> Status | None:
    """Return a folder's STATUS (RFC 3501, 6.3.10), or None where there is no such folder."""
    try:
        answer = client.folder_status(folder, ["MESSAGES", "UIDNEXT", "UIDVALIDITY"])
    except IMAPClientAbortError:
        raise
    except IMAPClientError:
        if folder in folder_names(client):
            raise
        return None
    return Status(int(answer[b"UIDVALIDITY"]), int(answer[b"UIDNEXT"]) - 1, int(answer[b"MESSAGES"]))


def folder_names(client: IMAPClient) -> set[str]:
    """Return the names of the folders that hold mail."""
    return {"INBOX" if name.upper() == "INBOX" else name for _, name, _ in listing(client)}


def listing(client: IMAPClient) -> Iterator[tuple[frozenset[bytes], str, str]]:
    """Yield attributes, name and last part of the name of each folder that holds mail."""
    for attributes, delimiter, name in client.list_folders():
        lowered = frozenset(attribute.lower() for attribute in attributes)
        if not lowered & _NOT_A_FOLDER:
            yield lowered, name, name.rpartition(delimiter.decode("ascii"))[2] if delimiter else name


def spans(messages: int) -> Iterator[int]:
    """Yield how many UIDs each SEARCH of a poll asks for; a small folder's answer is short whatever it asks for."""
    yield FIRST_SPAN
    for _ in range(SEARCHES - 1):
        yield _MAX_UID if messages <= SPAN else SPAN


def search(client: IMAPClient, low: int, high: int, since: datetime | None) -> list[int]:
    """Return the UIDs from `low` to `high`, in order; perhaps only those that arrived since (it may be more)."""
    criteria: list[Any] = ["UID", f"{low}:{high}"]
    if since is not None and since > _EPOCH:
        # SINCE compares dates and ignores the time zone, which may be any (RFC 3501, 6.4.4).
        criteria += ["SINCE", (since - timedelta(days=1)).date()]
    # QUIRK: `n:*` answers with the newest message even where that is below n; no server shall surprise us so.
    return sorted(uid for uid in set(client.search(criteria)) if low <= uid <= high)


def headers(client: IMAPClient, uids: Iterable[int]) -> dict[int, Mapping[bytes, Any]]:
    """FETCH the headers of messages; where that fails, one by one, so that a sick message doesn't stop the others."""
    wanted = ["INTERNALDATE", "RFC822.SIZE", _HEADER_FIELDS]
    try:
        return dict(client.fetch(list(uids), wanted))
    except IMAPClientAbortError:
        raise
    except (IMAPClientError, *UNREADABLE):
        answers: dict[int, Mapping[bytes, Any]] = {}
        for uid in uids:
            try:
                answers |= client.fetch([uid], wanted)
            except IMAPClientAbortError:
                raise
            except (IMAPClientError, *UNREADABLE):
                # If even this fails, it isn't the message: the server's NO is the caller's to hear.
                answers |= client.fetch([uid], ["UID"])
        return answers


def header_block(answer: Mapping[bytes, Any]) -> bytes | None:
    """Return the header fields out of an answer, whose key repeats our question as each server spells it."""
    block = next((value for key, value in answer.items() if key.upper().startswith(b"BODY[HEADER")), None)
    return block if isinstance(block, bytes) else None


def body(client: IMAPClient, uid: int, count: int) -> bytes:
    """Return up to `count` bytes of a message.

    RFC822.SIZE may be wrong (Exchange estimates it), so where it says that there should be more, we ask for more.
    """
    raw = b""
    while len(raw) < count:
        answer = _body_part(client, uid, len(raw), count - len(raw))
        part = answer.get(b"BODY[]<%d>" % len(raw)) or b""
        raw += part
        if not part or len(raw) >= (answer.get(b"RFC822.SIZE") or 0):
            break
    return raw


def _body_part(client: IMAPClient, uid: int, start: int, count: int) -> Mapping[bytes, Any]:
    try:
        answer: Mapping[bytes, Any] | None = client.fetch([uid], ["RFC822.SIZE", f"BODY.PEEK[]<{start}.{count}>"]).get(
            uid
        )
    except IMAPClientAbortError:
        raise
    except IMAPClientError:
        if search(client, uid, uid, since=None):
            raise
        answer = None  # a server may say NO where somebody else has expunged the message (RFC 2180, 4.1)
    if answer is None or b"BODY[]<%d>" % start not in answer:
        raise MessageGone("This message was deleted or moved.")
    return answer
