"""Hosts that take connections and never answer. A row stands only while one of a host's inboxes hangs."""

from collections.abc import Callable
from datetime import datetime
from typing import Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from worker.store.database import insert
from worker.store.schema import hanging_hosts

_WAITED_FOR: Final = sa.select(hanging_hosts.c.host, hanging_hosts.c.hung_until).where(
    hanging_hosts.c.hung_until.is_not(None)
)


def all_hanging(connection: Connection, now: datetime, furthest: datetime) -> dict[str, bool]:
    """Return the hosts that hang so often that their inboxes wait; True for those that are left in peace just now."""
    return {row.host: now < row.hung_until <= furthest for row in connection.execute(_WAITED_FOR)}


def left_in_peace(connection: Connection, host: str | None, now: datetime, furthest: datetime) -> datetime | None:
    """Return until when the inboxes of a host wait; None if they don't."""
    if host is None:
        return None
    until = hanging_hosts.c.hung_until
    query = sa.select(until).where(hanging_hosts.c.host == host, until > now, until <= furthest)
    return connection.execute(query).scalar()


def hung(connection: Connection, host: str, now: datetime, until: Callable[[datetime, int], datetime | None]) -> None:
    """Count that an inbox of a host hung; `until` says from the count until when its others wait."""
    statement = insert(connection, hanging_hosts).values(host=host, hangs=1, last_at=now)
    counted = statement.on_conflict_do_update(
        index_elements=["host"], set_={"hangs": hanging_hosts.c.hangs + 1, "last_at": now}
    )
    hangs = connection.execute(counted.returning(hanging_hosts.c.hangs)).scalar_one()
    same = hanging_hosts.c.host == host
    connection.execute(sa.update(hanging_hosts).where(same).values(hung_until=until(now, hangs)))


def answered(connection: Connection, host: str) -> None:
    """Forget that a host hung: one of its inboxes was read."""
    connection.execute(sa.delete(hanging_hosts).where(hanging_hosts.c.host == host))
