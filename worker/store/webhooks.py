"""Webhooks, and what is still to be delivered to each: one row for each event and webhook, made when it is numbered."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, RowMapping

from worker.store.database import locked
from worker.store.keyring import KeyRing
from worker.store.schema import deliveries, outbox, webhooks


class WebhookState(StrEnum):
    """Whether a webhook is called."""

    ACTIVE = "active"
    DISABLED = "disabled"  # by a person, or by its receiver's 410


class DeliveryState(StrEnum):
    """Where a delivery stands."""

    WAITING = "waiting"
    DELIVERED = "delivered"
    DEAD = "dead"  # tried for days; a person may have it tried again


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """Where an account's events are sent. `types` empty means all; `trusted` that the operator named the host."""

    id: str
    account: str
    url: str
    types: tuple[str, ...]
    trusted: bool
    state: WebhookState
    problem: str | None
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One event on its way to one webhook."""

    webhook_id: str
    position: int
    event_id: str
    payload: dict[str, Any]
    attempts: int


def add(connection: Connection, ring: KeyRing, webhook: Webhook, secret: str) -> None:
    """Keep a new webhook with its first secret."""
    values = {name: getattr(webhook, name) for name in Webhook.__slots__} | {"types": list(webhook.types)}
    connection.execute(sa.insert(webhooks).values(values | {"secrets": _seal(ring, webhook.id, [secret])}))


def listed(connection: Connection, account: str | None = None) -> Sequence[Webhook]:
    """Return webhooks, of one account or of all, oldest first."""
    query = webhooks.select().order_by(webhooks.c.created_at, webhooks.c.id)
    if account is not None:
        query = query.where(webhooks.c.account == account)
    return [_webhook(row) for row in connection.execute(query).mappings()]


def get(connection: Connection, webhook_id: str) -> Webhook | None:
    """Return one webhook, or None."""
    row = connection.execute(webhooks.select().where(webhooks.c.id == webhook_id)).mappings().first()
    return _webhook(row) if row else None


def secrets(connection: Connection, ring: KeyRing, webhook_id: str) -> list[str]:
    """Return a webhook's secrets, newest first: while they are rotated there are two."""
    row = connection.execute(sa.select(webhooks.c.secrets).where(webhooks.c.id == webhook_id)).first()
    opened: list[str] = json.loads(ring.open(row.secrets, webhook_id)) if row else []
    return opened


def keep_secrets(connection: Connection, ring: KeyRing, webhook_id: str, kept: Sequence[str]) -> None:
    """Replace a webhook's secrets."""
    change(connection, webhook_id, secrets=_seal(ring, webhook_id, kept))


def change(connection: Connection, webhook_id: str, **values: object) -> None:
    """Set columns of a webhook."""
    connection.execute(sa.update(webhooks).where(webhooks.c.id == webhook_id).values(**values))


def remove(connection: Connection, webhook_id: str) -> None:
    """Forget a webhook and its deliveries."""
    connection.execute(sa.delete(webhooks).where(webhooks.c.id == webhook_id))


def fan_out(connection: Connection, positions: Sequence[tuple[int, str, str, str]], now: datetime) -> None:
    """Make deliveries of newly numbered events: (position, account, type, order key)."""
    accounts = sorted({account for _, account, _, _ in positions})
    query = webhooks.select().where(webhooks.c.account.in_(accounts), webhooks.c.state == WebhookState.ACTIVE)
    targets = [_webhook(row) for row in connection.execute(query).mappings()]
    rows = [
        {
            "webhook_id": target.id,
            "position": position,
            "order_key": order_key,
            "state": DeliveryState.WAITING,
            "attempts": 0,
            "next_attempt_at": now,
        }
        for position, account, kind, order_key in positions
        for target in targets
        if target.account == account and (not target.types or kind in target.types)
    ]
    if rows:
        connection.execute(sa.insert(deliveries), rows)


def take_due(connection: Connection, now: datetime, again_at: datetime, limit: int) -> list[Delivery]:
    """Take deliveries that are due and have no earlier one about the same contact before them."""
    earlier = deliveries.alias("earlier")
    is_held_up = sa.exists().where(
        earlier.c.webhook_id == deliveries.c.webhook_id,
        earlier.c.order_key == deliveries.c.order_key,
        earlier.c.position < deliveries.c.position,
        earlier.c.state == DeliveryState.WAITING,
    )
    due = (
        sa.select(deliveries.c.webhook_id, deliveries.c.position)
        .join(webhooks, webhooks.c.id == deliveries.c.webhook_id)
        .where(
            deliveries.c.state == DeliveryState.WAITING,
            deliveries.c.next_attempt_at <= now,
            webhooks.c.state == WebhookState.ACTIVE,
            ~is_held_up,
        )
        .order_by(deliveries.c.next_attempt_at, deliveries.c.position)
        .limit(limit)
    )
    chosen = [tuple(row) for row in connection.execute(locked(due, skip=True, of=deliveries))]
    if not chosen:
        return []
    mine = sa.tuple_(deliveries.c.webhook_id, deliveries.c.position).in_(chosen)
    connection.execute(
        sa.update(deliveries).where(mine).values(next_attempt_at=again_at, attempts=deliveries.c.attempts + 1)
    )
    query = (
        sa.select(
            deliveries.c.webhook_id,
            deliveries.c.position,
            outbox.c.event_id,
            outbox.c.payload,
            deliveries.c.attempts,
        )
        .join(outbox, outbox.c.position == deliveries.c.position)
        .where(mine)
        .order_by(deliveries.c.position)
    )
    return [Delivery(**row) for row in connection.execute(query).mappings()]


def settle(
    connection: Connection,
    delivery: Delivery,
    state: DeliveryState,
    now: datetime,
    *,
    next_attempt_at: datetime | None = None,
    problem: str | None = None,
) -> None:
    """Note down what an attempt came to."""
    connection.execute(
        sa.update(deliveries)
        .where(deliveries.c.webhook_id == delivery.webhook_id, deliveries.c.position == delivery.position)
        .values(
            state=state,
            problem=problem,
            next_attempt_at=next_attempt_at,
            delivered_at=now if state is DeliveryState.DELIVERED else None,
        )
    )


def replay(connection: Connection, webhook_id: str, now: datetime, event_id: str | None = None) -> int:
    """Have dead deliveries tried again, all of a webhook's or one; return how many."""
    where = [deliveries.c.webhook_id == webhook_id, deliveries.c.state == DeliveryState.DEAD]
    if event_id is not None:
        position = sa.select(outbox.c.position).where(outbox.c.event_id == event_id).scalar_subquery()
        where = [deliveries.c.webhook_id == webhook_id, deliveries.c.position == position]
    again = sa.update(deliveries).where(*where).values(state=DeliveryState.WAITING, attempts=0, next_attempt_at=now)
    return connection.execute(again).rowcount


def counts(connection: Connection, webhook_id: str) -> dict[str, int]:
    """Return how many deliveries of a webhook stand in which state."""
    query = (
        sa.select(deliveries.c.state, sa.func.count())
        .where(deliveries.c.webhook_id == webhook_id)
        .group_by(deliveries.c.state)
    )
    return {row[0]: row[1] for row in connection.execute(query)}


def _webhook(row: RowMapping) -> Webhook:
    values = {name: row[name] for name in Webhook.__slots__}
    return Webhook(**values | {"types": tuple(row["types"]), "state": WebhookState(row["state"])})


def _seal(ring: KeyRing, webhook_id: str, kept: Sequence[str]) -> bytes:
    return ring.seal(json.dumps(list(kept)).encode(), webhook_id)
