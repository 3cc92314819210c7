"""Webhooks: made, looked at, tested, and their dead letters sent again."""

import secrets
import uuid
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from worker import pipeline
from worker.admin import AdminProblem
from worker.contract import EVENTS
from worker.pipeline import Context
from worker.store import accounts, webhooks
from worker.store.database import reading, writing
from worker.store.webhooks import Webhook, WebhookState

SECRET_BYTES: Final = 32
"""Standard Webhooks asks for 24 to 64."""
MOST: Final = 20
"""Webhooks of one account."""
SHOWN: Final = 100
LONGEST_URL: Final = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Added:
    """A webhook, and the secret that its receiver verifies calls by; it is shown once."""

    webhook: Webhook
    secret: str


def add(context: Context, account: str, url: str, types: Sequence[str] = (), *, trusted: bool = False) -> Added:
    """Have an account's events sent to `url`; without `types`, all of them.

    `trusted` says that the operator speaks, who may name any host, and http; a tenant's are reached through the guard.
    """
    _check(url, types, trusted=trusted)
    now = context.now()
    webhook = Webhook(
        id=uuid.uuid4().hex,
        account=account,
        url=url,
        types=tuple(sorted(set(types))),
        trusted=trusted,
        state=WebhookState.ACTIVE,
        problem=None,
        created_at=now,
    )
    secret = _new_secret()
    with writing(context.engine) as connection:
        accounts.ensure(connection, account, now)
        if len(webhooks.listed(connection, account)) >= MOST:
            raise AdminProblem(f"Account {account} has {MOST} webhooks already: remove one before.")
        webhooks.add(connection, context.ring, webhook, secret)
    return Added(webhook=webhook, secret=secret)


def _check(url: str, types: Sequence[str], *, trusted: bool) -> None:
    try:
        place = urlsplit(url)
        is_good = bool(place.hostname) and place.port != 0 and len(url) <= LONGEST_URL and url.isprintable()
    except ValueError:
        is_good = False
    if not is_good or place.username is not None or place.fragment or " " in url:
        raise AdminProblem("That is no address to call: write it such as https://crm.example/bounces.")
    if place.scheme != "https" and not (trusted and place.scheme == "http"):
        raise AdminProblem("A webhook's address must begin with https://: events name people.")
    if unknown := sorted(set(types) - set(EVENTS)):
        raise AdminProblem(f"There is no event {', '.join(unknown)}"[:500] + f": use any of {', '.join(EVENTS)}.")


def listed(context: Context, account: str | None) -> list[dict[str, Any]]:
    """Return webhooks as JSON objects, each with how many deliveries stand how."""
    with reading(context.engine) as connection:
        found = [(each, webhooks.counts(connection, each.id)) for each in webhooks.listed(connection, account)]
    return [row(webhook, counts) for webhook, counts in found]


def row(webhook: Webhook, counts: dict[str, int]) -> dict[str, Any]:
    """Return a webhook as people see it."""
    return {
        "schema": 1,
        "id": webhook.id,
        "account": webhook.account,
        "url": webhook.url,
        "types": list(webhook.types),
        "state": webhook.state,
        "problem": webhook.problem,
        "created_at": webhook.created_at.isoformat(),
        "deliveries": counts,
    }


def dead(context: Context, account: str | None, webhook_id: str, limit: int = SHOWN) -> list[dict[str, Any]]:
    """Return the oldest deliveries that were given up: which event, and why."""
    the_webhook(context, account, webhook_id)
    with reading(context.engine) as connection:
        return webhooks.dead(connection, webhook_id, limit)


def test(context: Context, account: str | None, webhook_id: str) -> str | None:
    """Call a webhook now with a test event; return what went wrong, or None."""
    return pipeline.test_webhook(context, the_webhook(context, account, webhook_id)).problem


def replay(context: Context, account: str | None, webhook_id: str, event_id: str | None = None) -> int:
    """Have what was given up sent again, or one event whatever came of it; return how many. Enables the webhook."""
    webhook = the_webhook(context, account, webhook_id)
    with writing(context.engine) as connection:
        webhooks.change(connection, webhook.id, state=WebhookState.ACTIVE, problem=None)
        return webhooks.replay(connection, webhook.id, context.now(), event_id)


def rotate(context: Context, account: str | None, webhook_id: str) -> Added:
    """Make a new secret; calls carry a signature by the old one as well, until the next rotation."""
    webhook = the_webhook(context, account, webhook_id)
    secret = _new_secret()
    with writing(context.engine) as connection:
        old = webhooks.secrets(connection, context.ring, webhook.id)
        webhooks.keep_secrets(connection, context.ring, webhook.id, [secret, *old[:1]])
    return Added(webhook=webhook, secret=secret)


def remove(context: Context, account: str | None, webhook_id: str) -> None:
    """Forget a webhook, and what was still to be sent to it."""
    webhook = the_webhook(context, account, webhook_id)
    with writing(context.engine) as connection:
        webhooks.remove(connection, webhook.id)


def the_webhook(context: Context, account: str | None, webhook_id: str) -> Webhook:
    """Return a webhook of an account, by its id, the beginning of it, or its address. Raises `AdminProblem`."""
    with reading(context.engine) as connection:
        everyone = webhooks.listed(connection, account)
    found = [each for each in everyone if each.id.startswith(webhook_id) or each.url == webhook_id]
    if len(found) != 1:
        said = f"Several webhooks are called {webhook_id}" if found else f"There is no webhook {webhook_id}"
        raise AdminProblem(f"{said}{f' in account {account}' if account else ''}: see bounce-worker webhooks list.")
    return found[0]


def _new_secret() -> str:
    return f"whsec_{b64encode(secrets.token_bytes(SECRET_BYTES)).decode()}"
