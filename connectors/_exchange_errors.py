"""Every failure of HTTP, TLS, the socket and Exchange, in words and in `ConnectorError`s."""

import math
import re
import socket
import ssl
import struct
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from email.message import Message
from email.utils import parsedate_to_datetime
from http.client import HTTPException
from typing import Final

from exchangelib import errors as ews

from connectors._exchange_url import EwsUrl
from connectors.errors import AuthRequired, ConnectorError, Misconfigured, Throttled, Unavailable
from connectors.settings import ExchangeSettings, SignIn

RETRY_AFTER: Final = timedelta(minutes=5)
"""How long to leave a server in peace that asks for patience and names no time."""

UNREADABLE: Final = (ValueError, TypeError, LookupError, AttributeError, AssertionError, struct.error)
"""What exchangelib and pyspnego raise when they are given nonsense."""

_RETRY_AFTER_LIMIT: Final = timedelta(days=1)
_WORDS_LIMIT: Final = 200
_SCHEME: Final = re.compile(r"(?:^|,)\s*([A-Za-z][\w-]*)(?=\s*(?:,|$)|\s+[\w+/=\"])")

_BUSY: Final = (
    ews.ErrorServerBusy,
    ews.ErrorExceededConnectionCount,
    ews.ErrorTooManyObjectsOpened,
    ews.ErrorInsufficientResources,
)
_SIGN_IN: Final = (
    ews.ErrorAccountDisabled,
    ews.ErrorPasswordExpired,
    ews.ErrorPasswordChangeRequired,
    ews.ErrorInvalidSerializedAccessToken,
    ews.ErrorTokenSerializationDenied,
)
_RIGHTS: Final = (ews.ErrorAccessDenied, ews.ErrorMailboxLogonFailed)
_IMPERSONATION: Final = (
    ews.ErrorImpersonateUserDenied,
    ews.ErrorImpersonationDenied,
    ews.ErrorImpersonationFailed,
    ews.ErrorInvalidExchangeImpersonationHeaderData,
)
_MAILBOX: Final = (
    ews.ErrorNonExistentMailbox,
    ews.ErrorNonPrimarySmtpAddress,
    ews.ErrorMissingEmailAddress,
    ews.ErrorInvalidSmtpAddress,
    ews.ErrorInvalidMailbox,
    ews.ErrorMailRecipientNotFound,
    ews.ErrorMailboxConfiguration,
)


class TooLarge(Exception):
    """An answer that is larger than we are ready to read."""


class NotEws(Exception):
    """An answer that isn't EWS at all."""


def translate(error: BaseException, settings: ExchangeSettings, secret: str) -> ConnectorError | None:  # noqa: PLR0911 - a list of cases
    """Return what `error` means for the caller, or None where it isn't the mailbox's doing."""
    match error:
        case ews.EWSError():
            return _told(error, settings, secret)
        case TooLarge():
            return Unavailable(f"{_at(settings)} sent an answer that is absurdly large; it will be tried again.")
        case OSError():  # before HTTPException: a connection closed at once is both
            return _network(error, settings)
        case NotEws() | HTTPException():
            return Unavailable(f"{_at(settings)} sent an answer that isn't EWS: check the endpoint.")
        case OverflowError() | UnicodeError() if not isinstance(error, UnicodeDecodeError):
            return Misconfigured(f"{_at(settings)} can't be the address of a server: correct the endpoint.")
        case _ if isinstance(error, UNREADABLE):
            return Unavailable(f"{_at(settings)} sent an answer that can't be read: check the endpoint.")
    return None


def refusal(settings: ExchangeSettings, status: int, headers: Message, offered: Sequence[str]) -> ConnectorError:  # noqa: PLR0911 - a list of cases
    """Return what an HTTP status other than success means."""
    where = _at(settings)
    told = f"(HTTP {status})"
    if status == 401:
        return _unauthorised(settings, offered)
    if 300 <= status < 400:
        target = _printable(headers.get("Location", "nowhere"), 100)
        return Misconfigured(f"{where} points to {target}, which is not followed: correct the endpoint.")
    if status == 403:
        return Misconfigured(
            f"{where} forbids EWS to {settings.username}: ask its administrator to allow EWS for this mailbox {told}."
        )
    if status in (404, 405):
        return Misconfigured(f"{where} has no EWS at this path: the endpoint mostly ends in /EWS/Exchange.asmx {told}.")
    if (wait := _retry_after(headers)) is not None:
        return Throttled(f"{where} asks to be left in peace for a while {told}.", wait)
    if status == 429:
        return Throttled(f"{where} asks to be left in peace for a while {told}.", RETRY_AFTER)
    return Unavailable(f"{where} is out of order; it will be tried again {told}.")


def not_offered(settings: ExchangeSettings, offered: Sequence[str]) -> AuthRequired:
    names = schemes(offered)
    if settings.sign_in.value in names or not names:
        return AuthRequired(
            f"{_at(settings)} doesn't sign in {settings.username} by {settings.sign_in}: ask its administrator."
        )
    return AuthRequired(
        f"{_at(settings)} has {settings.sign_in} sign-in switched off; it offers {', '.join(names)}:"
        " choose another sign-in, or have its administrator switch it on."
    )


def schemes(offered: Sequence[str]) -> list[str]:
    """Return the ways to sign in that WWW-Authenticate offers (RFC 9110, 11.6.1), in small letters, each once."""
    return list(dict.fromkeys(name.lower() for value in offered for name in _SCHEME.findall(value)))


def _unauthorised(settings: ExchangeSettings, offered: Sequence[str]) -> AuthRequired:
    names = schemes(offered)
    wanted = {SignIn.OAUTH: {"bearer"}, SignIn.NTLM: {"ntlm", "negotiate"}}.get(settings.sign_in, {"basic"})
    if names and not wanted & set(names):
        return not_offered(settings, offered)
    what = "sign in again" if settings.sign_in is SignIn.OAUTH else "enter the current password"
    hint = f" (it offers {', '.join(names)})" if names else ""
    return AuthRequired(f"{_at(settings)} refuses the sign-in of {settings.username}: {what}{hint}.")


def _told(error: ews.EWSError, settings: ExchangeSettings, secret: str) -> ConnectorError:
    """What Exchange itself said, by its response code."""
    where = _at(settings)
    words = f"{type(error).__name__}: {_words(error, secret)}"
    match error:
        case _ if isinstance(error, _BUSY):
            return Throttled(f"{where} asks to be left in peace for a while ({words}).", back_off(error))
        case _ if isinstance(error, _SIGN_IN):
            return AuthRequired(f"{where} refuses {settings.username}: sign in again or ask its operator ({words}).")
        case _ if isinstance(error, _IMPERSONATION):
            return Misconfigured(
                f"{settings.username} may not impersonate {settings.address}:"
                f" ask the administrator for the role ApplicationImpersonation, or set access to delegate ({words})."
            )
        case _ if isinstance(error, _RIGHTS):
            return Misconfigured(
                f"{settings.username} may not read all of the mailbox {settings.address}:"
                f" ask for the right to it, or choose the folders that it may read ({words})."
            )
        case _ if isinstance(error, _MAILBOX):
            return Misconfigured(f"{where} has no mailbox {settings.address}: correct the address ({words}).")
    return Unavailable(f"{where} couldn't answer; it will be tried again ({words}).")


def back_off(error: ews.EWSError) -> timedelta:
    """Return how long Exchange wants to be left in peace; never less than it said."""
    seconds = getattr(error, "back_off", None)
    if not isinstance(seconds, int | float) or not math.isfinite(seconds) or seconds <= 0:
        return RETRY_AFTER
    return min(timedelta(seconds=min(float(seconds), 1e9)), _RETRY_AFTER_LIMIT)


def _retry_after(headers: Message) -> timedelta | None:
    """Read Retry-After (RFC 9110, 10.2.3): seconds, or a date."""
    value = str(headers.get("Retry-After", "")).strip()
    if value.isdecimal() and value.isascii():
        wait = timedelta(seconds=min(int(value[:12]), 1_000_000))
    else:
        try:
            date = parsedate_to_datetime(value)
            wait = date.astimezone(UTC) - datetime.now(UTC)
        except (ValueError, TypeError, OverflowError):
            return None
    return min(max(wait, timedelta(0)), _RETRY_AFTER_LIMIT)


def _network(error: OSError, settings: ExchangeSettings) -> ConnectorError:  # noqa: PLR0911 - a list of cases
    where = _at(settings)
    match error:
        case ssl.SSLCertVerificationError():
            why = f"{where} shows a certificate that can't be trusted ({error.verify_message})"
            return Misconfigured(f"{why}: correct the host name, or set ca_file to the authority that signed it.")
        case ssl.SSLError() if error.reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"):
            return Misconfigured(f"{where} doesn't speak TLS on this port: correct the endpoint.")
        case socket.gaierror():
            return Unavailable(f"{where} has no address in DNS: check the endpoint, then this machine's DNS.")
        case ConnectionRefusedError():
            return Unavailable(f"{where} refuses connections: check the endpoint, or wait until the server is back.")
        case TimeoutError():
            return Unavailable(f"{where} didn't answer in time: check endpoint and firewall, or wait.")
        case ConnectionError():
            return Unavailable(f"{where} broke off the connection; it will be tried again.")
    reason = getattr(error, "reason", None) or error.strerror or type(error).__name__
    return Unavailable(f"{where} can't be reached ({reason}); it will be tried again.")


def _words(error: BaseException, secret: str) -> str:
    """Return the server's own words, short, printable and without the secret, should it have echoed it."""
    text = " ".join(str(error).split())
    if secret:
        text = text.replace(secret, "…")
    return _printable(text, _WORDS_LIMIT) or "no reason given"


def _printable(text: str, limit: int) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text).strip(". ")[:limit]


def _at(settings: ExchangeSettings) -> str:
    return EwsUrl.parse(settings.endpoint).host
