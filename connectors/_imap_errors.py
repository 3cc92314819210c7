"""Every failure of imaplib, ssl, the socket and the server, in words and in `ConnectorError`s."""

import re
import socket
import ssl
from datetime import timedelta
from typing import Final

from imapclient.exceptions import CapabilityError, IMAPClientAbortError, IMAPClientError

from connectors.errors import AuthRequired, ConnectorError, Misconfigured, Throttled, Unavailable
from connectors.settings import ImapSettings, Security, SignIn

RETRY_AFTER: Final = timedelta(minutes=10)
"""How long to leave a server in peace that asks for patience and names no time."""

UNREADABLE: Final = (ValueError, TypeError, LookupError, AttributeError, AssertionError, RecursionError)
"""What imapclient's parser raises when the answer isn't IMAP at all."""

_RETRY_AFTER_LIMIT: Final = timedelta(days=1)
_WORDS_LIMIT: Final = 200

# Response codes of RFC 3501, 7.1 and RFC 5530, 3, and those that providers have added.
_THROTTLED: Final = frozenset({"LIMIT", "OVERQUOTA", "THROTTLED"})
_UNAVAILABLE: Final = frozenset({"UNAVAILABLE", "INUSE", "SERVERBUG", "CORRUPTION"})
_REFUSED: Final = frozenset({"AUTHENTICATIONFAILED", "AUTHORIZATIONFAILED", "EXPIRED", "CONTACTADMIN", "WEBALERT"})

_CODE: Final = re.compile(r"\[([A-Z][A-Z-]*)[^\]]*\]")
# [ALERT] says only that a person should see the text, so the text decides.
_PATIENCE: Final = re.compile(
    r"too many|throttl|rate.?limit|try again|bandwidth|simultaneous|maximum number|temporar",
    re.IGNORECASE,
)
_BACKOFF: Final = re.compile(r"backoff time:? *(\d+) *milliseconds", re.IGNORECASE)  # Exchange Online
_MODERN_SIGN_IN: Final = re.compile(r"basic\s?auth|basicauthblocked|modern auth|oauth", re.IGNORECASE)
_APP_PASSWORD: Final = re.compile(r"app(lication)?[- ]?(specific)?[- ]password", re.IGNORECASE)
# QUIRK: both answer a right password of the wrong kind as they answer a wrong one.
_GOOGLE: Final = frozenset({"imap.gmail.com", "imap.googlemail.com"})
_MICROSOFT: Final = frozenset({"outlook.office365.com", "imap-mail.outlook.com", "outlook.office.com"})
# imaplib's own texts, which may quote mail; everything else in an abort is the server's BYE.
_IMAPLIB_TEXT: Final = re.compile(r"socket error|unexpected|unterminated|got more than", re.IGNORECASE)
_WRAPPING: Final = re.compile(
    r"""^(command: \S+ => |\w+ failed: |\w+ command error: BAD )+|^\[?b?['"]|['"]\]?$""", re.IGNORECASE
)


def translate(error: BaseException, settings: ImapSettings, secret: str | None = None) -> ConnectorError | None:
    """Return what `error` means for the caller, or None where it isn't the mailbox's doing."""
    match error:
        case CapabilityError():
            return Misconfigured(f"{_at(settings)} doesn't offer STARTTLS: use its TLS port, usually 993, with tls.")
        case IMAPClientAbortError():
            return _lost(error, settings, secret)
        case IMAPClientError():
            return _refused(error, settings, secret)
        case OSError():
            return _network(error, settings)
    return _unreadable(error, settings)


def _unreadable(error: BaseException, settings: ImapSettings) -> ConnectorError | None:
    if isinstance(error, OverflowError | UnicodeError) and not isinstance(error, UnicodeDecodeError):
        return Misconfigured(f"{_at(settings)} can't be the address of a server: correct host and port.")
    if isinstance(error, UNREADABLE):
        return Unavailable(f"{_at(settings)} sent an answer that isn't IMAP: check host, port and security.")
    return None


def translate_login(error: IMAPClientError, settings: ImapSettings, secret: str) -> ConnectorError:
    """Return what a failed sign-in means. imapclient calls a lost connection a `LoginError` as well."""
    if isinstance(error.__context__, IMAPClientAbortError | OSError):
        return translate(error.__context__, settings, secret) or _lost(error, settings, secret)
    words = server_words(error, secret)
    if spoken := _by_code(words, settings):
        return spoken
    who = f"{settings.host} refuses the sign-in of {settings.username}"
    if _MODERN_SIGN_IN.search(words):
        return modern_sign_in(settings)
    if _APP_PASSWORD.search(words):
        return AuthRequired(f"{who}: create an app password with the provider and enter it ({words}).")
    if _PATIENCE.search(words):
        return _throttled(words, settings)
    return AuthRequired(f"{who}{_what_to_do(settings)} ({words}).")


def _what_to_do(settings: ImapSettings) -> str:
    if settings.sign_in is not SignIn.PASSWORD:
        return " by OAuth: connect the inbox again"
    host = settings.host.rstrip(".").lower()
    if host in _GOOGLE:
        return ": Google takes app passwords only, so create one and enter it, or connect the inbox by OAuth"
    if host in _MICROSOFT:
        return ": Microsoft takes no passwords for IMAP, so connect the inbox by OAuth"
    return ": enter the current password"


def modern_sign_in(settings: ImapSettings) -> AuthRequired:
    return AuthRequired(
        f"{settings.host} no longer takes passwords and needs modern sign-in (OAuth):"
        " connect this inbox with its provider's own sign-in."
    )


def server_words(error: BaseException, secret: str | None = None) -> str:
    """Return the server's own words, short, printable and without the secret, should it have echoed it."""
    text = " ".join(str(error).split())
    while (bare := _WRAPPING.sub("", text)) != text:
        text = bare
    if secret:
        text = text.replace(secret, "…")
    text = "".join(letter if letter.isprintable() else "?" for letter in text).strip(". ")
    return text[:_WORDS_LIMIT] or "no reason given"


def _by_code(words: str, settings: ImapSettings) -> ConnectorError | None:
    codes = set(_CODE.findall(words))
    if codes & _THROTTLED:
        return _throttled(words, settings)
    if codes & _UNAVAILABLE:
        return Unavailable(f"{_at(settings)} is out of service for now; it will be tried again ({words}).")
    if "PRIVACYREQUIRED" in codes:
        return Misconfigured(f"{_at(settings)} insists on encryption: set security to tls or starttls ({words}).")
    if "AUTHENTICATIONFAILED" not in codes and codes & _REFUSED:
        return AuthRequired(f"{settings.host} refuses {settings.username}: {words}; sign in again or ask its operator.")
    return None


def _throttled(words: str, settings: ImapSettings) -> Throttled:
    told = _BACKOFF.search(words)
    retry_after = timedelta(milliseconds=int(told[1])) if told else RETRY_AFTER
    return Throttled(
        f"{settings.host} asks to be left in peace for a while ({words}).", min(retry_after, _RETRY_AFTER_LIMIT)
    )


def _lost(error: BaseException, settings: ImapSettings, secret: str | None) -> ConnectorError:
    """A connection that the server closed, with a BYE or without."""
    words = server_words(error, secret)
    if _IMAPLIB_TEXT.search(words):
        return Unavailable(f"{_at(settings)} broke off the connection; it will be tried again.")
    if spoken := _by_code(words, settings):
        return spoken
    if _PATIENCE.search(words):
        return _throttled(words, settings)
    return Unavailable(f"{_at(settings)} closed the connection ({words}); it will be tried again.")


def _refused(error: BaseException, settings: ImapSettings, secret: str | None) -> ConnectorError:
    """A command that the server answered with NO or BAD, or an answer that imapclient couldn't parse."""
    words = server_words(error, secret)
    if spoken := _by_code(words, settings):
        return spoken
    if _PATIENCE.search(words):
        return _throttled(words, settings)
    if _IMAPLIB_TEXT.search(words):
        return Unavailable(f"{_at(settings)} sent an answer that can't be read; it will be tried again.")
    return Unavailable(f"{_at(settings)} refused a command ({words}); it will be tried again.")


def _network(error: OSError, settings: ImapSettings) -> ConnectorError:
    where = _at(settings)
    match error:
        case ssl.SSLCertVerificationError():
            why = f"{where} shows a certificate that can't be trusted ({error.verify_message})"
            return Misconfigured(f"{why}: correct the host name, or set ca_file to the authority that signed it.")
        case ssl.SSLError() if error.reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"):
            return Misconfigured(f"{where} doesn't speak TLS on this port: use port 993, or security starttls or none.")
        case socket.gaierror():
            return Unavailable(f"{where} has no address in DNS: check the host name, then this machine's DNS.")
        case ConnectionRefusedError():
            return Unavailable(f"{where} refuses connections: check host and port, or wait until the server is back.")
        case TimeoutError():
            # A TLS port waits for our first word, as we wait for the server's.
            hint = "" if settings.security is Security.TLS else " (does this port want tls?)"
            return Unavailable(f"{where} didn't answer in time{hint}: check host, port and firewall, or wait.")
    reason = getattr(error, "reason", None) or error.strerror or type(error).__name__
    return Unavailable(f"{where} can't be reached ({reason}); it will be tried again.")


def _at(settings: ImapSettings) -> str:
    return f"{settings.host}:{settings.port}"
