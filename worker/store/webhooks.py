"""Webhooks, and what is still to be delivered to each: one row for each event and webhook, made when it is numbered."""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

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

    @property
    def correlation_id(self) -> str | None:
        """That of the notice that caused the event, if one did."""
        return self.payload.get("correlation_id")


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


def reseal(connection: Connection, ring: KeyRing) -> int:
    """Encrypt all secrets with the newest key; return how many webhooks there are."""
    found = [each.id for each in listed(connection)]
    for webhook_id in found:
        keep_secrets(connection, ring, webhook_id, secrets(connection, ring, webhook_id))
    return len(found)


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


def with_due(connection: Connection, now: datetime, besides: Collection[str], limit: int) -> list[Webhook]:
    """Return webhooks, in no order, for which something is due."""
    is_due = sa.exists().where(deliveries.c.webhook_id == webhooks.c.id, *_due(now))
    query = webhooks.select().where(webhooks.c.state == WebhookState.ACTIVE, is_due)
    if besides:
        query = query.where(webhooks.c.id.not_in(sorted(besides)))
    query = query.order_by(sa.func.random()).limit(limit)
    return [_webhook(row) for row in connection.execute(query).mappings()]


def take_due(connection: Connection, webhook_id: str, now: datetime, again_at: datetime, limit: int) -> list[Delivery]:
    """Take a webhook's deliveries that are due and have no earlier one about the same contact before them."""
    earlier = deliveries.alias("earlier")
    is_held_up = sa.exists().where(
        earlier.c.webhook_id == deliveries.c.webhook_id,
        earlier.c.order_key == deliveries.c.order_key,
        earlier.c.position < deliveries.c.position,
        earlier.c.state == _WAITING,
    )
    due = (
        sa.select(deliveries.c.position)
        .where(deliveries.c.webhook_id == webhook_id, *_due(now), ~is_held_up)
        .order_by(deliveries.c.next_attempt_at, deliveries.c.position)
        .limit(limit)
    )
    chosen = list(connection.execute(locked(due, skip=True)).scalars())
    if not chosen:
        return []
    mine = deliveries.c.webhook_id == webhook_id, deliveries.c.position.in_(chosen)
    connection.execute(
        sa.update(deliveries).where(*mine).values(next_attempt_at=again_at, attempts=deliveries.c.attempts + 1)
    )
    columns = deliveries.c.webhook_id, deliveries.c.position, deliveries.c.attempts
    same = outbox.c.position == deliveries.c.position
    query = sa.select(*columns, outbox.c.event_id, outbox.c.payload).join(outbox, same).where(*mine)
    return [Delivery(**row) for row in connection.execute(query.order_by(deliveries.c.position)).mappings()]


_WAITING: Final[sa.ColumnElement[str]] = sa.literal_column(
    f"'{DeliveryState.WAITING}'"
)  # spelled out, so that the partial indexes serve


def _due(now: datetime) -> tuple[sa.ColumnElement[bool], ...]:
    return deliveries.c.state == _WAITING, deliveries.c.next_attempt_at <= now


def any_due(connection: Connection, now: datetime) -> bool:
    """Whether a call is due now, to a webhook that is called."""
    return bool(with_due(connection, now, (), 1))


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
            settled_at=now if state is not DeliveryState.WAITING else None,
        )
    )


def dead(connection: Connection, webhook_id: str, limit: int) -> list[dict[str, Any]]:
    """Return the oldest deliveries of a webhook that were given up."""
    same = outbox.c.position == deliveries.c.position
    columns = outbox.c.event_id, outbox.c.type, deliveries.c.attempts, deliveries.c.problem, deliveries.c.settled_at
    mine = deliveries.c.webhook_id == webhook_id, deliveries.c.state == DeliveryState.DEAD
    query = sa.select(*columns).join(outbox, same).where(*mine).order_by(deliveries.c.position).limit(limit)
    return [
        {
            "schema": 1,
            "webhook_id": webhook_id,
            "event_id": row.event_id,
            "type": row.type,
            "attempts": row.attempts,
            "problem": row.problem,
            "given_up_at": row.settled_at.isoformat() if row.settled_at else None,
        }
        for row in connection.execute(query)
    ]


def replay(connection: Connection, webhook_id: str, now: datetime, event_id: str | None = None) -> int:
    """Have dead deliveries tried again, all of a webhook's, or that of one event however it stands; return how many."""
    which = deliveries.c.state == DeliveryState.DEAD
    if event_id is not None:
        which = (
            deliveries.c.position == sa.select(outbox.c.position).where(outbox.c.event_id == event_id).scalar_subquery()
        )
    again = {"state": DeliveryState.WAITING, "attempts": 0, "next_attempt_at": now, "settled_at": None}
    where = deliveries.c.webhook_id == webhook_id, which
    return connection.execute(sa.update(deliveries).where(*where).values(again)).rowcount


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
