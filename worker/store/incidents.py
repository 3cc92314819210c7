"""Incidents of inboxes: opened by what is recorded, closed by the sweep."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, RowMapping

from worker.attach import digest_id
from worker.domain import Bounce, Fault
from worker.incidents import SETTLED, WINDOW, Incident, IncidentKind, are_too_many, is_over, kind_of
from worker.store import bounces as bounce_store
from worker.store import outbox
from worker.store.database import locked
from worker.store.schema import bounces, incidents, sends

SCHEMA = 1


def look(connection: Connection, account: str, inboxes: Iterable[str], now: datetime) -> None:
    """Open an incident for each inbox of which too much has failed, or count on where one is open."""
    for inbox in sorted(set(inboxes)):
        recent = _failures(connection, account, inbox, now - WINDOW)
        found = _open(connection, account, inbox)
        if found is not None and recent:
            last = max(bounce.occurred_at for bounce in recent)
            _change(connection, found.id, failures=max(found.failures, len(recent)), last_at=max(found.last_at, last))
        elif found is None and are_too_many(recent, now):
            _begin(connection, account, inbox, recent, now)


def close_those_over(connection: Connection, now: datetime) -> int:
    """Close incidents of inboxes whose sends go through again; return how many."""
    closed = 0
    query = incidents.select().where(incidents.c.closed_at.is_(None)).order_by(incidents.c.id)
    for row in connection.execute(locked(query, skip=True)).mappings().all():
        incident = _incident(row)
        if is_over(incident, _gone_through(connection, incident, now), now):
            _change(connection, incident.id, closed_at=now)
            _tell(connection, "incident.closed", incident, now)
            closed += 1
    return closed


def listed(connection: Connection, account: str | None, *, closed_too: bool) -> list[tuple[Incident, Bounce | None]]:
    """Return incidents, newest first, each with the bounce that is its example."""
    query = incidents.select().order_by(incidents.c.opened_at.desc(), incidents.c.id)
    if account is not None:
        query = query.where(incidents.c.account == account)
    if not closed_too:
        query = query.where(incidents.c.closed_at.is_(None))
    found = [_incident(row) for row in connection.execute(query).mappings()]
    return [(each, bounce_store.get(connection, each.account, each.bounce_id)) for each in found]


def as_json(incident: Incident) -> dict[str, Any]:
    """Return an incident as people and the CRM see it."""
    return {
        "schema": SCHEMA,
        "id": incident.id,
        "account": incident.account,
        "inbox": incident.inbox,
        "kind": incident.kind,
        "failures": incident.failures,
        "bounce_id": incident.bounce_id,
        "opened_at": incident.opened_at.isoformat(),
        "last_at": incident.last_at.isoformat(),
        "closed_at": incident.closed_at.isoformat() if incident.closed_at else None,
    }


def _failures(connection: Connection, account: str, inbox: str, since: datetime) -> list[Bounce]:
    where = bounces.c.account == account, bounces.c.inbox == inbox, bounces.c.occurred_at > since
    query = sa.select(bounces.c.id).where(*where, bounces.c.fault == Fault.SENDER, bounces.c.ended_by.is_(None))
    return bounce_store.load(connection, account, connection.execute(query).scalars())


def _gone_through(connection: Connection, incident: Incident, now: datetime) -> int:
    """Count the emails that an inbox has sent since the last failure, and that nothing has come back about."""
    came_back = sa.exists().where(bounces.c.account == sends.c.account, bounces.c.send_id == sends.c.id)
    query = (
        sa.select(sa.func.count())
        .select_from(sends)
        .where(
            sends.c.account == incident.account,
            sends.c.inbox == incident.inbox,
            sends.c.sent_at > incident.last_at,
            sends.c.sent_at <= now - SETTLED,
            ~came_back,
        )
    )
    return connection.execute(query).scalar_one()


def _open(connection: Connection, account: str, inbox: str) -> Incident | None:
    where = incidents.c.account == account, incidents.c.inbox == inbox, incidents.c.closed_at.is_(None)
    row = connection.execute(incidents.select().where(*where)).mappings().first()
    return _incident(row) if row else None


def _begin(connection: Connection, account: str, inbox: str, recent: list[Bounce], now: datetime) -> None:
    last = max(recent, key=lambda bounce: (bounce.occurred_at, bounce.id))
    incident = Incident(
        id=digest_id("incident", account, inbox, last.id, now.isoformat()),
        account=account,
        inbox=inbox,
        kind=kind_of(recent),
        opened_at=now,
        last_at=last.occurred_at,
        failures=len(recent),
        bounce_id=last.id,
    )
    connection.execute(sa.insert(incidents).values({name: getattr(incident, name) for name in Incident.__slots__}))
    _tell(connection, "incident.opened", incident, now)


def _tell(connection: Connection, what: str, incident: Incident, now: datetime) -> None:
    event_id = digest_id("event", what, incident.id)
    payload = {"id": event_id, "type": what, "incident": as_json(incident)}
    head = {"schema": SCHEMA, "account": incident.account, "inbox": incident.inbox}
    outbox.add(connection, [(event_id, incident.account, what, head | payload)], now)


def _change(connection: Connection, incident_id: str, **values: object) -> None:
    connection.execute(sa.update(incidents).where(incidents.c.id == incident_id).values(**values))


def _incident(row: RowMapping) -> Incident:
    values = {name: row[name] for name in Incident.__slots__}
    return Incident(**values | {"kind": IncidentKind(row["kind"])})
