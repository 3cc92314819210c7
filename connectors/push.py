"""Whether it is Google that calls us: Pub/Sub signs each push with a token that names whom it is for.

https://cloud.google.com/pubsub/docs/authenticate-push-subscriptions
"""

import json
import threading
import time
from base64 import b64decode
from collections.abc import Callable, Mapping
from typing import Any, Final

from connectors._http import Http
from connectors.errors import Unavailable
from connectors.network import Dial

CERTIFICATES: Final = "https://www.googleapis.com/oauth2/v1/certs"
ISSUERS: Final = ("https://accounts.google.com", "accounts.google.com")
KEPT: Final = 3600.0
"""Seconds for which Google's certificates are kept: they overlap by days."""
AT_MOST_EVERY: Final = 60.0
"""Seconds between two questions for them, however many tokens bear a key that we don't know."""


class GooglePush:
    """Verifies pushes of one Pub/Sub subscription. `audience` and `account` are what its owner has set there."""

    def __init__(
        self,
        audience: str,
        account: str,
        dial: Dial,
        *,
        url: str = CERTIFICATES,
        ca_file: str | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._audience, self._account = audience, account
        self._dial, self._url, self._ca_file, self._clock = dial, url, ca_file, clock
        self._certificates: Mapping[str, str] = {}
        self._asked_at = float("-inf")
        self._lock = threading.Lock()

    def is_genuine(self, authorization: str) -> bool:
        """Tell whether an Authorization header proves who calls. Raises `ConnectorError` where nobody can tell."""
        from google.auth import exceptions, jwt

        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer":
            return False
        try:
            key = str(jwt.decode_header(token).get("kid", ""))
            claims: Mapping[str, Any] = jwt.decode(
                token, certs=self._certificates_for(key), audience=self._audience, clock_skew_in_seconds=60
            )
        except (
            ValueError,
            TypeError,
            AttributeError,
            RecursionError,
            exceptions.GoogleAuthError,
        ):  # how google-auth says no
            return False
        return (
            claims.get("iss") in ISSUERS
            and claims.get("email") == self._account
            and claims.get("email_verified") is True
        )

    def _certificates_for(self, key: str) -> Mapping[str, str]:
        with self._lock:
            age = self._clock() - self._asked_at
            if age > KEPT or (key not in self._certificates and age > AT_MOST_EVERY):
                self._asked_at = self._clock()
                self._certificates = self._ask()
            return {key: self._certificates[key]} if key in self._certificates else {}

    def _ask(self) -> Mapping[str, str]:
        http = Http(self._dial, self._ca_file)
        try:
            answer = json.loads(http.get(self._url).text)
        except ValueError:
            raise Unavailable("Google's certificates can't be read; the push will come again.") from None
        finally:
            http.close()
        return {str(key): str(value) for key, value in answer.items()} if isinstance(answer, dict) else {}


def mailbox_of(body: bytes) -> str | None:
    """Return the address of the mailbox that a push of Gmail speaks of; None where it is none.

    https://developers.google.com/workspace/gmail/api/guides/push#receiving_notifications
    """
    try:
        data = json.loads(body)["message"]["data"]
        # Gmail's data is base64url by its documentation, and base64 by Pub/Sub's.
        address = json.loads(b64decode(data.translate(str.maketrans("-_", "+/")) + "=="))["emailAddress"]
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):  # binascii.Error is a ValueError
        return None
    return address if isinstance(address, str) else None
