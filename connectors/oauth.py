"""OAuth: an access token out of a stored grant, renewed when it must be (RFC 6749, 6).

A grant is a JSON object with a ``type``:

``authorized_user``  Google's own file: client_id, client_secret, refresh_token, and token_uri if it isn't Google's
``service_account``  Google's own file: client_email, private_key, token_uri; acts for a mailbox of its Workspace domain
``microsoft``        tenant, client_id, client_secret; and refresh_token, or the msal cache of a user's sign-in; without
                     either, an application's own access; scope and authority if they aren't the usual ones
``bearer``           access_token, renewed by somebody else

In all of them access_token and expires_at (seconds since 1970) are what was last got. ends_at is when the sign-in as a
whole ends and secret_ends_at when the app's client secret does, where that is known.
"""

import json
import time
from base64 import urlsafe_b64decode
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeGuard

from connectors._http import Http
from connectors.base import CredentialStore, StaleCredential
from connectors.errors import AuthRequired, ConnectorError, Misconfigured, Unavailable
from connectors.network import Dial

GOOGLE_TOKENS: Final = "https://oauth2.googleapis.com/token"
MICROSOFT: Final = "https://login.microsoftonline.com"


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """What a token is for, by the names that the issuers have for it."""

    google_scope: str
    user_scope: str
    application_scope: str
    application_right: str = ""  # where the role that lets an app in has another name than a user's right
    authority: str = MICROSOFT


IMAP: Final = Resource(
    google_scope="https://mail.google.com/",
    user_scope="https://outlook.office.com/IMAP.AccessAsUser.All",
    application_scope="https://outlook.office365.com/.default",
    application_right="IMAP.AccessAsApp",
)
GMAIL: Final = Resource(
    google_scope="https://www.googleapis.com/auth/gmail.readonly", user_scope="", application_scope=""
)

EARLY: Final = timedelta(minutes=5)
"""How long before its end a token is renewed: a poll must not lose it on the way."""
LIFE: Final = 3600
"""Seconds that a token lives whose issuer doesn't say."""
LONGEST_LIFE: Final = 10**9
"""Seconds from which on what an issuer says of a life is nonsense."""
ASSERTION_LIFE: Final = 3600
"""Seconds for which a service account vouches for itself: the longest that Google takes."""
JWT_BEARER: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"  # RFC 7523, 2.1
KINDS: Final = ("authorized_user", "service_account", "microsoft", "bearer")

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
    "AADSTS90094": "Only an administrator may consent to this app: have one consent for the tenant, in Entra.",
    "AADSTS65004": f"The person didn't agree that their mail is read: {AGAIN}, and agree.",
    "AADSTS7000218": "The client is registered as one with a secret: put client_secret into its file.",
    "AADSTS50011": "The address that the sign-in returns to isn't registered with the app: add it there.",
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
    "access_denied": f"The person didn't agree that their mail is read: {AGAIN}, and agree.",
    "authorization_declined": f"The person didn't agree that their mail is read: {AGAIN}, and agree.",
    "expired_token": f"Nobody typed the code in time: {AGAIN}.",
    "code_expired": f"Nobody typed the code in time: {AGAIN}.",
    "consent_required": "Nobody has consented to what the app asks for: an administrator must, or the user.",
    "invalid_scope": "{issuer} doesn't grant the rights asked for: correct the scope of the grant.",
}

PASSING: Final = frozenset({"temporarily_unavailable", "server_error", "internal_failure"})
"""Errors that go away by themselves; Google writes the last one."""

Grant = dict[str, Any]


def access_token(
    credentials: CredentialStore,
    dial: Dial,
    *,
    resource: Resource = IMAP,
    mailbox: str | None = None,
    refused: str | None = None,
    ca_file: str | None = None,
    clock: Callable[[], float] = time.time,
) -> str:
    """Return a token that should be accepted now; never `refused`, which a server has just turned down.

    `mailbox` is whom a Google service account acts for.

    What is renewed is stored by compare-and-swap, with no lock held meanwhile: who loses takes the winner's token.
    Raises `AuthRequired`, `Misconfigured`, `Unavailable` and `Throttled`.
    """
    secret, version = credentials.load()
    grant = _parse(secret)
    if token := _usable(grant, refused, clock()):
        return token
    try:
        renewed = _Renewal(grant, resource, mailbox, clock()).of(dial, ca_file)
    except AuthRequired:
        # Where a refresh token is good for one use, it is refused to whoever comes second: no person needs to act.
        current, current_version = credentials.load()
        if current_version == version:
            raise
        if token := _usable(_parse(current), refused, clock()):
            return token
        raise Unavailable("This inbox's sign-in was replaced meanwhile; it will be tried again.") from None
    token = str(renewed["access_token"])
    try:
        credentials.save(json.dumps(grant | renewed), version)
    except StaleCredential:
        return _usable(_parse(credentials.load()[0]), refused, clock()) or token
    return token


def _parse(secret: str) -> Grant:
    try:
        grant = json.loads(secret)
    except (ValueError, RecursionError):
        grant = None
    if isinstance(grant, dict) and "type" not in grant and "tenant" in grant:
        grant = {"type": "microsoft"} | grant  # an app's registration as people write it down: Microsoft has no file
    if not isinstance(grant, dict) or grant.get("type") not in KINDS:
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


def ends_at(secret: str) -> datetime | None:
    """Return when a grant ends for good, so far as that is known: its user's sign-in, or the client secret."""
    try:
        grant = json.loads(secret)
        ends = [grant[name] for name in ("ends_at", "secret_ends_at") if isinstance(grant.get(name), int | float)]
        return datetime.fromtimestamp(min(ends), UTC) if ends else None
    except (ValueError, AttributeError, OverflowError, OSError):  # a password is no grant
        return None


def user(secret: str) -> str | None:
    """Return the name under which a person has signed in, where the issuer has told it."""
    try:
        name = json.loads(secret).get("user")
    except (ValueError, AttributeError):
        return None
    return name if isinstance(name, str) else None


def granted(secret: str) -> tuple[str, ...]:
    """Return the rights that the last token came with, so far as the issuer has told; those of an app are its roles.

    Tokens of Microsoft's are not ours to read (RFC 6749, 1.4), so what can't be read is no error and decides nothing.
    """
    try:
        grant = json.loads(secret)
        if isinstance(grant.get("granted"), str) and "/.default" not in grant["granted"]:
            return tuple(grant["granted"].split())
        claims = str(grant.get("access_token", "")).split(".")[1]
        roles = json.loads(urlsafe_b64decode(claims + "=="))["roles"]
        return tuple(each for each in roles if isinstance(each, str))
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return ()


@dataclass(frozen=True, slots=True)
class _Renewal:
    """One renewal of a grant. Its result is what must be kept of the answer."""

    grant: Grant
    resource: Resource
    mailbox: str | None
    now: float

    def of(self, dial: Dial, ca_file: str | None) -> Grant:
        http = Http(dial, ca_file)
        try:
            match self.grant["type"]:
                case "authorized_user":
                    issuer, answer = "Google", self._google_user(http)
                case "service_account":
                    issuer, answer = "Google", self._google_service(http)
                case "microsoft":
                    issuer, answer = "Microsoft", self._microsoft(http)
                case _:
                    raise AuthRequired(
                        f"The access token of this inbox has run out or is refused: get a new one, and {STORE}."
                    )
        finally:
            http.close()
        return kept(answer, issuer, self.now)

    def _google_user(self, http: Http) -> object:
        """Renew at a token endpoint by ourselves: google-auth sleeps and tries again inside the caller's thread."""
        form = {name: _needed(self.grant, name) for name in ("client_id", "client_secret", "refresh_token")}
        return self._google(http, form | {"grant_type": "refresh_token"})

    def _google_service(self, http: Http) -> object:
        """Vouch for ourselves (RFC 7523), for the mailbox's user (domain-wide delegation)."""
        from google.auth import crypt, jwt

        claims = {
            "iss": _needed(self.grant, "client_email"),
            "sub": self.grant.get("subject") or self.mailbox,
            "scope": self.grant.get("scope") or self.resource.google_scope,
            "aud": self.grant.get("token_uri") or GOOGLE_TOKENS,
            "iat": int(self.now),
            "exp": int(self.now) + ASSERTION_LIFE,
        }
        try:
            signer = crypt.RSASigner.from_string(_needed(self.grant, "private_key"), self.grant.get("private_key_id"))
        except ValueError:
            raise AuthRequired(
                f"The private_key of this service account can't be read: make a key, and {STORE}."
            ) from None
        assertion = jwt.encode(signer, claims).decode()
        return self._google(http, {"grant_type": JWT_BEARER, "assertion": assertion})

    def _google(self, http: Http, form: Mapping[str, str]) -> object:
        answer = http.post(self.grant.get("token_uri") or GOOGLE_TOKENS, data=form)
        try:
            return json.loads(answer.text)
        except (ValueError, RecursionError):
            raise Unavailable(f"Google's token endpoint answered {answer.status_code} and no JSON.") from None

    def _microsoft(self, http: Http) -> object:
        """Renew by msal, which keeps the tokens of a user's sign-in in a cache of its own."""
        import msal

        grant, resource = self.grant, self.resource
        cache = msal.SerializableTokenCache()
        secret, refresh = grant.get("client_secret"), grant.get("refresh_token")
        with misread(grant, resource):
            cache.deserialize(grant.get("cache"))
            app = microsoft_app(grant, resource, http, cache)
            user = [grant.get("scope") or resource.user_scope]
            if account := next(iter(app.get_accounts()), None):
                answer = app.acquire_token_silent_with_error(user, account, force_refresh=True)
                if answer is None:  # there is nothing to ask with
                    raise AuthRequired(f"The stored sign-in has no refresh token: {AGAIN}.")
                return answer | {"cache": cache.serialize()}
            if refresh:
                return app.acquire_token_by_refresh_token(refresh, user)
            if not secret:
                raise AuthRequired(f"This grant has neither refresh_token nor client_secret: {AGAIN}.")
            return app.acquire_token_for_client([grant.get("scope") or resource.application_scope])


def microsoft_app(grant: Mapping[str, Any], resource: Resource, http: Http, cache: Any) -> Any:  # noqa: ANN401 - untyped
    """Return msal's app for a grant. Raises what msal raises, which `misread` turns into a sentence."""
    import msal

    kind = msal.ConfidentialClientApplication if grant.get("client_secret") else msal.PublicClientApplication
    return kind(
        _needed(grant, "client_id"),
        client_credential=grant.get("client_secret"),
        authority=_authority(grant, resource),
        http_client=http,
        instance_discovery=False,
        token_cache=cache,
    )


def _authority(grant: Mapping[str, Any], resource: Resource) -> str:
    return f"{(grant.get('authority') or resource.authority).rstrip('/')}/{_needed(grant, 'tenant')}"


@contextmanager
def misread(grant: Mapping[str, Any], resource: Resource) -> Iterator[None]:
    """Say what it means where msal meets an answer that it can't read."""
    try:
        yield
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        raise Misconfigured(
            f"Microsoft's sign-in at {_authority(grant, resource)} can't be used: check tenant and authority."
        ) from error


def kept(answer: object, issuer: str, now: float) -> Grant:
    """Return what a grant must keep of a token endpoint's answer. Raises what a refusal means."""
    if not isinstance(answer, dict) or not isinstance(answer.get("access_token"), str):
        raise _refusal(answer if isinstance(answer, dict) else {}, issuer)
    fields = {name: answer[name] for name in ("access_token", "refresh_token", "cache") if answer.get(name)}
    if isinstance(answer.get("scope"), str):
        fields["granted"] = answer["scope"]
    life, whole = answer.get("expires_in"), answer.get("refresh_token_expires_in")
    fields["expires_at"] = int(now + (life if _is_life(life) else LIFE))
    if issuer == "Google" and _is_life(whole) and "refresh_token" in fields:
        # Only of sign-ins that end for good, as those of clients in testing mode do: refreshing doesn't prolong them.
        fields["ends_at"] = int(now + whole)
    return fields


def _is_life(seconds: object) -> TypeGuard[int]:
    return isinstance(seconds, int) and 0 < seconds < LONGEST_LIFE


def _needed(grant: Mapping[str, Any], name: str) -> str:
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
    error = answer.get("error")
    if (
        not isinstance(error, str) or not error
    ):  # a no has a reason (RFC 6749, 5.2): a fault must stop no inbox for good
        return Unavailable(f"{issuer}'s sign-in sent an answer that can't be read; it will be tried again.")
    if error in PASSING:
        return Unavailable(f"{issuer}'s sign-in is out of service for now; it will be tried again.")
    sentence = ERRORS.get(error, f"{issuer} doesn't accept this sign-in ({error[:40]}): {AGAIN}.")
    return AuthRequired(sentence.replace("{issuer}", issuer))
