"""Microsoft's side of signing in, which msal does: PKCE, state and nonce are its own."""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from connectors._http import Http
from connectors.errors import AuthRequired
from connectors.network import Dial
from connectors.oauth import Grant, Resource, kept, microsoft_app, misread

NOT_YET: Final = frozenset({"authorization_pending", "slow_down"})  # RFC 8628, 3.5

OF_ANOTHER: Final = "This answer belongs to another sign-in: begin again."


def begin(
    client: Mapping[str, Any], resource: Resource, redirect_uri: str, address: str, dial: Dial, ca_file: str | None
) -> tuple[str, str, dict[str, Any]]:
    """Return where the person goes, the state that comes back, and what finishing needs."""
    # A code in an address ends up in histories and logs, so it is posted (RFC 9700, 4.3.1); but to this machine itself
    # it comes in the address, which a person can also copy from a browser that runs elsewhere.
    mode = "form_post" if redirect_uri.startswith("https:") else "query"
    with _app(client, resource, dial, ca_file) as (app, _), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="response_mode='form_post' is recommended")
        flow = app.initiate_auth_code_flow(
            [resource.user_scope], redirect_uri=redirect_uri, login_hint=address, response_mode=mode
        )
        return flow["auth_uri"], flow["state"], flow


def finish(
    client: Mapping[str, Any],
    resource: Resource,
    begun: Mapping[str, Any],
    answer: Mapping[str, str],
    dial: Dial,
    ca_file: str | None,
    now: float,
) -> Grant:
    """Change the code that came back for tokens. Raises `ConnectorError`."""
    if answer.get("state") != begun["state"]:  # msal says so as well, but not in words that can be told from others
        raise AuthRequired(OF_ANOTHER)
    with _app(client, resource, dial, ca_file) as (app, cache):
        try:
            result = app.acquire_token_by_auth_code_flow(dict(begun), dict(answer))
        except RuntimeError:  # the nonce in the id token (OpenID Connect Core, 3.1.3.7)
            raise AuthRequired(OF_ANOTHER) from None
        return _kept(result, cache, now)


def begin_device(client: Mapping[str, Any], resource: Resource, dial: Dial, ca_file: str | None) -> dict[str, Any]:
    """Return msal's flow: user_code, verification_uri, interval."""
    with _app(client, resource, dial, ca_file) as (app, _):
        flow: dict[str, Any] = app.initiate_device_flow([resource.user_scope])
    if "user_code" not in flow:
        kept(flow, "Microsoft", 0)  # which tells why
    return flow


def finish_device(
    client: Mapping[str, Any], resource: Resource, begun: Mapping[str, Any], dial: Dial, ca_file: str | None, now: float
) -> Grant | None:
    """Ask once; None where the person hasn't typed the code yet."""
    with _app(client, resource, dial, ca_file) as (app, cache):
        result = app.acquire_token_by_device_flow(dict(begun), exit_condition=lambda _: True)
        return None if result.get("error") in NOT_YET else _kept(result, cache, now)


def _kept(result: Mapping[str, Any], cache: Any, now: float) -> Grant:  # noqa: ANN401 - untyped
    """Return what the grant must keep: msal's cache holds the refresh token, and the account it belongs to."""
    grant = kept(dict(result) | {"cache": cache.serialize()}, "Microsoft", now)
    grant.pop("refresh_token", None)
    claims = result.get("id_token_claims") or {}
    user = claims.get("preferred_username") or claims.get("email")
    return grant | ({"user": user} if isinstance(user, str) else {})


@contextmanager
def _app(client: Mapping[str, Any], resource: Resource, dial: Dial, ca_file: str | None) -> Iterator[tuple[Any, Any]]:
    import msal

    cache = msal.SerializableTokenCache()
    http = Http(dial, ca_file)
    try:
        with misread(client, resource):
            yield microsoft_app(client, resource, http, cache), cache
    finally:
        http.close()
