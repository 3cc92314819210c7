"""Reading mailboxes. Connectors decide nothing and know nothing of the worker."""

from connectors.base import (
    ENVELOPE_HEADERS,
    Connector,
    CredentialStore,
    Cursor,
    Envelope,
    Fetched,
    MessageRef,
    Page,
    StaleCredential,
)
from connectors.errors import (
    AuthRequired,
    ConnectorError,
    CursorExpired,
    MessageGone,
    Misconfigured,
    Throttled,
    Unavailable,
)
from connectors.settings import ImapSettings, MaildirSettings, Security, Settings, from_json, to_json

__all__ = [
    "ENVELOPE_HEADERS",
    "AuthRequired",
    "Connector",
    "ConnectorError",
    "CredentialStore",
    "Cursor",
    "CursorExpired",
    "Envelope",
    "Fetched",
    "ImapSettings",
    "MaildirSettings",
    "MessageGone",
    "MessageRef",
    "Misconfigured",
    "Page",
    "Security",
    "Settings",
    "StaleCredential",
    "Throttled",
    "Unavailable",
    "connect",
    "from_json",
    "to_json",
]


def connect(settings: Settings, credentials: CredentialStore) -> Connector:
    """Return the connector for `settings`; nothing is contacted until its first poll or fetch.

    Each provider's file, and with it the provider's SDK, is imported only here and only when it is used.
    """
    match settings:
        case ImapSettings():
            from connectors.imap import ImapConnector

            return ImapConnector(settings, credentials)
        case MaildirSettings():
            from connectors.maildir import MaildirConnector

            return MaildirConnector(settings)
