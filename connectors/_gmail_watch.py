"""Watching a Gmail mailbox: Gmail publishes to a Pub/Sub topic of the operator's when the mailbox changes.

https://developers.google.com/workspace/gmail/api/guides/push. A watch lasts for seven days at most and is asked for
anew each day. What Pub/Sub then pushes to us names the mailbox, and proves itself by a token of Google's
(`connectors.push`).
"""

from datetime import UTC, datetime

from connectors._gmail_http import GmailSession
from connectors.base import CredentialStore, Subscription
from connectors.errors import Unavailable
from connectors.network import Dial, dial
from connectors.settings import GmailSettings


class GmailSubscriber:
    """See `Subscriber`. `target` is a topic's name, and no call can bear a secret."""

    def __init__(self, settings: GmailSettings, credentials: CredentialStore, dial: Dial = dial) -> None:
        self._session = GmailSession(settings, credentials, dial)
        self._address = settings.address

    def subscribe(self, target: str, secret: str) -> Subscription:  # noqa: ARG002 - Pub/Sub signs instead
        request = self._session.client.users.watch(userId=self._address, body={"topicName": target})
        with self._session.use():
            answer = self._session.ask(request)
        try:
            ends = datetime.fromtimestamp(int(answer["expiration"]) / 1000, UTC)
        except (LookupError, ValueError, TypeError, OverflowError, OSError):
            raise Unavailable("Gmail doesn't say how long it will tell of new mail; it will be asked again.") from None
        return Subscription(id=self._address, expires_at=ends)

    def renew(self, subscription: str, target: str) -> Subscription:
        return self.subscribe(target, subscription)

    def unsubscribe(self, subscription: str) -> None:
        request = self._session.client.users.stop(userId=subscription)
        request.postproc = lambda *_: {}  # it answers nothing
        with self._session.use():
            self._session.ask(request)

    def close(self) -> None:
        self._session.close()
