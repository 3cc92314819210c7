"""Sign-ins under way: what must be kept between sending a person to Google or Microsoft and their coming back."""

import hashlib
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from worker.store.keyring import KeyRing
from worker.store.schema import sign_ins


def put(
    connection: Connection, ring: KeyRing, inbox_id: str, state: str, flow: str, now: datetime, until: datetime
) -> None:
    """Keep a sign-in until a moment; of an inbox only the last one counts. Those that nobody finished are dropped."""
    over = sa.or_(sign_ins.c.inbox_id == inbox_id, sign_ins.c.expires_at <= now)
    connection.execute(sa.delete(sign_ins).where(over))
    sealed = ring.seal(flow.encode(), inbox_id)
    connection.execute(
        sa.insert(sign_ins).values(state=_digest(state), inbox_id=inbox_id, flow=sealed, expires_at=until)
    )


def take(connection: Connection, ring: KeyRing, state: str, now: datetime) -> tuple[str, str] | None:
    """Return (inbox, flow) of the sign-in that `state` names, once; None where there is none, or no longer."""
    query = sa.delete(sign_ins).where(sign_ins.c.state == _digest(state)).returning(sign_ins)
    row = connection.execute(query).first()
    if row is None or row.expires_at <= now:
        return None
    return row.inbox_id, ring.open(row.flow, row.inbox_id).decode()


def _digest(state: str) -> bytes:
    """A stolen database must not hold what finishes a sign-in."""
    return hashlib.sha256(state.encode()).digest()
