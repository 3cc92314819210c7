"""The ways to sign in to an Exchange server: NTLM, Basic and OAuth, as headers of our requests."""

import base64
import binascii
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.client import HTTPResponse
from typing import Final, Protocol

import spnego
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from spnego.channel_bindings import GssChannelBindings
from spnego.exceptions import InvalidTokenError, SpnegoError

from connectors import settings as ways
from connectors._exchange_errors import UNREADABLE, NotEws, not_offered, schemes
from connectors.base import CredentialStore
from connectors.errors import AuthRequired, Misconfigured
from connectors.network import Dial
from connectors.oauth import access_token
from connectors.settings import ExchangeSettings

Ask = Callable[[Mapping[str, str]], HTTPResponse]
"""Sends an empty request with these headers on the connection that is to be signed in."""

_WEAK: Final = frozenset({"md5", "sha1"})  # RFC 5929, 4.1


class SignIn(Protocol):
    """One way to sign in. `secret` is there to be kept out of what we say."""

    @property
    def secret(self) -> str: ...

    @property
    def is_for_each_request(self) -> bool: ...

    def headers(self, ask: Ask, host: str, certificate: bytes | None) -> Mapping[str, str]:
        """Return what the next request must carry."""


def sign_in(settings: ExchangeSettings, credentials: CredentialStore, dial: Dial, refused: str | None = None) -> SignIn:
    """Load the secret and return the way to use it; of tokens never the `refused` one. Raises `ConnectorError`."""
    if settings.sign_in is ways.SignIn.OAUTH:
        token = access_token(credentials, dial, refused=refused)
        return Fixed(token, f"Bearer {token}")
    secret = credentials.load()[0]
    if settings.sign_in is ways.SignIn.BASIC:
        if ":" in settings.username:  # RFC 7617, 2
            raise Misconfigured(f"{settings.username} can't sign in by basic, for the colon: choose ntlm.")
        pair = base64.b64encode(f"{settings.username}:{secret}".encode()).decode("ascii")
        return Fixed(secret, f"Basic {pair}")
    return Ntlm(secret, settings)


@dataclass(frozen=True)
class Fixed:
    """The same header with each request: Basic (RFC 7617) and Bearer (RFC 6750)."""

    secret: str = field(repr=False)
    header: str = field(repr=False)
    is_for_each_request: bool = True

    def headers(self, _ask: Ask, _host: str, _certificate: bytes | None) -> Mapping[str, str]:
        return {"Authorization": self.header}


@dataclass(frozen=True)
class Ntlm:
    """NTLM over HTTP (MS-NTHT): one empty request fetches the challenge, then the connection stays signed in.

    The answer is bound to the server's certificate (RFC 5929), as Exchange's Extended Protection demands.
    """

    secret: str = field(repr=False)
    settings: ExchangeSettings
    is_for_each_request: bool = False

    def headers(self, ask: Ask, host: str, certificate: bytes | None) -> Mapping[str, str]:
        try:
            return self._headers(ask, host, certificate, "NTLM")
        except (InvalidTokenError, *UNREADABLE) as error:
            raise NotEws from error
        except SpnegoError as error:
            raise AuthRequired(
                f"{host} and this program don't agree on NTLM ({type(error).__name__}): check user name and password."
            ) from None

    def _headers(self, ask: Ask, host: str, certificate: bytes | None, scheme: str) -> Mapping[str, str]:
        client = spnego.client(
            self.settings.username,
            self.secret,
            hostname=host,
            service="HTTP",
            channel_bindings=_binding(certificate),
            protocol="ntlm",
            options=spnego.NegotiateOptions.use_ntlm,  # Python's own, whatever this machine offers
        )
        response = ask({"Authorization": f"{scheme} {_b64(client.step())}"})
        if response.status != 401:
            return {}  # it wants no sign-in, or doesn't work at all: the request itself will tell
        offered = response.headers.get_all("WWW-Authenticate") or []
        if (challenge := _challenge(scheme, offered)) is not None:
            return {"Authorization": f"{scheme} {_b64(client.step(challenge))}"}
        # Where a server names only Negotiate, bare NTLM will do for it as well (MS-NEGOEX aside, RFC 4559).
        if scheme == "NTLM" and "ntlm" not in schemes(offered) and "negotiate" in schemes(offered):
            return self._headers(ask, host, certificate, "Negotiate")
        raise not_offered(self.settings, offered)


def _challenge(scheme: str, offered: list[str]) -> bytes | None:
    for value in offered:
        for item in value.split(","):
            name, _, token = item.strip().partition(" ")
            if name.lower() == scheme.lower() and token.strip():
                try:
                    return base64.b64decode(token.strip(), validate=True)
                except binascii.Error as error:
                    raise NotEws from error
    return None


def _b64(token: bytes | None) -> str:
    return base64.b64encode(token or b"").decode("ascii")


def _binding(certificate: bytes | None) -> GssChannelBindings | None:
    if certificate is None:
        return None
    try:
        algorithm = x509.load_der_x509_certificate(certificate).signature_hash_algorithm
    except (ValueError, UnsupportedAlgorithm):
        algorithm = None
    digest = hashes.Hash(hashes.SHA256() if algorithm is None or algorithm.name in _WEAK else algorithm)
    digest.update(certificate)
    return GssChannelBindings(application_data=b"tls-server-end-point:" + digest.finalize())
