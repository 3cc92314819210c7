"""Reading mailboxes. Connectors decide nothing and know nothing of the worker."""

from connectors.base import (
    ENVELOPE_HEADERS,
    SENT_HEADERS,
    SENT_LIMIT,
    Connector,
    CredentialStore,
    Cursor,
    Doorbell,
    Envelope,
    Fetched,
    Folder,
    FolderRole,
    MessageRef,
    Page,
    StaleCredential,
    Subscriber,
    Subscription,
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
from connectors.network import Dial, Guard, dial
from connectors.settings import (
    Access,
    Cloud,
    ExchangeSettings,
    GmailSettings,
    ImapSettings,
    MaildirSettings,
    Office365Settings,
    Security,
    Settings,
    SignIn,
    from_json,
    to_json,
)

__all__ = [
    "ENVELOPE_HEADERS",
    "SENT_HEADERS",
    "SENT_LIMIT",
    "Access",
    "AuthRequired",
    "Cloud",
    "Connector",
    "ConnectorError",
    "CredentialStore",
    "Cursor",
    "CursorExpired",
    "Dial",
    "Doorbell",
    "Envelope",
    "ExchangeSettings",
    "Fetched",
    "Folder",
    "FolderRole",
    "GmailSettings",
    "Guard",
    "ImapSettings",
    "MaildirSettings",
    "MessageGone",
    "MessageRef",
    "Misconfigured",
    "Office365Settings",
    "Page",
    "Security",
    "Settings",
    "SignIn",
    "StaleCredential",
    "Subscriber",
    "Subscription",
    "Throttled",
    "Unavailable",
    "connect",
    "dial",
    "doorbell",
    "from_json",
    "subscriber",
    "to_json",
]


def connect(settings: Settings, credentials: CredentialStore, dial: Dial = dial) -> Connector:
    """Return the connector for `settings`; nothing is contacted until its first poll or fetch, and only by `dial`.

    Each provider's file, and with it the provider's SDK, is imported only here and only when it is used.
    """
    match settings:
        case ImapSettings():
            from connectors.imap import ImapConnector

            return ImapConnector(settings, credentials, dial)
        case ExchangeSettings():
            from connectors.exchange import ExchangeConnector

            return ExchangeConnector(settings, credentials, dial)
        case Office365Settings():
            from connectors.office365 import Office365Connector

            return Office365Connector(settings, credentials, dial)
        case GmailSettings():
            from connectors.gmail import GmailConnector

            return GmailConnector(settings, credentials, dial)
        case MaildirSettings():
            from connectors.maildir import MaildirConnector

            return MaildirConnector(settings)


def doorbell(settings: Settings, credentials: CredentialStore, dial: Dial = dial) -> Doorbell | None:
    """Return a doorbell for `settings`, or None where the provider has none; opening it is what first connects."""
    if not isinstance(settings, ImapSettings):
        return None
    from connectors.imap import ImapDoorbell

    return ImapDoorbell(settings, credentials, dial)


def subscriber(settings: Settings, credentials: CredentialStore, dial: Dial = dial) -> Subscriber | None:
    """Return what has the provider of `settings` call us when mail comes, or None where it can't."""
    match settings:
        case Office365Settings():
            from connectors._graph_subscriptions import Office365Subscriber

            return Office365Subscriber(settings, credentials, dial)
        case _:
            return None
