"""Reports, bounces, timelines and the state of addresses."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, RowMapping

from worker.domain import (
    AddressState,
    Bounce,
    BounceType,
    DeliveryReport,
    Evidence,
    FactKind,
    Fault,
    Policy,
    Reason,
    Rung,
    Verdict,
    address_key,
)
from worker.store import facts
from worker.store.database import insert, locked
from worker.store.schema import (
    Moment,
    addresses,
    bounces,
    incidents,
    outbox,
    reports,
    review,
    sends,
    timeline,
)
from worker.store.schema import facts as fact_rows


def known_reports(connection: Connection, ids: Iterable[str]) -> set[str]:
    """Return those of `ids` that are on record already."""
    return set(connection.execute(sa.select(reports.c.id).where(reports.c.id.in_(sorted(ids)))).scalars())


def add_reports(connection: Connection, found: Sequence[tuple[str, str, DeliveryReport]], now: datetime) -> None:
    """Keep (id, account, report). A report that another worker has kept meanwhile raises IntegrityError."""
    if not found:
        return
    rows = [
        {
            "id": report_id,
            "account": account,
            "kind": report.kind,
            "detector": report.detector,
            "reporting_mta": report.reporting_mta,
            "features": {"recipients": len(report.recipients), "warnings": list(report.warnings)},
            "recorded_at": now,
        }
        for report_id, account, report in found
    ]
    connection.execute(sa.insert(reports), rows)


def key_of(bounce: Bounce) -> str:
    """Return the key of the address that a bounce is about."""
    return address_key(bounce.address)


def of_addresses(connection: Connection, account: str, keys: Iterable[str]) -> dict[str, Bounce]:
    """Return all bounces of addresses, by id."""
    if not (wanted := sorted(keys)):
        return {}
    query = bounces.select().where(bounces.c.account == account, bounces.c.address_key.in_(wanted))
    return {row["id"]: _bounce(row) for row in connection.execute(query.order_by(bounces.c.id)).mappings()}


def get(connection: Connection, account: str, bounce_id: str) -> Bounce | None:
    """Return one bounce, or None."""
    query = bounces.select().where(bounces.c.account == account, bounces.c.id == bounce_id)
    row = connection.execute(query).mappings().first()
    return _bounce(row) if row else None


def load(connection: Connection, account: str, ids: Iterable[str]) -> list[Bounce]:
    """Return bounces by id."""
    query = bounces.select().where(bounces.c.account == account, bounces.c.id.in_(sorted(ids)))
    return [_bounce(row) for row in connection.execute(query.order_by(bounces.c.id)).mappings()]


def with_standing(connection: Connection, account: str, keys: Iterable[str]) -> set[str]:
    """Return those of some addresses of which a bounce stands."""
    if not (wanted := sorted(keys)):
        return set()
    where = bounces.c.account == account, bounces.c.address_key.in_(wanted), bounces.c.ended_by.is_(None)
    return set(connection.execute(sa.select(bounces.c.address_key).where(*where).distinct()).scalars())


def with_failure(connection: Connection, account: str, keys: Iterable[str]) -> set[str]:
    """Return those of some addresses of which a failure of this account's own email stands."""
    failed = bounces.c.ended_by.is_(None), bounces.c.type != BounceType.PENDING, bounces.c.matched_by != Rung.GLOBAL
    where = bounces.c.account == account, bounces.c.address_key.in_(sorted(keys))
    return set(connection.execute(sa.select(bounces.c.address_key).where(*where, *failed).distinct()).scalars())


def overdue(connection: Connection, patience: timedelta, now: datetime, limit: int) -> list[Bounce]:
    """Return pending bounces whose email was sent so long ago (or, where it is forgotten, first reported)."""
    same = sa.and_(sends.c.account == bounces.c.account, sends.c.id == bounces.c.send_id)
    began = sa.func.coalesce(sends.c.sent_at, bounces.c.occurred_at)
    query = (
        sa.select(bounces)
        .outerjoin(sends, same)
        .where(
            bounces.c.type == sa.literal_column("'pending'"),
            bounces.c.ended_by.is_(None),
            sa.type_coerce(began, Moment) <= now - patience,
        )
        .order_by(bounces.c.id)
        .limit(limit)
    )
    return [_bounce(row) for row in connection.execute(query).mappings()]


def of_full_mailboxes(connection: Connection, account: str, until: datetime, limit: int) -> list[Bounce]:
    """Return an account's standing bounces for a full mailbox that occurred until a moment."""
    full = bounces.c.reason == Reason.MAILBOX_FULL, bounces.c.ended_by.is_(None), bounces.c.occurred_at <= until
    query = bounces.select().where(bounces.c.account == account, *full).order_by(bounces.c.id).limit(limit)
    return [_bounce(row) for row in connection.execute(query).mappings()]


@dataclass(frozen=True, slots=True)
class Held:
    """Addresses that are held until the commit. Of those that are `new` nothing was known before."""

    states: Mapping[str, AddressState]
    new: frozenset[str]


def hold_addresses(connection: Connection, account: str, wanted: Iterable[str], now: datetime) -> Held:
    """Return the states of addresses by `address_key`, each held until the commit, in the same order everywhere."""
    keys = sorted({address_key(address) for address in wanted})
    if not keys:
        return Held({}, frozenset())
    rows = [{"account": account, "address_key": key, "updated_at": now} for key in keys]
    statement = insert(connection, addresses).on_conflict_do_nothing().returning(addresses.c.address_key)
    new = frozenset(connection.execute(statement, rows).scalars())
    known = [key for key in keys if key not in new]
    states = {key: AddressState(account=account, address=key) for key in new}
    return Held(states | (_states(connection, account, known, held=True) if known else {}), new)


def states(connection: Connection, account: str, keys: Sequence[str]) -> list[AddressState]:
    """Return the states of addresses that have one."""
    return list(_states(connection, account, keys).values())


def _states(
    connection: Connection, account: str, keys: Sequence[str], *, held: bool = False
) -> dict[str, AddressState]:
    query = addresses.select().where(addresses.c.account == account, addresses.c.address_key.in_(keys))
    query = query.order_by(addresses.c.address_key)
    states = {}
    for row in connection.execute(locked(query) if held else query):
        states[row.address_key] = AddressState(
            account=account,
            address=row.address_key,
            excluded_by=Policy(row.excluded_by) if row.excluded_by else None,
            excluded_at=row.excluded_at,
            hard_bounce_reason=Reason(row.hard_bounce_reason) if row.hard_bounce_reason else None,
        )
    return states


def save(connection: Connection, changed: Iterable[Bounce], known: Iterable[str]) -> None:
    """Write bounces as they are now; those not among the `known` are new, and get their timeline entry."""
    known = set(known)
    rows = [_row(bounce) for bounce in changed]
    new = [row for row in rows if row["id"] not in known]
    if new:
        connection.execute(sa.insert(bounces), new)
        entries = [
            {
                "id": row["id"],
                "bounce_id": row["id"],
                "account": row["account"],
                "contact_id": row["contact_id"],
                "recorded_at": row["recorded_at"],
            }
            for row in new
        ]
        connection.execute(sa.insert(timeline), entries)
    for row in rows:
        if row["id"] in known:
            connection.execute(sa.update(bounces).where(bounces.c.id == row["id"]).values(row))


def save_addresses(connection: Connection, changed: Iterable[AddressState], now: datetime) -> None:
    """Write the states of addresses."""
    rows = [
        {
            "account": state.account,
            "address_key": address_key(state.address),
            "excluded_by": state.excluded_by,
            "excluded_at": state.excluded_at,
            "hard_bounce_reason": state.hard_bounce_reason,
            "updated_at": now,
        }
        for state in changed
    ]
    if rows:
        statement = insert(connection, addresses)
        names = ("excluded_by", "excluded_at", "hard_bounce_reason", "updated_at")
        connection.execute(
            statement.on_conflict_do_update(
                index_elements=["account", "address_key"], set_={name: statement.excluded[name] for name in names}
            ),
            rows,
        )


def add_review(connection: Connection, rows: Sequence[dict[str, Any]]) -> None:
    """Keep what waits for a person."""
    if rows:
        connection.execute(insert(connection, review).on_conflict_do_nothing(), list(rows))


def timeline_entries(
    connection: Connection, *, account: str | None = None, contact_id: str | None = None
) -> list[tuple[Bounce, list[str]]]:
    """Return timeline entries, oldest first: each a bounce and the ids of its reports."""
    query = sa.select(bounces).join(timeline, timeline.c.bounce_id == bounces.c.id)
    if account is not None:
        query = query.where(timeline.c.account == account)
    if contact_id is not None:
        query = query.where(timeline.c.contact_id == contact_id)
    found = [_bounce(row) for row in connection.execute(query.order_by(bounces.c.occurred_at, bounces.c.id)).mappings()]
    history = facts.reports_of(connection, account)
    return [(bounce, history.get(bounce.id, [])) for bounce in found]


def timeline_page(
    connection: Connection, account: str, contact_id: str | None, after: tuple[datetime, str] | None, limit: int
) -> list[tuple[Bounce, list[str]]]:
    """Return timeline entries behind a position, oldest record first: each a bounce and the ids of its reports."""
    query = sa.select(bounces).join(timeline, timeline.c.bounce_id == bounces.c.id).where(timeline.c.account == account)
    if contact_id is not None:
        query = query.where(timeline.c.contact_id == contact_id)
    if after is not None:
        query = query.where(_behind(timeline.c.recorded_at, timeline.c.id, after))
    query = query.order_by(timeline.c.recorded_at, timeline.c.id).limit(limit)
    found = [_bounce(row) for row in connection.execute(query).mappings()]
    history = facts.reports_of(connection, account, [bounce.id for bounce in found])
    return [(bounce, history.get(bounce.id, [])) for bounce in found]


def address_states(connection: Connection, account: str) -> list[AddressState]:
    """Return all addresses of an account that are excluded, or have a hard bounce that stands."""
    told = sa.or_(addresses.c.excluded_by.is_not(None), addresses.c.hard_bounce_reason.is_not(None))
    keys = connection.execute(sa.select(addresses.c.address_key).where(addresses.c.account == account, told)).scalars()
    return list(_states(connection, account, list(keys)).values())


def forget_inbox(connection: Connection, account: str, inbox: str) -> None:
    """Drop all that came of emails sent from an inbox: bounces, timeline, facts, reviews, events, incidents."""
    gone = sa.select(bounces.c.id).where(bounces.c.account == account, bounces.c.inbox == inbox)
    connection.execute(sa.delete(fact_rows).where(fact_rows.c.account == account, fact_rows.c.bounce_id.in_(gone)))
    connection.execute(sa.delete(bounces).where(bounces.c.account == account, bounces.c.inbox == inbox))
    of_inbox = review.c.entry["inbox"].as_string() == inbox
    connection.execute(sa.delete(review).where(review.c.account == account, of_inbox))
    told = outbox.c.payload["bounce"]["inbox"].as_string() == inbox, outbox.c.payload["inbox"].as_string() == inbox
    connection.execute(sa.delete(outbox).where(outbox.c.account == account, sa.or_(*told)))
    connection.execute(sa.delete(incidents).where(incidents.c.account == account, incidents.c.inbox == inbox))


def review_entries(
    connection: Connection,
    account: str | None = None,
    after: tuple[datetime, str] | None = None,
    limit: int | None = None,
) -> list[tuple[datetime, dict[str, Any]]]:
    """Return what waits for a person behind a position, oldest first, each with when it was recorded."""
    query = review.select().where(review.c.state == "waiting").order_by(review.c.recorded_at, review.c.id).limit(limit)
    if account is not None:
        query = query.where(review.c.account == account)
    if after is not None:
        query = query.where(_behind(review.c.recorded_at, review.c.id, after))
    rows = connection.execute(query).mappings()
    return [(row["recorded_at"], dict(row["entry"]) | {"why": row["why"]}) for row in rows]


def _behind(moment: sa.Column[Any], name: sa.Column[Any], after: tuple[datetime, str]) -> sa.ColumnElement[bool]:
    return sa.or_(moment > after[0], sa.and_(moment == after[0], name > after[1]))


def _row(bounce: Bounce) -> dict[str, Any]:
    values: dict[str, Any] = {name: getattr(bounce, name) for name in Bounce.__slots__ if name != "verdict"}
    # Unverified verdicts wait for a person and are no bounces.
    verdict = {name: getattr(bounce.verdict, name) for name in ("type", "reason", "fault", "rule", "rules_version")}
    evidence = [{"kind": line.kind, "text": line.text} for line in bounce.evidence]
    return values | verdict | {"evidence": evidence, "address_key": address_key(bounce.address)}


def _bounce(row: RowMapping) -> Bounce:
    values = {name: row[name] for name in Bounce.__slots__ if name != "verdict"}
    values["verdict"] = Verdict(
        type=BounceType(row["type"]),
        reason=Reason(row["reason"]),
        fault=Fault(row["fault"]),
        rule=row["rule"],
        rules_version=row["rules_version"],
    )
    values["matched_by"] = Rung(row["matched_by"])
    values["policy"] = Policy(row["policy"])
    values["ended_by"] = FactKind(row["ended_by"]) if row["ended_by"] else None
    values["evidence"] = tuple(Evidence(**item) for item in row["evidence"])
    return Bounce(**values)
