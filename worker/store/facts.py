"""The facts of which bounces are made: added, never changed. What a fold makes of them is in `bounces`."""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection, RowMapping

from worker.domain import (
    Bounce,
    BounceType,
    Evidence,
    Fact,
    FactKind,
    Fault,
    Policy,
    Reason,
    Rung,
    Verdict,
    address_key,
)
from worker.store.database import insert
from worker.store.schema import facts

SPOKEN: Final = (
    *("inbox", "send_id", "message_id", "address", "contact_id", "status", "smtp_code", "diagnostic", "matched_by"),
    *("confidence", "forwarded_to", "policy", "report_id"),
)
"""What a report brings to a bounce besides its verdict and its evidence."""
JUDGED: Final = ("type", "reason", "fault", "rule", "rules_version")


def add(connection: Connection, new: Iterable[Fact]) -> None:
    """Keep facts; one that is known already stays as it is."""
    rows = [_row(fact) for fact in new]
    if rows:
        connection.execute(insert(connection, facts).on_conflict_do_nothing(), rows)


def of_bounces(connection: Connection, account: str, bounce_ids: Iterable[str], keys: Iterable[str]) -> list[Fact]:
    """Return the facts about bounces, and those about all bounces of addresses."""
    names, addresses = sorted(bounce_ids), sorted(keys)
    if not (names or addresses):
        return []
    own = facts.c.bounce_id.in_(names)
    of_address = sa.and_(facts.c.bounce_id.is_(None), facts.c.address_key.in_(addresses))
    query = facts.select().where(facts.c.account == account, sa.or_(own, of_address))
    return [_fact(row) for row in connection.execute(query).mappings()]


def of_address(connection: Connection, account: str, address: str) -> list[Fact]:
    """Return all facts about an address, oldest first: its audit trail."""
    where = facts.c.account == account, facts.c.address_key == address_key(address)
    query = facts.select().where(*where).order_by(facts.c.recorded_at, facts.c.at, facts.c.id)
    return [_fact(row) for row in connection.execute(query).mappings()]


def about(connection: Connection, account: str, report_ids: Sequence[str]) -> list[Fact]:
    """Return the facts about reports, and those that take them back."""
    reports = facts.c.account == account, facts.c.about.in_(list(report_ids))
    found = [_fact(row) for row in connection.execute(facts.select().where(*reports)).mappings()]
    decisions = [fact.id for fact in found if fact.kind is FactKind.REJECTED]
    back = facts.c.account == account, facts.c.about.in_(decisions), facts.c.kind == FactKind.UNDONE
    return found + [_fact(row) for row in connection.execute(facts.select().where(*back)).mappings()]


def get(connection: Connection, account: str, fact_id: str) -> Fact | None:
    """Return one fact, or None."""
    row = connection.execute(facts.select().where(facts.c.account == account, facts.c.id == fact_id)).mappings().first()
    return _fact(row) if row else None


def count_since(connection: Connection, account: str, kind: FactKind, since: datetime) -> int:
    """Return how many facts of a kind were recorded since."""
    where = facts.c.account == account, facts.c.kind == kind, facts.c.recorded_at > since
    return connection.execute(sa.select(sa.func.count()).select_from(facts).where(*where)).scalar_one()


def reports_of(
    connection: Connection, account: str | None, bounce_ids: Collection[str] | None = None
) -> dict[str, list[str]]:
    """Return the reports of each bounce, or of some, oldest record first."""
    query = sa.select(facts.c.bounce_id, facts.c.about).where(facts.c.kind == FactKind.REPORTED)
    if account is not None:
        query = query.where(facts.c.account == account)
    if bounce_ids is not None:
        query = query.where(facts.c.bounce_id.in_(sorted(bounce_ids)))
    found: dict[str, list[str]] = {}
    for row in connection.execute(query.order_by(facts.c.recorded_at, facts.c.about)):
        found.setdefault(row.bounce_id, []).append(row.about)
    return found


def _row(fact: Fact) -> dict[str, Any]:
    names = ("id", "kind", "account", "at", "recorded_at", "by", "bounce_id", "about", "why")
    values = {name: getattr(fact, name) for name in names} | {"address_key": fact.address}
    return values | {"bounce": _spoken(fact.bounce) if fact.bounce else None}


def _spoken(bounce: Bounce) -> dict[str, Any]:
    verdict = {name: getattr(bounce.verdict, name) for name in JUDGED}
    evidence = {"evidence": [{"kind": line.kind, "text": line.text} for line in bounce.evidence]}
    return {name: getattr(bounce, name) for name in SPOKEN} | verdict | evidence


def _fact(row: RowMapping) -> Fact:
    names = ("id", "account", "at", "recorded_at", "by", "bounce_id", "about", "why")
    values = {name: row[name] for name in names}
    bounce = _bounce(row) if row["bounce"] else None
    return Fact(**values, kind=FactKind(row["kind"]), address=row["address_key"], bounce=bounce)


def _bounce(row: RowMapping) -> Bounce:
    said = row["bounce"]
    values = {name: said[name] for name in SPOKEN}
    verdict = Verdict(
        type=BounceType(said["type"]),
        reason=Reason(said["reason"]),
        fault=Fault(said["fault"]),
        rule=said["rule"],
        rules_version=said["rules_version"],
    )
    values |= {"matched_by": Rung(said["matched_by"]), "policy": Policy(said["policy"])}
    return Bounce(
        **values,
        id=row["bounce_id"],
        account=row["account"],
        verdict=verdict,
        evidence=tuple(Evidence(**line) for line in said["evidence"]),
        occurred_at=row["at"],
        recorded_at=row["recorded_at"],
        updated_at=row["recorded_at"],
    )
