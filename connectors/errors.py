"""What can go wrong with a mailbox: one error for each thing that the caller can do about it.

ConnectorError
├── Unavailable        back off and try again
│   └── Throttled      the same, and not before `retry_after`
├── AuthRequired       stop polling, ask a person to reconnect
├── Misconfigured      back off, ask a person to correct a setting
├── CursorExpired      read a bounded window again and de-duplicate; never skip
└── MessageGone        the message was deleted or moved: done

Each carries one sentence for a person: what happened, and what to do. None carries a secret.
"""

from datetime import timedelta


class ConnectorError(Exception):
    """The root; its text is one sentence that a person can act on."""


class Unavailable(ConnectorError):
    """The server can't be reached or doesn't answer properly: back off."""


class Throttled(Unavailable):
    """The server asks for patience."""

    def __init__(self, message: str, retry_after: timedelta) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class AuthRequired(ConnectorError):
    """The server refuses the credentials: only a person can reconnect this inbox."""


class Misconfigured(ConnectorError):
    """A setting can't be right (unknown folder, bad certificate): only a person can correct it."""


class CursorExpired(ConnectorError):
    """The provider no longer knows where we stopped reading."""


class MessageGone(ConnectorError):
    """The message isn't there any more."""
