"""How a deployment stands, asked of the database: right however many processes there are, and whichever was asked."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from worker.store.inboxes import InboxState
from worker.store.notices import NoticeState
from worker.store.schema import deliveries, doorbells, inboxes, incidents, notices, outbox, review, webhooks
from worker.store.webhooks import DeliveryState


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One figure. Labels name providers, states and kinds: never an account, an inbox or an address."""

    name: str
    value: float
    labels: tuple[tuple[str, str], ...] = ()


MEANING = {
    "inboxes": "Connected inboxes, by provider and state.",
    "inboxes_failing": "Active inboxes whose last poll failed, by provider.",
    "inboxes_due": "Active inboxes that are due and that nobody reads yet.",
    "due_lag_seconds": "How long the inbox that waits longest has been due.",
    "poll_age_seconds": "How long ago the active inbox that waits longest was last polled, with or without success.",
    "sign_ins_ending": "Active inboxes whose sign-in ends within three days.",
    "doorbells_failing": "Subscriptions with providers that could not be made or renewed.",
    "notices": "Notices that are kept, by state.",
    "notice_age_seconds": "How long the oldest pending notice has waited.",
    "reviews_waiting": "Notices that wait for a person.",
    "review_age_seconds": "How long the oldest of them has waited.",
    "events_waiting": "Events that are still to be handed over (queue) or to be numbered for the feed (feed).",
    "event_age_seconds": "How long the oldest of them has waited.",
    "deliveries": "Deliveries to webhooks that wait, or that were given up (dead).",
    "delivery_age_seconds": "How long ago the event happened that waits longest for its webhook.",
    "webhooks": "Webhooks, by state.",
    "incidents_open": "Inboxes whose emails are refused for the sender's own fault, by kind.",
}
"""Every figure, and what it says."""


def readings(connection: Connection, now: datetime, soon: datetime) -> Iterator[Reading]:
    """Yield every figure; sign-ins that end before `soon` are counted."""
    yield from _inboxes(connection, now, soon)
    yield from _notices(connection, now)
    yield from _reviews(connection, now)
    yield from _events(connection, now)
    yield from _deliveries(connection, now)
    yield from _grouped(connection, "webhooks", webhooks.c.state)
    yield from _grouped(connection, "incidents_open", incidents.c.kind, where=incidents.c.closed_at.is_(None))
    failing = sa.select(sa.func.count()).where(doorbells.c.problem.is_not(None))
    yield Reading(name="doorbells_failing", value=connection.execute(failing).scalar_one())


def _inboxes(connection: Connection, now: datetime, soon: datetime) -> Iterator[Reading]:
    yield from _grouped(connection, "inboxes", inboxes.c.provider, inboxes.c.state)
    is_active = inboxes.c.state == InboxState.ACTIVE
    failing = sa.and_(is_active, inboxes.c.failures > 0)
    yield from _grouped(connection, "inboxes_failing", inboxes.c.provider, where=failing)
    free = sa.or_(inboxes.c.lease_until.is_(None), inboxes.c.lease_until < now)
    due = sa.select(sa.func.count(), sa.func.min(inboxes.c.next_poll_at)).where(
        is_active, free, inboxes.c.next_poll_at <= now
    )
    number, since = connection.execute(due).one()
    yield Reading(name="inboxes_due", value=number)
    yield Reading(name="due_lag_seconds", value=_age(since, now))
    polled = sa.func.coalesce(inboxes.c.last_poll_at, inboxes.c.created_at, type_=inboxes.c.created_at.type)
    oldest = connection.execute(sa.select(sa.func.min(polled)).where(is_active)).scalar()
    yield Reading(name="poll_age_seconds", value=_age(oldest, now))
    ending = sa.select(sa.func.count()).where(is_active, inboxes.c.sign_in_ends_at < soon)
    yield Reading(name="sign_ins_ending", value=connection.execute(ending).scalar_one())


def _notices(connection: Connection, now: datetime) -> Iterator[Reading]:
    yield from _grouped(connection, "notices", notices.c.state)
    oldest = sa.select(sa.func.min(notices.c.found_at)).where(notices.c.state == NoticeState.PENDING)
    yield Reading(name="notice_age_seconds", value=_age(connection.execute(oldest).scalar(), now))


def _reviews(connection: Connection, now: datetime) -> Iterator[Reading]:
    waiting = sa.select(sa.func.count(), sa.func.min(review.c.recorded_at)).where(review.c.state == "waiting")
    number, since = connection.execute(waiting).one()
    yield Reading(name="reviews_waiting", value=number)
    yield Reading(name="review_age_seconds", value=_age(since, now))


def _events(connection: Connection, now: datetime) -> Iterator[Reading]:
    for what, where in (("queue", outbox.c.next_attempt_at.is_not(None)), ("feed", outbox.c.position.is_(None))):
        number, since = connection.execute(
            sa.select(sa.func.count(), sa.func.min(outbox.c.created_at)).where(where)
        ).one()
        yield Reading(name="events_waiting", value=number, labels=(("way", what),))
        yield Reading(name="event_age_seconds", value=_age(since, now), labels=(("way", what),))


def _deliveries(connection: Connection, now: datetime) -> Iterator[Reading]:
    is_open = deliveries.c.state != DeliveryState.DELIVERED
    yield from _grouped(connection, "deliveries", deliveries.c.state, where=is_open)
    oldest = (
        sa.select(sa.func.min(outbox.c.created_at))
        .join(deliveries, deliveries.c.position == outbox.c.position)
        .where(deliveries.c.state == DeliveryState.WAITING)
    )
    yield Reading(name="delivery_age_seconds", value=_age(connection.execute(oldest).scalar(), now))


def _grouped(
    connection: Connection, name: str, *columns: sa.Column[Any], where: sa.ColumnElement[bool] | None = None
) -> Iterator[Reading]:
    query = sa.select(*columns, sa.func.count()).group_by(*columns)
    for row in connection.execute(query if where is None else query.where(where)):
        labels = tuple((column.name, str(value)) for column, value in zip(columns, row, strict=False))
        yield Reading(name=name, value=row[-1], labels=labels)


def _age(since: datetime | None, now: datetime) -> float:
    return max((now - since).total_seconds(), 0.0) if since else 0.0
