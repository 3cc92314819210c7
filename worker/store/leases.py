"""Which inboxes are being read, for the limits to be counted: a small table, whatever the number of inboxes.

Who holds an inbox is said by the inbox's own row alone. What nobody gave back here counts until its lease is over.
"""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from worker.store.database import insert
from worker.store.schema import Moment, inboxes, leases


def held(connection: Connection, now: datetime, longest: datetime) -> list[tuple[str, str, str | None, int]]:
    """Return (provider, account, host, how many) of the inboxes that are being read; no lease ends after `longest`."""
    place = leases.c.provider, leases.c.account, leases.c.host
    query = sa.select(*place, sa.func.count()).where(leases.c.until.between(now, longest)).group_by(*place)
    return [tuple(row) for row in connection.execute(query)]


def add(connection: Connection, chosen: sa.ColumnElement[bool], until: datetime) -> None:
    """Count the `chosen` inboxes as being read until a moment."""
    place = inboxes.c.id, inboxes.c.provider, inboxes.c.account, inboxes.c.host
    names = "inbox_id", "provider", "account", "host", "until"
    taken = sa.select(*place, sa.literal(until, Moment)).where(chosen)
    statement = insert(connection, leases).from_select(names, taken)
    again = {name: statement.excluded[name] for name in names[1:]}
    connection.execute(statement.on_conflict_do_update(index_elements=["inbox_id"], set_=again))


def set_end(connection: Connection, inbox_id: str, until: object) -> None:
    """Count an inbox for longer, or with None no more."""
    same = leases.c.inbox_id == inbox_id
    if until is None:
        connection.execute(sa.delete(leases).where(same))
    else:
        connection.execute(sa.update(leases).where(same).values(until=until))


def forget_over(connection: Connection, now: datetime, longest: datetime) -> int:
    """Drop what nobody gave back."""
    return connection.execute(sa.delete(leases).where(~leases.c.until.between(now, longest))).rowcount
