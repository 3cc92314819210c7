"""The interface that every connector implements, and the values that pass through it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final, NewType, Protocol, runtime_checkable

Cursor = NewType("Cursor", str)
"""Where reading stopped. Opaque to all but the connector that wrote it."""

MessageRef = NewType("MessageRef", str)
"""The provider's name for a message. Never a key: it changes with UIDVALIDITY, moves and shared mailboxes."""

ENVELOPE_HEADERS: Final = (
    "Return-Path",
    "From",
    "Sender",
    "To",
    "Subject",
    "Date",
    "Message-ID",
    "In-Reply-To",
    "References",
    "Content-Type",
    "Auto-Submitted",
    "Precedence",
    "List-Id",
    "X-Failed-Recipients",
    "X-Auto-Response-Suppress",
    "X-MS-Exchange-Message-Is-Ndr",
    "X-MS-Exchange-Generated-Message-Source",
    "X-Autoreply",
)
"""The header fields that a connector reads of every new message: all that a first look needs, and no more."""


SENT_HEADERS: Final = (
    "Message-ID",
    "X-Google-Original-Message-ID",
    "X-Microsoft-Original-Message-ID",
    "X-Original-Message-ID",
    "X-CRM-Tracking-ID",
    "To",
    "Cc",
    "Subject",
    "Date",
)
"""The header fields that are read of mail in the Sent folder: under which ids did a provider send our email?"""

SENT_LIMIT: Final = 500
"""Messages of the Sent folder that one question may bring."""


class FolderRole(StrEnum):
    """What a folder is for, whatever it is called (RFC 6154, 2)."""

    INBOX = "inbox"
    JUNK = "junk"
    ARCHIVE = "archive"
    SENT = "sent"


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder:
    """A folder that holds mail; `polled` says that a poll reads it. `messages` is None where that would cost more."""

    name: str
    role: FolderRole | None = None
    messages: int | None = None
    polled: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """What is known of a message before any of its body is read.

    `headers` maps lower-case field names to the first field's unfolded value, still encoded (RFC 2047) unless the
    provider keeps it decoded, undecodable bytes replaced; None where the provider offers no headers. `item_class` is
    Exchange's message class, such as ``REPORT.IPM.Note.NDR``. `size` is in bytes. `received_at` is aware.
    """

    ref: MessageRef
    headers: Mapping[str, str] | None = None
    item_class: str | None = None
    size: int | None = None
    thread_id: str | None = None
    received_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """New messages, and the cursor that covers them: save both or neither.

    `prefiltered` says that the provider's own query has dropped messages that `screen` would have dropped as well.
    """

    envelopes: tuple[Envelope, ...]
    cursor: Cursor
    has_more: bool
    prefiltered: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """A message's bytes as the provider holds them; `truncated` where there are more than were asked for."""

    raw: bytes
    truncated: bool


class Connector(Protocol):
    """A mailbox that can be read. Read-only: it never deletes, moves or flags anything."""

    def poll(self, since: Cursor | datetime) -> Page:
        """Return the next page of messages that arrived since.

        A first poll takes an aware datetime; it returns a cursor even where it finds nothing. Raises `ConnectorError`.
        """

    def fetch(self, ref: MessageRef, max_bytes: int) -> Fetched:
        """Return the first `max_bytes` bytes of a message. Raises `MessageGone` and other `ConnectorError`s."""

    def folders(self) -> Sequence[Folder]:
        """Return the mailbox's folders, for a person to look at. Raises `ConnectorError`."""

    def sent(self, since: datetime, until: datetime) -> Sequence[Envelope]:
        """Return what the Sent folder took between two aware moments: `SENT_HEADERS` only, at most `SENT_LIMIT`.

        Nothing where the mailbox has no such folder. Raises `ConnectorError`.
        """

    def close(self) -> None:
        """Let go of the connection; never raises."""


@runtime_checkable
class Metered(Protocol):
    """A connector whose provider counts what is asked of it."""

    def quota(self) -> str:
        """Return, in a sentence for a person, what was used of the quota lately and how much there is."""


class Doorbell(Protocol):
    """A connection on which a mailbox's server tells that mail has come. It reads no mail: polling does.

    All methods but `close` raise `ConnectorError`; after one, the doorbell is opened again.
    """

    def open(self) -> None:
        """Connect and wait; mail that came before is not told of. Raises `Misconfigured` where the server can't."""

    def fileno(self) -> int:
        """Return the socket to wait on, for `select`; it becomes readable when the server says anything."""

    def rung(self) -> bool:
        """Read what the server has said, without waiting; tell whether mail may have come."""

    def renew(self) -> bool:
        """Start the wait anew, before the server or a router between gives it up; as `rung`."""

    def close(self) -> None:
        """Let go of the connection; never raises."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """A provider's promise to call when mail comes, until an aware moment."""

    id: str
    expires_at: datetime


class Subscriber(Protocol):
    """Asks a provider to call an address of ours when mail comes. It reads no mail. Methods raise `ConnectorError`."""

    def subscribe(self, target: str, secret: str) -> Subscription:
        """Ask for calls at `target` that bear `secret`, where the provider lets a call bear one."""

    def renew(self, subscription: str, target: str) -> Subscription:
        """Prolong a subscription. Raises `MessageGone` where the provider knows it no more."""

    def unsubscribe(self, subscription: str) -> None:
        """End a subscription, if there is still one."""

    def close(self) -> None:
        """Let go of the connection; never raises."""


class CredentialStore(Protocol):
    """One inbox's secret, kept with compare-and-swap so that no lock is held across the network."""

    def load(self) -> tuple[str, int]:
        """Return the secret and its version. Raises `AuthRequired` where there is none."""

    def save(self, secret: str, expected_version: int) -> int:
        """Replace the secret and return its new version. Raises `StaleCredential` where somebody else was first."""


class StaleCredential(Exception):
    """The secret was replaced by somebody else meanwhile: load it again."""
