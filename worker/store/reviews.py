"""What waits for a person, and what people have said of it."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from worker.store.database import locked
from worker.store.schema import review


def waiting(connection: Connection, account: str, beginning: str) -> list[dict[str, Any]]:
    """Return what waits and whose id begins so, two at the most, held until the commit."""
    begins = review.c.id.startswith(beginning, autoescape=True)
    query = review.select().where(review.c.account == account, review.c.state == "waiting", begins).limit(2)
    return [dict(row["entry"]) for row in connection.execute(locked(query)).mappings()]


def decide(
    connection: Connection, account: str, review_id: str, state: str, by: str, why: str | None, now: datetime
) -> None:
    """Note down what a person said; the entry stays, as the memory of it."""
    where = review.c.account == account, review.c.id == review_id
    values = {"state": state, "decided_by": by, "decided_at": now, "decided_why": why}
    connection.execute(sa.update(review).where(*where).values(values))


def declined(connection: Connection, account: str, report_ids: Sequence[str]) -> set[str]:
    """Return those of some reports of which a person has said that they are no bounces of ours."""
    mine = review.c.account == account, review.c.state == "rejected", review.c.report_id.in_(list(report_ids))
    return set(connection.execute(sa.select(review.c.report_id).where(*mine)).scalars())
