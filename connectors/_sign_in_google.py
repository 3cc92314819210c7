"""Google's side of signing in (https://developers.google.com/identity/protocols/oauth2/web-server, …/native-app)."""

import hmac
import json
import secrets
from collections.abc import Mapping
from typing import Any, Final

from oauthlib.oauth2 import OAuth2Error, WebApplicationClient

from connectors._http import Http
from connectors.errors import AuthRequired, Misconfigured, Unavailable
from connectors.network import Dial
from connectors.oauth import GOOGLE_TOKENS, Grant, Resource, kept

SIGN_IN: Final = "https://accounts.google.com/o/oauth2/v2/auth"


def begin(
    client: Mapping[str, Any], resource: Resource, redirect_uri: str, address: str
) -> tuple[str, str, dict[str, Any]]:
    """Return where the person goes, the state that comes back, and what finishing needs."""
    app = WebApplicationClient(client["client_id"])
    verifier, state = app.create_code_verifier(64), secrets.token_urlsafe(32)
    try:
        url = app.prepare_request_uri(
            client.get("auth_uri") or SIGN_IN,
            redirect_uri=redirect_uri,
            scope=[resource.google_scope],
            state=state,
            code_challenge=app.create_code_challenge(verifier, "S256"),
            code_challenge_method="S256",
            access_type="offline",  # with a refresh token…
            prompt="consent",  # …every time: Google gives one only where the person is asked
            login_hint=address,
        )
    except OAuth2Error:  # it takes no address but https
        raise Misconfigured(
            "The auth_uri of the client file must begin with https://: download the file again."
        ) from None
    return url, state, {"state": state, "verifier": verifier, "redirect_uri": redirect_uri}


def finish(
    client: Mapping[str, Any],
    resource: Resource,
    begun: Mapping[str, str],
    answer: Mapping[str, str],
    dial: Dial,
    ca_file: str | None,
    now: float,
) -> Grant:
    """Change the code that came back for tokens. Raises `ConnectorError`."""
    if not hmac.compare_digest(answer.get("state", "").encode(), begun["state"].encode()):
        raise AuthRequired("This answer belongs to another sign-in: begin again.")
    if error := answer.get("error"):
        if error == "access_denied":
            raise AuthRequired("The person didn't agree that their mail is read: begin again, and agree.")
        if error == "admin_policy_enforced":
            raise AuthRequired("The administrator of this Google Workspace has not allowed the app: ask for it there.")
        raise AuthRequired(f"Google doesn't sign in ({error[:40]}): begin again, or correct the client there.")
    if not answer.get("code"):
        raise AuthRequired("Google's answer has no code: begin again.")
    body = WebApplicationClient(client["client_id"]).prepare_request_body(
        code=answer["code"],
        redirect_uri=begun["redirect_uri"],
        code_verifier=begun["verifier"],
        client_secret=client["client_secret"],
    )
    http = Http(dial, ca_file)
    try:
        said = http.post(client.get("token_uri") or GOOGLE_TOKENS, data=body)
    finally:
        http.close()
    try:
        tokens = json.loads(said.text)
    except (ValueError, RecursionError):
        raise Unavailable(f"Google's token endpoint answered {said.status_code} and no JSON.") from None
    grant = kept(tokens, "Google", now)
    if resource.google_scope not in str(tokens.get("scope", resource.google_scope)).split():
        # Consent is granular: a person may leave the box before a right empty.
        raise AuthRequired("The right to read mail was not given: begin again, and leave its box ticked.")
    if "refresh_token" not in grant:
        raise Misconfigured(
            "Google gave no refresh token: remove the app under the user's Google account, begin again."
        )
    return grant
