"""Connected inboxes: what they are, when they are due, and who holds them."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection, RowMapping

from worker.domain import Policy
from worker.store import leases
from worker.store.database import locked
from worker.store.schema import inboxes


class InboxState(StrEnum):
    """Whether an inbox is read."""

    ACTIVE = "active"
    PAUSED = "paused"  # by a person
    NEEDS_ATTENTION = "needs_attention"  # only a person can make it work again


@dataclass(frozen=True, slots=True, kw_only=True)
class Inbox:
    """An inbox as it is configured, and where its reading stands. `settings` is the connector's own JSON.

    `trusted` says that the operator named its host; one that a tenant typed in is reached through the guard.
    `sign_in_ends_at` is when somebody must sign in again whatever happens, where that is known. `policy` is the inbox's
    own; None means its account's. `host` is its server's, None where that isn't known yet or there is none; `active_at`
    is the last email that the CRM sent through it, or the last notice that was found in it.
    """

    id: str
    account: str
    name: str
    address: str
    provider: str
    settings: str
    state: InboxState
    attention: str | None
    cursor: str | None
    since: datetime
    caught_up_at: datetime | None
    last_poll_at: datetime | None
    failures: int
    next_poll_at: datetime
    lease_until: datetime | None
    lease_token: int
    created_at: datetime
    trusted: bool
    sign_in_ends_at: datetime | None = None
    policy: Policy | None = None
    host: str | None = None
    active_at: datetime | None = None


class StaleLease(Exception):
    """Somebody else has taken over this inbox meanwhile: nothing of what was read may be saved."""


def add(connection: Connection, inbox: Inbox) -> None:
    """Keep a new inbox. The caller makes sure that the account exists and the name is free."""
    connection.execute(sa.insert(inboxes).values({name: getattr(inbox, name) for name in Inbox.__slots__}))


def find(connection: Connection, *, account: str | None = None, name: str | None = None) -> list[Inbox]:
    """Return inboxes, by account and name where they are given."""
    query = inboxes.select().order_by(inboxes.c.account, inboxes.c.name)
    if account is not None:
        query = query.where(inboxes.c.account == account)
    if name is not None:
        query = query.where(inboxes.c.name == name)
    return [_inbox(row) for row in connection.execute(query).mappings()]


def get(connection: Connection, inbox_id: str) -> Inbox | None:
    """Return one inbox, or None."""
    row = connection.execute(inboxes.select().where(inboxes.c.id == inbox_id)).mappings().first()
    return _inbox(row) if row else None


def of_address(connection: Connection, provider: str, address: str) -> list[str]:
    """Return the inboxes of a mailbox, in whatever accounts: the provider that calls knows nothing of accounts."""
    same = sa.and_(inboxes.c.provider == provider, sa.func.lower(inboxes.c.address) == address.lower())
    return list(connection.execute(sa.select(inboxes.c.id).where(same, inboxes.c.state == InboxState.ACTIVE)).scalars())


def unknown(connection: Connection, named: Collection[tuple[str, str]]) -> set[tuple[str, str]]:
    """Return those of some (account, name) that no inbox has."""
    if not named:
        return set()
    names = sorted({name for _, name in named})
    known = sa.select(inboxes.c.account, inboxes.c.name).where(inboxes.c.name.in_(names))
    return set(named) - {(row.account, row.name) for row in connection.execute(known)}


def policies(connection: Connection, account: str) -> dict[str, Policy]:
    """Return the policies of the inboxes that have one of their own."""
    own = inboxes.c.account == account, inboxes.c.policy.is_not(None)
    query = sa.select(inboxes.c.name, inboxes.c.policy).where(*own)
    return {row.name: Policy(row.policy) for row in connection.execute(query)}


def change(connection: Connection, inbox_id: str, **values: object) -> None:
    """Set columns of an inbox."""
    connection.execute(sa.update(inboxes).where(inboxes.c.id == inbox_id).values(**values))


def stop(connection: Connection, inbox_id: str, what_to_do: str) -> bool:
    """Read an inbox no more until a person has looked at it; return whether it was read until now."""
    active = inboxes.c.id == inbox_id, inboxes.c.state == InboxState.ACTIVE
    values = {"state": InboxState.NEEDS_ATTENTION, "attention": what_to_do}
    return bool(connection.execute(sa.update(inboxes).where(*active).values(values)).rowcount)


def remove(connection: Connection, inbox_id: str) -> None:
    """Forget an inbox, its credentials and its notices; what is on timelines stays."""
    connection.execute(sa.delete(inboxes).where(inboxes.c.id == inbox_id))


@dataclass(frozen=True, slots=True)
class Due:
    """A free inbox that is due, and what limits its reading."""

    id: str
    provider: str
    account: str
    host: str | None
    next_poll_at: datetime


def due(
    connection: Connection,
    now: datetime,
    longest: datetime,
    without: Mapping[str, Collection[str]],
    limit: int,
    since: datetime | None = None,
) -> list[Due]:
    """Return free inboxes that are due, the longest waiting first; and lock them.

    Left out is what `without` names by column. Whoever else is claiming, or writes to a row, isn't waited for.
    """
    wanted = [inboxes.c[name] for name in Due.__slots__]
    query = sa.select(*wanted).where(IS_ACTIVE, inboxes.c.next_poll_at <= now, _free(now, longest))
    if since is not None:
        query = query.where(inboxes.c.next_poll_at >= since)
    for name, values in without.items():
        if values:
            column = inboxes.c[name]
            query = query.where(sa.or_(column.is_(None), column.not_in(sorted(values))))
    query = query.order_by(inboxes.c.next_poll_at).limit(limit)
    return [Due(*row) for row in connection.execute(locked(query, skip=True))]


def lease(connection: Connection, ids: Collection[str], until: datetime) -> list[tuple[str, int]]:
    """Hold inboxes that `due` or `free` has locked; return (id, fencing token)."""
    return leases.take(connection, ids, until) if ids else []


def free(connection: Connection, inbox_id: str, now: datetime, longest: datetime) -> bool:
    """Whether nobody holds an inbox, due or not; and lock it."""
    query = sa.select(inboxes.c.id).where(inboxes.c.id == inbox_id, _free(now, longest))
    return connection.execute(locked(query, skip=True)).first() is not None


IS_ACTIVE: Final = sa.text("state = 'active'")
"""Not a parameter: only so is the partial index of what is due certain to serve."""


def _free(now: datetime, longest: datetime) -> sa.ColumnElement[bool]:
    """Nobody holds it, or the lease is over, or it ends later than any: then the clock has been put back since."""
    until = inboxes.c.lease_until
    return sa.or_(until.is_(None), until < now, until > longest)


def mend_times(connection: Connection, now: datetime, furthest: datetime, skew: timedelta) -> int:
    """Make inboxes due that a clock which has been put back since would keep waiting; return how many.

    Their next poll lies further ahead than any that we plan, and when they were last written to lies ahead, too. What
    a server has asked for stays.
    """
    written_at = sa.func.coalesce(inboxes.c.last_poll_at, inboxes.c.created_at)
    stranded = inboxes.c.next_poll_at > furthest, written_at > now + skew
    return connection.execute(sa.update(inboxes).where(*stranded).values(next_poll_at=now)).rowcount


def sent_through(
    connection: Connection, account: str, name: str, sent_at: datetime, due_at: datetime, worth: timedelta
) -> None:
    """Note an email that the CRM sent through an inbox, and bring its next poll forward to `due_at`.

    Nothing is written that changes less than `worth`. An inbox that is put off because something failed stays put off.
    """
    older = sa.or_(inboxes.c.active_at.is_(None), inboxes.c.active_at < sent_at - worth)
    later = sa.and_(inboxes.c.failures == 0, inboxes.c.next_poll_at > due_at)
    newest = sa.case((sa.or_(inboxes.c.active_at.is_(None), inboxes.c.active_at < sent_at), sent_at))
    connection.execute(
        sa.update(inboxes)
        .where(inboxes.c.account == account, inboxes.c.name == name, sa.or_(older, later))
        .values(
            active_at=sa.func.coalesce(newest, inboxes.c.active_at),
            next_poll_at=sa.case((later, due_at), else_=inboxes.c.next_poll_at),
        )
    )


def save_fenced(connection: Connection, inbox_id: str, lease_token: int, **values: object) -> None:
    """Set columns if the lease is still ours; setting `lease_until` to None gives it back. Raises `StaleLease`."""
    done = connection.execute(
        sa.update(inboxes).where(inboxes.c.id == inbox_id, inboxes.c.lease_token == lease_token).values(**values)
    )
    if done.rowcount != 1:
        raise StaleLease(inbox_id)
    if "lease_until" in values:
        leases.set_end(connection, inbox_id, values["lease_until"])


def _inbox(row: RowMapping) -> Inbox:
    policy = Policy(row["policy"]) if row["policy"] else None
    return Inbox(**{**row, "state": InboxState(row["state"]), "policy": policy})


def make_due(connection: Connection, inbox_id: str, now: datetime) -> None:
    """Have an inbox polled now, unless it is put off because something failed: then its server wants peace."""
    connection.execute(
        sa.update(inboxes)
        .where(inboxes.c.id == inbox_id, inboxes.c.failures == 0, inboxes.c.next_poll_at > now)
        .values(next_poll_at=now)
    )


def put_off(connection: Connection, inbox_id: str, until: datetime, why: str) -> None:
    """Have an inbox left in peace until a moment, as its server has asked for; never for less than it is already."""
    later = sa.case((inboxes.c.next_poll_at > until, inboxes.c.next_poll_at), else_=until)
    connection.execute(
        sa.update(inboxes)
        .where(inboxes.c.id == inbox_id)
        .values(next_poll_at=later, failures=inboxes.c.failures + 1, attention=why)
    )


def any_due(connection: Connection, now: datetime) -> bool:
    """Whether an active inbox is due or held."""
    busy = sa.or_(inboxes.c.next_poll_at <= now, inboxes.c.lease_until > now)
    query = sa.select(inboxes.c.id).where(inboxes.c.state == InboxState.ACTIVE, busy).limit(1)
    return connection.execute(query).first() is not None
