"""Where a mailbox's server is, and what it shows before anybody signs in; for the preflight that a person reads."""

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from connectors._graph_clouds import api
from connectors._tls import tls_context
from connectors.network import Dial
from connectors.settings import GmailSettings, ImapSettings, Office365Settings, Security, Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A server's host and port; `tls` where it speaks TLS from the first byte. `timeout` is in seconds."""

    host: str
    port: int
    tls: bool
    ca_file: str | None
    timeout: float

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Greeting:
    """What a connection came to; the certificate's parts are None where the port doesn't begin with TLS."""

    peer: str
    protocol: str | None = None
    issuer: str | None = None
    valid_until: datetime | None = None


def endpoint(settings: Settings) -> Endpoint | None:
    """Return where a mailbox's server is; None for one that lies on this machine."""
    if isinstance(settings, ImapSettings):
        return Endpoint(
            host=settings.host,
            port=settings.port,
            tls=settings.security is Security.TLS,
            ca_file=settings.ca_file,
            timeout=settings.connect_timeout,
        )
    url = urlsplit(_address(settings))
    if not url.hostname:
        return None
    tls = url.scheme == "https"
    return Endpoint(
        host=url.hostname,
        port=url.port or (443 if tls else 80),
        tls=tls,
        ca_file=getattr(settings, "ca_file", None),
        timeout=getattr(settings, "connect_timeout", 15.0),
    )


def _address(settings: Settings) -> str:
    match settings:
        case GmailSettings():
            return settings.api
        case Office365Settings():
            return api(settings)
        case _:
            return str(getattr(settings, "endpoint", ""))


def greet(place: Endpoint, dial: Dial) -> Greeting:
    """Connect, and shake hands where the port speaks TLS. Raises `OSError`, `ValueError` and `ConnectorError`."""
    with dial(place.host, place.port, place.timeout) as opened:
        peer = str(opened.getpeername()[0])
        if not place.tls:
            return Greeting(peer=peer)
        opened.settimeout(place.timeout)
        with tls_context(place.ca_file).wrap_socket(opened, server_hostname=place.host) as tls:
            certificate: dict[str, Any] = tls.getpeercert() or {}
            until = datetime.fromtimestamp(ssl.cert_time_to_seconds(certificate["notAfter"]), UTC)
            names = dict(pair for group in certificate["issuer"] for pair in group)
            issuer = names.get("organizationName") or names.get("commonName")
            return Greeting(peer=peer, protocol=tls.version(), issuer=issuer, valid_until=until)
