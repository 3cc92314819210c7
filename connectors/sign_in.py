"""Signing in: how a person lets us read a mailbox that Google or Microsoft keeps.

It begins with a client, the app that the operator has registered there: a grant (see `connectors.oauth`) that nobody
has signed in to yet. `begin` says where the person goes; `finish` takes what their browser comes back with and returns
the grant. Between the two the caller keeps `Begun.flow`, in secret and for `TIME_TO_SIGN_IN` at most. Where there is no
browser, Microsoft also takes a code that the person types in elsewhere (`begin_device`, `finish_device`).
"""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any, Final

from connectors import oauth
from connectors._graph_clouds import CLOUDS
from connectors.errors import Misconfigured
from connectors.network import Dial
from connectors.oauth import Grant, Resource
from connectors.settings import ExchangeSettings, GmailSettings, ImapSettings, Office365Settings, Settings

TIME_TO_SIGN_IN: Final = timedelta(minutes=15)
"""How long a person may take."""

FIELDS: Final[Mapping[str, tuple[str, ...]]] = {
    "authorized_user": ("client_id", "client_secret", "auth_uri", "token_uri"),
    "microsoft": ("client_id", "tenant", "client_secret", "authority", "secret_ends_at"),
}
NEEDED: Final[Mapping[str, tuple[str, ...]]] = {
    "authorized_user": ("client_id", "client_secret"),
    "microsoft": ("client_id", "tenant"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """A sign-in under way: the person goes to `url`, and what comes back names `state`."""

    url: str
    state: str
    flow: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceCode:
    """A sign-in under way elsewhere: the person opens `url` and types `code`. `interval` is in seconds."""

    url: str
    code: str
    interval: float
    flow: str


def read_client(text: str) -> Grant:
    """Read a client: Google's own file, a JSON object for Microsoft, or a grant that was got with it.

    Raises `Misconfigured`.
    """
    try:
        given = json.loads(text)
    except ValueError:
        given = None
    if not isinstance(given, dict):
        raise Misconfigured("The client file is no JSON object: download it from Google, or see the README's example.")
    if given.get("type") == "service_account":
        raise Misconfigured("This is the key of a service account, with which nobody signs in: use --credentials.")
    google = given.get("installed") or given.get("web")
    if isinstance(google, dict):
        given = {"type": "authorized_user"} | google
    kind = given.get("type") or ("microsoft" if "tenant" in given else "authorized_user")
    client = {"type": kind} | {name: given[name] for name in FIELDS.get(kind, ()) if given.get(name)}
    if lacking := [name for name in NEEDED.get(kind, ("client_id",)) if not isinstance(client.get(name), str)]:
        raise Misconfigured(f"The client file lacks {' and '.join(lacking)}: see the README's example.")
    return client


def resource_of(settings: Settings) -> Resource:
    """Return what a mailbox's token is for. Raises `Misconfigured` where nobody signs in."""
    match settings:
        case GmailSettings():
            return oauth.GMAIL
        case Office365Settings():
            return CLOUDS[settings.cloud].resource
        case ImapSettings() | ExchangeSettings():
            return oauth.IMAP
        case _:
            raise Misconfigured("Nobody signs in to a folder on disk: it needs no credentials.")


def begin(
    client: Mapping[str, Any],
    resource: Resource,
    redirect_uri: str,
    address: str,
    dial: Dial,
    *,
    ca_file: str | None = None,
) -> Begun:
    """Begin a sign-in for the mailbox `address` that ends at `redirect_uri` (RFC 6749, 4.1)."""
    if client["type"] == "microsoft":
        from connectors import _sign_in_microsoft as microsoft

        url, state, inner = microsoft.begin(client, resource, redirect_uri, address, dial, ca_file)
    else:
        from connectors import _sign_in_google as google

        url, state, inner = google.begin(client, resource, redirect_uri, address)
    return Begun(url=url, state=state, flow=_flow(client, resource, inner))


def finish(
    flow: str,
    answer: Mapping[str, str],
    dial: Dial,
    *,
    ca_file: str | None = None,
    clock: Callable[[], float] = time.time,
) -> str:
    """Return the grant for what a browser came back with, its query's parameters. Raises `ConnectorError`."""
    client, resource, inner = _opened(flow)
    if client["type"] == "microsoft":
        from connectors import _sign_in_microsoft as microsoft

        got = microsoft.finish(client, resource, inner, answer, dial, ca_file, clock())
    else:
        from connectors import _sign_in_google as google

        got = google.finish(client, resource, inner, answer, dial, ca_file, clock())
    return json.dumps({**client, **got})


def begin_device(
    client: Mapping[str, Any], resource: Resource, dial: Dial, *, ca_file: str | None = None
) -> DeviceCode:
    """Begin a sign-in by a code that the person types in (RFC 8628). Raises `ConnectorError`."""
    if client["type"] != "microsoft":
        raise Misconfigured("Google lets nobody read mail by a device code: sign in by browser.")
    if client.get("client_secret"):
        raise Misconfigured("A device code needs a client without a secret: register a public client for it.")
    from connectors import _sign_in_microsoft as microsoft

    inner = microsoft.begin_device(client, resource, dial, ca_file)
    return DeviceCode(
        url=inner["verification_uri"],
        code=inner["user_code"],
        interval=float(inner.get("interval", 5)),
        flow=_flow(client, resource, inner),
    )


def finish_device(
    flow: str, dial: Dial, *, ca_file: str | None = None, clock: Callable[[], float] = time.time
) -> str | None:
    """Ask once whether the person has typed the code; return the grant, or None where they have not yet."""
    from connectors import _sign_in_microsoft as microsoft

    client, resource, inner = _opened(flow)
    got = microsoft.finish_device(client, resource, inner, dial, ca_file, clock())
    return None if got is None else json.dumps({**client, **got})


def _flow(client: Mapping[str, Any], resource: Resource, inner: Mapping[str, Any]) -> str:
    return json.dumps({"client": dict(client), "resource": asdict(resource), "inner": inner})


def _opened(flow: str) -> tuple[Mapping[str, Any], Resource, Mapping[str, Any]]:
    read = json.loads(flow)
    return read["client"], Resource(**read["resource"]), read["inner"]
