"""OAuth: an access token out of a stored grant, renewed when it must be (RFC 6749, 6).

A grant is a JSON object with a ``type``:

``authorized_user``  Google's own file: client_id, client_secret, refresh_token, and token_uri if it isn't Google's
``microsoft``        tenant, client_id, client_secret, refresh_token; without the last, an application's own access;
                     scope and authority if they aren't those of mail in the public cloud
``bearer``           access_token, renewed by somebody else

In all of them access_token and expires_at (seconds since 1970) are what was last got.
"""

import json
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, Final

from connectors._http import Http
from connectors.base import CredentialStore, StaleCredential
from connectors.errors import AuthRequired, ConnectorError, Misconfigured, Unavailable
from connectors.network import Dial

GOOGLE_TOKENS: Final = "https://oauth2.googleapis.com/token"
MICROSOFT: Final = "https://login.microsoftonline.com"
USER_SCOPE: Final = "https://outlook.office.com/IMAP.AccessAsUser.All"
APPLICATION_SCOPE: Final = "https://outlook.office365.com/.default"
EARLY: Final = timedelta(minutes=5)
"""How long before its end a token is renewed: a poll must not lose it on the way."""
LIFE: Final = 3600
"""Seconds that a token lives whose issuer doesn't say."""

AGAIN: Final = "connect the inbox again"
STORE: Final = "store it with inbox resume --credentials"

MICROSOFT_ERRORS: Final[Mapping[str, str]] = {
    # https://learn.microsoft.com/entra/identity-platform/reference-error-codes
    "AADSTS7000222": f"The client secret of the app registration has expired: make a new one in Entra, and {STORE}.",
    "AADSTS7000215": f"The client secret is not the app registration's: copy its value (not its id), and {STORE}.",
    "AADSTS700016": "Microsoft knows no such app in this tenant: correct client_id or tenant.",
    "AADSTS90002": "Microsoft knows no such tenant: correct it.",
    "AADSTS65001": "Nobody has consented to what the app asks for: an administrator must, or the user by signing in.",
    "AADSTS50076": f"Microsoft wants a second factor from this user: {AGAIN}.",
    "AADSTS50079": f"This user must set up a second factor: after that, {AGAIN}.",
    "AADSTS50158": f"A conditional access policy of the tenant wants more from this user: {AGAIN}.",
    "AADSTS53003": "A conditional access policy of the tenant keeps the app out: its administrator must let it in.",
    "AADSTS50173": f"The user's password was changed or the sign-in revoked: {AGAIN}.",
    "AADSTS700082": f"The sign-in has expired because nobody used it for long: {AGAIN}.",
    "AADSTS50057": "The user's account is disabled: ask the tenant's administrator.",
    "AADSTS50034": "Microsoft knows no such user in this tenant: correct the address.",
}
ERRORS: Final[Mapping[str, str]] = {  # RFC 6749, 5.2, and OpenID Connect's own
    "invalid_grant": (
        "{issuer} no longer accepts this sign-in (revoked, password changed, not used for months, or from a client in "
        f"testing mode, which lasts 7 days): {AGAIN}."
    ),
    "interaction_required": f"{{issuer}} wants this user to sign in once more: {AGAIN}.",
    "invalid_client": f"{{issuer}} doesn't accept client_id and client_secret: correct them, and {STORE}.",
    "unauthorized_client": "{issuer} doesn't allow this client to sign in so: correct the app's settings there.",
    "invalid_scope": "{issuer} doesn't grant the rights asked for: correct the scope of the grant.",
}

Grant = dict[str, Any]


def access_token(
    credentials: CredentialStore,
    dial: Dial,
    *,
    refused: str | None = None,
    ca_file: str | None = None,
    clock: Callable[[], float] = time.time,
) -> str:
    """Return a token that should be accepted now; never `refused`, which a server has just turned down.

    What is renewed is stored by compare-and-swap, with no lock held meanwhile: who loses takes the winner's token.
    Raises `AuthRequired`, `Misconfigured`, `Unavailable` and `Throttled`.
    """
    secret, version = credentials.load()
    grant = _parse(secret)
    if token := _usable(grant, refused, clock()):
        return token
    try:
        renewed = _renewed(grant, dial, ca_file)
    except AuthRequired:
        # Where a refresh token is good for one use, it is refused to whoever comes second: no person needs to act.
        current, current_version = credentials.load()
        if current_version == version:
            raise
        if token := _usable(_parse(current), refused, clock()):
            return token
        raise Unavailable("This inbox's sign-in was replaced meanwhile; it will be tried again.") from None
    renewed["expires_at"] = int(clock() + renewed.pop("expires_in", LIFE))
    token = str(renewed["access_token"])
    try:
        credentials.save(json.dumps(grant | renewed), version)
    except StaleCredential:
        return _usable(_parse(credentials.load()[0]), refused, clock()) or token
    return token


def _parse(secret: str) -> Grant:
    try:
        grant = json.loads(secret)
    except ValueError:
        grant = None
    if not isinstance(grant, dict) or grant.get("type") not in ("authorized_user", "microsoft", "bearer"):
        raise AuthRequired(
            f"What is stored for this inbox is no OAuth grant (JSON with a type that we know): make one, and {STORE}."
        )
    return grant


def _usable(grant: Grant, refused: str | None, now: float) -> str | None:
    token, until = grant.get("access_token"), grant.get("expires_at")
    if not isinstance(token, str) or not token or token == refused:
        return None
    if not token.isascii() or not token.isprintable():
        return None  # it would not fit into any protocol
    if until is None:
        return token if grant["type"] == "bearer" else None
    return token if isinstance(until, int | float) and until - EARLY.total_seconds() > now else None


def _renewed(grant: Grant, dial: Dial, ca_file: str | None) -> Grant:
    http = Http(dial, ca_file)
    try:
        match grant["type"]:
            case "authorized_user":
                issuer, answer = "Google", _google(grant, http)
            case "microsoft":
                issuer, answer = "Microsoft", _microsoft(grant, http)
            case _:
                raise AuthRequired(
                    f"The access token of this inbox has run out or is refused: get a new one, and {STORE}."
                )
    finally:
        http.close()
    if not isinstance(answer, dict) or not isinstance(answer.get("access_token"), str):
        raise _refusal(answer if isinstance(answer, dict) else {}, issuer)
    kept = ("access_token", "refresh_token", "expires_in")
    renewed = {name: answer[name] for name in kept if answer.get(name)}
    if not isinstance(renewed.get("expires_in", LIFE), int):
        renewed["expires_in"] = LIFE
    return renewed


def _google(grant: Grant, http: Http) -> object:
    """Renew at a token endpoint by ourselves: google-auth sleeps and tries again inside the caller's thread."""
    form = {name: _needed(grant, name) for name in ("client_id", "client_secret", "refresh_token")}
    answer = http.post(grant.get("token_uri") or GOOGLE_TOKENS, data=form | {"grant_type": "refresh_token"})
    try:
        return json.loads(answer.text)
    except ValueError:
        raise Unavailable(f"Google's token endpoint answered {answer.status_code} and no JSON.") from None


def _microsoft(grant: Grant, http: Http) -> object:
    import msal

    authority = f"{(grant.get('authority') or MICROSOFT).rstrip('/')}/{_needed(grant, 'tenant')}"
    options = {"authority": authority, "http_client": http, "instance_discovery": False}
    secret, refresh = grant.get("client_secret"), grant.get("refresh_token")
    try:
        if secret:
            app = msal.ConfidentialClientApplication(_needed(grant, "client_id"), client_credential=secret, **options)
        else:
            app = msal.PublicClientApplication(_needed(grant, "client_id"), **options)
        if refresh:
            return app.acquire_token_by_refresh_token(refresh, [grant.get("scope") or USER_SCOPE])
        if not secret:
            raise AuthRequired(f"This grant has neither refresh_token nor client_secret: {AGAIN}.")
        return app.acquire_token_for_client([grant.get("scope") or APPLICATION_SCOPE])
    except (ValueError, LookupError, TypeError, AttributeError) as error:  # how msal meets what it can't read
        raise Misconfigured(f"Microsoft's sign-in at {authority} can't be used: check tenant and authority.") from error


def _needed(grant: Grant, name: str) -> str:
    value = grant.get(name)
    if not isinstance(value, str) or not value:
        raise AuthRequired(f"The stored grant lacks {name}: make it whole, and {STORE}.")
    return value


def _refusal(answer: Grant, issuer: str) -> ConnectorError:
    """Return what a person can do. The issuer's own text stays out: it may name more than it should."""
    said = str(answer.get("error_description") or "")
    for code, sentence in MICROSOFT_ERRORS.items():
        if f"{code}:" in said:
            return AuthRequired(sentence)
    error = str(answer.get("error") or "")
    if error in ("temporarily_unavailable", "server_error"):
        return Unavailable(f"{issuer}'s sign-in is out of service for now; it will be tried again.")
    sentence = ERRORS.get(
        error, f"{issuer} refuses to renew this sign-in ({error[:40] or 'no reason given'}): {AGAIN}."
    )
    return AuthRequired(sentence.replace("{issuer}", issuer))
