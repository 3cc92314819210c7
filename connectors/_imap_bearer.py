"""Signing in to IMAP by an access token: OAUTHBEARER (RFC 7628), and XOAUTH2, which Google and Microsoft speak."""

import binascii
import json
from typing import Final

from imapclient import IMAPClient
from imapclient.exceptions import IMAPClientAbortError, IMAPClientError

from connectors._imap_errors import translate_login
from connectors.errors import AuthRequired, Misconfigured
from connectors.settings import ImapSettings, SignIn

_NAME: Final = str.maketrans({",": "=2C", "=": "=3D"})  # RFC 5801, 4
_STATUS_LIMIT: Final = 60


class TokenRefused(AuthRequired):
    """The server turned a token down: another one may do."""


def sign_in_by_token(client: IMAPClient, settings: ImapSettings, token: str) -> None:
    """Sign in, or say why not. Raises `TokenRefused`, `Misconfigured` and what a refused sign-in means otherwise."""
    mechanism = settings.sign_in.value.upper()
    offered = sorted(each[5:].decode() for each in client.capabilities() if each.startswith(b"AUTH="))
    if mechanism not in offered:
        what = ", ".join(offered) or "passwords only"
        raise Misconfigured(f"{settings.host} doesn't offer {mechanism}, but {what}: change --sign-in.")
    if not settings.username.isprintable():
        raise AuthRequired(f"The name {settings.username!r} has a control character: correct it.")
    if settings.sign_in is SignIn.XOAUTH2:
        response, give_up = f"user={settings.username}\1auth=Bearer {token}\1\1", b""
    else:
        place = f"n,a={settings.username.translate(_NAME)},\1host={settings.host}\1port={settings.port}"
        response, give_up = f"{place}\1auth=Bearer {token}\1\1", b"\1"
    complaint = b""

    def answer(challenge: bytes) -> bytes:
        nonlocal complaint
        if not challenge:
            return response.encode()
        complaint = challenge  # the reason, before the refusal itself (RFC 7628, 3.2.2)
        return give_up

    try:
        client.sasl_login(mechanism, answer)
    except IMAPClientError as error:
        if complaint:
            status = _status(complaint)
            raise TokenRefused(
                f"{settings.host} refuses the sign-in of {settings.username} by OAuth ({status}):"
                " connect the inbox again, by this user, with the right to read mail by IMAP."
            ) from None
        meant = translate_login(error, settings, token)
        if isinstance(error.__context__, IMAPClientAbortError | OSError) or not isinstance(meant, AuthRequired):
            raise meant from None
        raise TokenRefused(str(meant)) from None


def _status(complaint: bytes) -> str:
    """Return the status out of a server's JSON, if that is what it says."""
    try:
        status = str(json.loads(complaint)["status"])
    except (ValueError, TypeError, LookupError, binascii.Error):
        return "no reason given"
    return "".join(letter for letter in status if letter.isprintable())[:_STATUS_LIMIT]
