"""The address of an Exchange server's EWS, and which addresses are refused before any connection."""

from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final, Self
from urllib.parse import urlsplit

from connectors.errors import Misconfigured

EXAMPLE: Final = "https://mail.acme.example/EWS/Exchange.asmx"

# Microsoft's clouds: world, US government, China, and the former German one.
_CLOUD: Final = (
    "office365.com",
    "office.com",
    "outlook.com",
    "office365.us",
    "outlook.cn",
    "office365.cn",
    "outlook.office.de",
    "cloud.microsoft",
)


@dataclass(frozen=True, slots=True)
class EwsUrl:
    """Where EWS is."""

    host: str
    port: int
    path: str
    is_tls: bool

    @classmethod
    def parse(cls, url: str) -> Self:
        """Raises `Misconfigured` with a sentence for a person.

        Passwords and mail go over this connection, so it must be TLS; only to this very machine may it be without,
        which is where tests and tunnels end.
        """
        try:
            parts = urlsplit(url.strip())
            host, port = (parts.hostname or "").rstrip("."), parts.port
            host.encode("idna")
        except ValueError as error:  # UnicodeError too
            raise _no_address(url) from error
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        if parts.scheme not in ("http", "https") or not host or not path.isascii() or not path.isprintable():
            raise _no_address(url)
        if parts.username is not None or parts.password is not None:
            raise Misconfigured("The endpoint holds a user name: take it out; sign-in data has fields of its own.")
        if any(host == cloud or host.endswith(f".{cloud}") for cloud in _CLOUD):
            raise Misconfigured(
                f"{host} is Microsoft's cloud, where EWS ends for good on 1 April 2027 and is already off for most:"
                " connect this inbox with the provider office365 instead."
            )
        if parts.scheme == "http" and not _is_this_machine(host):
            raise Misconfigured(f"{host} would get the password unencrypted: give an endpoint that starts with https.")
        if " " in path:
            raise _no_address(url)
        return cls(host, port or (443 if parts.scheme == "https" else 80), path, parts.scheme == "https")


def _no_address(url: str) -> Misconfigured:
    shown = "".join(letter if letter.isprintable() else "?" for letter in url)[:100]
    if "@" in shown:
        shown = "This"
    return Misconfigured(f"{shown} is no address of an Exchange server: give one like {EXAMPLE}.")


def _is_this_machine(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
