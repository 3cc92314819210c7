"""One frozen settings type per provider, and its JSON form. Settings hold no secret."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, fields
from enum import StrEnum
from typing import Any, Final, get_origin
from urllib.parse import urlsplit

from connectors._exchange_url import EwsUrl
from connectors.errors import Misconfigured

LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
"""Hosts to which a secret may travel unencrypted: it doesn't leave the machine."""


class SignIn(StrEnum):
    """How a mailbox is signed in to. With the OAuth ways the stored secret is a grant (see `connectors.oauth`)."""

    PASSWORD = "password"  # noqa: S105 - a way, not a secret: an app password is one too
    XOAUTH2 = "xoauth2"
    OAUTHBEARER = "oauthbearer"
    NTLM = "ntlm"
    BASIC = "basic"
    OAUTH = "oauth"


class Access(StrEnum):
    """Whose rights Exchange reads a mailbox by: those of the user who signs in, or of its owner."""

    DELEGATE = "delegate"
    IMPERSONATION = "impersonation"


class Security(StrEnum):
    """How an IMAP connection is protected."""

    TLS = "tls"
    STARTTLS = "starttls"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImapSettings:
    r"""An IMAP inbox. `folders` empty means INBOX, junk and archive; timeouts are in seconds.

    ``\Junk``, ``\Archive`` and ``\Sent`` name the folders that are for that, in whatever language.
    `authserv_id` is the name under which this provider writes Authentication-Results (RFC 8601, 2.5), if it does.
    """

    host: str
    username: str
    port: int = 993
    security: Security = Security.TLS
    sign_in: SignIn = SignIn.PASSWORD
    folders: tuple[str, ...] = ()
    ca_file: str | None = None
    authserv_id: str | None = None
    connect_timeout: float = 15.0
    read_timeout: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ExchangeSettings:
    r"""A mailbox on an Exchange server of one's own, read by EWS. Timeouts are in seconds.

    `endpoint` is its EWS address, such as ``https://mail.acme.example/EWS/Exchange.asmx``; `address` the mailbox's
    primary SMTP address; `username` a UPN or ``DOMAIN\\user``. `folders` empty means the inbox and the junk folder.
    """

    endpoint: str
    address: str
    username: str
    sign_in: SignIn = SignIn.NTLM
    access: Access = Access.DELEGATE
    folders: tuple[str, ...] = ()
    ca_file: str | None = None
    authserv_id: str | None = None
    connect_timeout: float = 15.0
    read_timeout: float = 60.0


class Cloud(StrEnum):
    """Microsoft's clouds (https://learn.microsoft.com/graph/deployments)."""

    GLOBAL = "global"
    US = "us"
    US_DOD = "us-dod"
    CHINA = "china"


@dataclass(frozen=True, slots=True, kw_only=True)
class GmailSettings:
    """A mailbox of Gmail or Google Workspace, read by the Gmail API. Timeouts are in seconds.

    Everything is read but sent mail and drafts. `prefilter` lets Gmail's own search choose what is looked at, which
    costs a hundredth of the quota and finds fewer notices. `units_per_minute` is how much of the mailbox's quota
    reading may use; `api` is another address of the same API.
    """

    address: str
    prefilter: bool = False
    units_per_minute: int = 3000
    api: str = "https://gmail.googleapis.com"
    ca_file: str | None = None
    authserv_id: str | None = "mx.google.com"
    connect_timeout: float = 15.0
    read_timeout: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Office365Settings:
    """A mailbox of Microsoft 365, read by Microsoft Graph. Timeouts are in seconds.

    `folders` empty means the inbox, the junk folder and the archive; a name is a well-known one (``inbox``) or a path
    of display names (``inbox/Returned``). `api` is another address of the same API.
    """

    address: str
    folders: tuple[str, ...] = ()
    cloud: Cloud = Cloud.GLOBAL
    api: str | None = None
    ca_file: str | None = None
    authserv_id: str | None = None
    connect_timeout: float = 15.0
    read_timeout: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class MaildirSettings:
    """A Maildir on disk.

    `folders` empty means its inbox, and ``.Junk`` and ``.Archive`` where there are such (Maildir++ names).
    """

    path: str
    folders: tuple[str, ...] = ()
    authserv_id: str | None = None


Settings = GmailSettings | Office365Settings | ExchangeSettings | ImapSettings | MaildirSettings

PROVIDERS: Final[Mapping[str, type[Settings]]] = {
    "gmail": GmailSettings,
    "office365": Office365Settings,
    "exchange": ExchangeSettings,
    "imap": ImapSettings,
    "maildir": MaildirSettings,
}


CHOICES: Final[Mapping[str, Mapping[str, Sequence[StrEnum]]]] = {
    "gmail": {},
    "office365": {"cloud": tuple(Cloud)},
    "exchange": {"access": tuple(Access), "sign_in": (SignIn.NTLM, SignIn.BASIC, SignIn.OAUTH)},
    "imap": {"security": tuple(Security), "sign_in": (SignIn.PASSWORD, SignIn.XOAUTH2, SignIn.OAUTHBEARER)},
    "maildir": {},
}
"""The settings that take one of a few words."""


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
        is_listed = isinstance(folders, list | tuple)
        values["folders"] = (folders,) if isinstance(folders, str) else tuple(folders) if is_listed else folders
    if "endpoint" in values:
        EwsUrl.parse(str(values["endpoint"]))
    if values.get("api") is not None:
        _check_api(str(values["api"]))
    for name, choices in CHOICES[provider].items():
        if name in values:
            values[name] = _choice(name, values[name], choices)
    _check_types(kind, values)
    try:
        return kind(**values)
    except TypeError:
        needed = [field.name for field in fields(kind) if field.default is MISSING]
        raise Misconfigured(f"A {provider} inbox needs {_listed(needed, 'and')}.") from None


def _check_types(kind: type[Any], values: Mapping[str, object]) -> None:
    for field in fields(kind):
        if field.name in values and not _fits(field.type, values[field.name]):
            raise Misconfigured(f"The setting {field.name.replace('_', '-')} can't be {values[field.name]!r}."[:500])


def _fits(kind: Any, value: object) -> bool:  # noqa: ANN401 - a dataclass field's annotation
    if get_origin(kind) is tuple:
        return isinstance(value, tuple) and all(isinstance(item, str) for item in value)
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))


def _check_api(address: str) -> None:
    place = urlsplit(address)
    if place.scheme != "https" and place.hostname not in LOOPBACK:
        raise Misconfigured(f"The api {address!r} can't be used: it must begin with https://.")


def _choice(name: str, given: object, choices: Sequence[StrEnum]) -> StrEnum:
    for choice in choices:
        if choice == given:
            return choice
    raise Misconfigured(f"Unknown {name.replace('_', '-')} {given!r}: use {_listed(choices, 'or')}.")


def _listed(names: Sequence[str], last: str) -> str:
    *first, final = names
    return f"{', '.join(first)} {last} {final}" if first else final
