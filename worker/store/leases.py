"""Which inboxes are being read, for the limits to be counted: a small table, whatever the number of inboxes.

Who holds an inbox is said by the inbox's own row alone. What nobody gave back here counts until its lease is over.
"""

import functools
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
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


_NAMES: Final = "inbox_id", "provider", "account", "host", "until"
_PLACE: Final = leases.c.provider, leases.c.account, leases.c.host
_HOLDS: Final = leases.c.until.between(sa.bindparam("now"), sa.bindparam("longest"))
_HELD: Final = sa.select(*_PLACE, sa.func.count().filter(_HOLDS), sa.func.count().filter(~_HOLDS)).group_by(*_PLACE)


def held(connection: Connection, now: datetime, longest: datetime) -> list[Held]:
    """Return how many inboxes are being read, by place; no lease ends after `longest`."""
    return [Held(*row) for row in connection.execute(_HELD, {"now": now, "longest": longest})]


def take(connection: Connection, ids: Collection[str], until: datetime) -> list[tuple[str, int]]:
    """Lease inboxes that are locked, and count them as being read; return (id, fencing token)."""
    values = {"ids": sorted(ids), "ends": until}
    if connection.dialect.name == "postgresql":
        return [tuple(row) for row in connection.execute(_take_at_once(), values)]
    found = connection.execute(_taking(inboxes.c.id.in_(sa.bindparam("ids", expanding=True))), values).all()
    rows = [dict(zip(_NAMES, (*row[:4], until), strict=True)) for row in found]
    connection.execute(_or_again(insert(connection, leases)), rows)
    return [(row.id, row.lease_token) for row in found]


@functools.cache
def _take_at_once() -> sa.Select[Any]:
    """Return it all in one statement, made once: making it costs a tenth of a claim."""
    taken = _taking(inboxes.c.id == sa.any_(sa.bindparam("ids", type_=sa.ARRAY(sa.Text)))).cte("taken")
    chosen = sa.select(*taken.c[:4], sa.bindparam("ends", type_=Moment))
    counted = _or_again(postgresql.insert(leases).from_select(_NAMES, chosen)).cte("counted")
    return sa.select(taken.c.id, taken.c.lease_token).add_cte(counted)


def _taking(them: sa.ColumnElement[bool]) -> Any:  # noqa: ANN401 - an UPDATE that returns rows has no simple type
    values = {"lease_until": sa.bindparam("ends", type_=Moment), "lease_token": inboxes.c.lease_token + 1}
    place = inboxes.c.provider, inboxes.c.account, inboxes.c.host
    return sa.update(inboxes).where(them).values(values).returning(inboxes.c.id, *place, inboxes.c.lease_token)


def _or_again(statement: Any) -> Any:  # noqa: ANN401 - as `insert`
    """Have an insert replace what an earlier poll left."""
    again = {name: statement.excluded[name] for name in _NAMES[1:]}
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
