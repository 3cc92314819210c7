"""Which inboxes are being read, for the limits to be counted: a small table, whatever the number of inboxes.

Who holds an inbox is said by the inbox's own row alone. What nobody gave back here counts until its lease is over.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from worker.store.database import insert
from worker.store.schema import Moment, inboxes, leases


@dataclass(frozen=True, slots=True)
class Held:
    """How many inboxes of one place are being read, and how many leases there ran out."""

    provider: str
    account: str
    host: str | None
    number: int
    lapsed: int


def held(connection: Connection, now: datetime, longest: datetime) -> list[Held]:
    """Return how many inboxes are being read, by place; no lease ends after `longest`."""
    place = leases.c.provider, leases.c.account, leases.c.host
    holds, count = leases.c.until.between(now, longest), sa.func.count()
    query = sa.select(*place, count.filter(holds), count.filter(~holds)).group_by(*place)
    return [Held(*row) for row in connection.execute(query)]


def add(connection: Connection, taking: sa.Update, until: datetime) -> list[tuple[str, int]]:
    """Run the update that takes inboxes, and count them as being read; return (id, fencing token)."""
    place = inboxes.c.provider, inboxes.c.account, inboxes.c.host
    taken = taking.returning(inboxes.c.id, *place, inboxes.c.lease_token)
    if connection.dialect.name == "postgresql":  # in one round trip
        rows = taken.cte("taken")
        chosen = sa.select(*rows.c[:4], sa.literal(until, Moment))
        query = sa.select(rows.c.id, rows.c.lease_token).add_cte(_counted(connection, chosen).cte("counted"))
        return [tuple(row) for row in connection.execute(query)]
    found = connection.execute(taken).all()
    again = sa.select(inboxes.c.id, *place, sa.literal(until, Moment)).where(inboxes.c.id.in_([r.id for r in found]))
    connection.execute(_counted(connection, again))
    return [(row.id, row.lease_token) for row in found]


def _counted(connection: Connection, chosen: sa.Select[Any]) -> Any:  # noqa: ANN401 - as `insert`
    """Return the insert of (inbox, provider, account, host, until) rows; it replaces what an earlier poll left."""
    names = "inbox_id", "provider", "account", "host", "until"
    statement = insert(connection, leases).from_select(names, chosen)
    again = {name: statement.excluded[name] for name in names[1:]}
    return statement.on_conflict_do_update(index_elements=["inbox_id"], set_=again)


def set_end(connection: Connection, inbox_id: str, until: object) -> None:
    """Count an inbox for longer, or with None no more."""
    same = leases.c.inbox_id == inbox_id
    if until is None:
        connection.execute(sa.delete(leases).where(same))
    else:
        connection.execute(sa.update(leases).where(same).values(until=until))


def forget_over(connection: Connection, now: datetime, longest: datetime) -> None:
    """Drop what nobody gave back."""
    connection.execute(sa.delete(leases).where(~leases.c.until.between(now, longest)))
