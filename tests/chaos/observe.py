"""Looking at a deployment from beside it: at the database by no proxy, at receivers, the CRM's queue and mailboxes."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import NoReturn

import sqlalchemy as sa
from redis import Redis

from tests.chaos.clock import Clock
from tests.chaos.oracle import Heard, Seen, Told
from tests.fakes.receiver import Receiver
from worker import admin
from worker.classify import load_rules
from worker.pipeline import Context
from worker.store import inboxes, outbox, webhooks
from worker.store.database import open_engine, reading, writing
from worker.store.keyring import KeyRing, load_digester
from worker.store.notices import NoticeState
from worker.store.schema import addresses, deliveries, notices, timeline
from worker.store.schema import outbox as events

QUEUE = "crm"
NOT_RENUMBERED = sa.func.coalesce(notices.c.reason, "").not_like("The server has renumbered%")
"""What is gone because its UID was void before it was read isn't lost: it was found again by another."""


class Observer:
    """Reads a run's database by a connection of its own."""

    def __init__(self, url: str, keys: str, clock: Clock) -> None:
        engine, ring = open_engine(url), KeyRing.parse([keys])
        with writing(engine) as connection:
            digest = load_digester(connection, ring)
        self.context = Context(
            engine=engine, ring=ring, digest=digest, rules=load_rules(()), connect=_reads_no_mail, now=clock.now
        )

    def close(self) -> None:
        self.context.engine.dispose()

    def entries(self) -> int:
        """Count the entries on all timelines."""
        with reading(self.context.engine) as connection:
            return connection.execute(sa.select(sa.func.count()).select_from(timeline)).scalar_one()

    def restless(self) -> str | None:
        """Return what is still to be done; None where nothing is. Inboxes are polled for ever, and don't count."""
        with reading(self.context.engine) as connection:
            pending = connection.execute(
                sa.select(sa.func.count()).where(notices.c.state == NoticeState.PENDING)
            ).scalar_one()
            waiting = connection.execute(
                sa.select(sa.func.count()).where(deliveries.c.state == webhooks.DeliveryState.WAITING)
            ).scalar_one()
            failing = [each.name for each in inboxes.find(connection) if each.failures or each.attention]
            is_untold = outbox.any_due(connection)
        if pending or waiting or failing or is_untold:
            return f"{pending} notices pending, {waiting} calls waiting, {failing} failing, events untold: {is_untold}"
        return None

    def seen(self, receivers: Mapping[str, Receiver], crm: Redis, flags: Sequence[str]) -> Seen:
        with reading(self.context.engine) as connection:
            excluded = addresses.c.account, addresses.c.address_key
            return Seen(
                now=self.context.now(),
                timeline=admin.timeline(self.context, None),
                excluded=[
                    tuple(row)
                    for row in connection.execute(sa.select(*excluded).where(addresses.c.excluded_by.is_not(None)))
                ],
                notices=_counted(connection, notices.c.state, NOT_RENUMBERED),
                inboxes=inboxes.find(connection),
                told=[
                    Told(
                        id=row.event_id, account=row.account, type=row.type, payload=row.payload, position=row.position
                    )
                    for row in connection.execute(events.select().order_by(events.c.id))
                ],
                heard=[call for account, receiver in receivers.items() for call in _heard(account, receiver)],
                queued=[json.loads(message)["headers"]["id"] for message in reversed(crm.lrange(QUEUE, 0, -1))],
                deliveries=_counted(connection, deliveries.c.state),
                flags=flags,
            )


def _reads_no_mail(inbox: inboxes.Inbox) -> NoReturn:
    raise AssertionError(f"{inbox.name} is read by the deployment alone")


def _counted(
    connection: sa.Connection, column: sa.Column[str], where: sa.ColumnElement[bool] | None = None
) -> dict[str, int]:
    query = sa.select(column, sa.func.count()).where(sa.true() if where is None else where)
    return {row[0]: row[1] for row in connection.execute(query.group_by(column))}


def _heard(account: str, receiver: Receiver) -> list[Heard]:
    return [
        Heard(id=head["webhook-id"], account=account, body=hashlib.sha256(body).hexdigest())
        for head, body in zip(receiver.heads, receiver.bodies, strict=True)
    ]
