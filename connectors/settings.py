"""One frozen settings type per provider, and its JSON form. Settings hold no secret."""

import json
from dataclasses import MISSING, asdict, dataclass, fields
from enum import StrEnum
from typing import Any, Final

from connectors.errors import Misconfigured


class Security(StrEnum):
    """How an IMAP connection is protected."""

    TLS = "tls"
    STARTTLS = "starttls"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImapSettings:
    """An IMAP inbox. `folders` empty means INBOX and the server's junk folder; timeouts are in seconds.

    `authserv_id` is the name under which this provider writes Authentication-Results (RFC 8601, 2.5), if it does.
    """

    host: str
    username: str
    port: int = 993
    security: Security = Security.TLS
    folders: tuple[str, ...] = ()
    ca_file: str | None = None
    authserv_id: str | None = None
    connect_timeout: float = 15.0
    read_timeout: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class MaildirSettings:
    """A Maildir on disk. `folders` empty means its inbox and ``.Junk`` where there is one (Maildir++ names)."""

    path: str
    folders: tuple[str, ...] = ()
    authserv_id: str | None = None


Settings = ImapSettings | MaildirSettings

PROVIDERS: Final[dict[str, type[ImapSettings] | type[MaildirSettings]]] = {
    "imap": ImapSettings,
    "maildir": MaildirSettings,
}


def provider_of(settings: Settings) -> str:
    """Return the provider's name as the command line spells it."""
    return next(name for name, kind in PROVIDERS.items() if isinstance(settings, kind))


def to_json(settings: Settings) -> str:
    """Return settings as one JSON object."""
    return json.dumps(asdict(settings), sort_keys=True)


def from_json(provider: str, text: str) -> Settings:
    """Read what `to_json` wrote; unknown fields are an error. Raises `Misconfigured`."""
    return from_fields(provider, json.loads(text))


def from_fields(provider: str, given: dict[str, Any]) -> Settings:
    """Build a provider's settings from plain values. Raises `Misconfigured` with a sentence for a person."""
    kind = PROVIDERS.get(provider)
    if kind is None:
        raise Misconfigured(f"Unknown provider {provider!r}: use one of {', '.join(PROVIDERS)}.")
    if unknown := set(given) - {field.name for field in fields(kind)}:
        raise Misconfigured(f"A {provider} inbox has no setting named {', '.join(sorted(unknown))}.")
    values = dict(given)
    if "folders" in values:
        folders = values["folders"]
        values["folders"] = (folders,) if isinstance(folders, str) else tuple(folders)
    try:
        if "security" in values:
            values["security"] = Security(values["security"])
        return kind(**values)
    except TypeError:
        needed = [field.name for field in fields(kind) if field.default is MISSING]
        raise Misconfigured(f"A {provider} inbox needs {' and '.join(needed)}.") from None
    except ValueError:
        raise Misconfigured(f"Unknown security {given['security']!r}: use tls, starttls or none.") from None
