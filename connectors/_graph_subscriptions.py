"""Change notifications: Graph calls us when mail comes (learn.microsoft.com/graph/change-notifications-overview).

A notification holds no mail. It bears the secret that its subscription was made with, which is all that proves it.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from connectors._graph_http import GraphSession
from connectors.base import CredentialStore, Subscription
from connectors.errors import MessageGone
from connectors.network import Dial, dial
from connectors.settings import Office365Settings

LIFE: Final = timedelta(days=3)
"""How long a subscription is asked for: half of what Graph gives (10,080 minutes), as one that we forget goes on."""


class Office365Subscriber:
    """See `Subscriber`."""

    def __init__(
        self,
        settings: Office365Settings,
        credentials: CredentialStore,
        dial: Dial = dial,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._session = GraphSession(settings, credentials, dial)
        self._address = settings.address
        self._clock = clock

    def subscribe(self, target: str, secret: str) -> Subscription:
        """Graph calls `target` at once to see that we are there, before it answers."""
        return self._read(
            self._session.change(
                "POST",
                "subscriptions",
                {
                    "changeType": "created",
                    "resource": f"users/{self._address}/mailFolders('inbox')/messages",
                    "notificationUrl": target,
                    "lifecycleNotificationUrl": target,
                    "clientState": secret,
                    "expirationDateTime": self._end(),
                },
            )
        )

    def renew(self, subscription: str, target: str) -> Subscription:  # noqa: ARG002 - another provider names it again
        return self._read(
            self._session.change("PATCH", f"subscriptions/{subscription}", {"expirationDateTime": self._end()})
        )

    def unsubscribe(self, subscription: str) -> None:
        with suppress(MessageGone):
            self._session.change("DELETE", f"subscriptions/{subscription}", None)

    def close(self) -> None:
        self._session.close()

    def _end(self) -> str:
        return f"{self._clock() + LIFE:%Y-%m-%dT%H:%M:%SZ}"

    def _read(self, answer: Mapping[str, Any]) -> Subscription:
        try:
            ends = datetime.fromisoformat(str(answer["expirationDateTime"]))
            return Subscription(id=str(answer["id"]), expires_at=ends if ends.tzinfo else ends.replace(tzinfo=UTC))
        except (LookupError, ValueError):
            raise self._session.nonsense() from None
