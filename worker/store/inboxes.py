"""Connected inboxes: what they are, when they are due, and who holds them."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import sqlalchemy as sa
from sqlalchemy.engine import Connection, RowMapping

from worker.domain import Policy
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
    own; None means its account's.
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


def claim(
    connection: Connection, now: datetime, lease_until: datetime, limit: int, *, only: str | None = None
) -> Sequence[tuple[str, int]]:
    """Take inboxes that are due and that nobody holds; return (id, fencing token).

    With `only`, that one is taken whether it is due or not, unless somebody holds it.
    """
    free = sa.or_(inboxes.c.lease_until.is_(None), inboxes.c.lease_until < now)
    due = sa.select(inboxes.c.id).where(free)
    if only is None:
        due = due.where(inboxes.c.state == InboxState.ACTIVE, inboxes.c.next_poll_at <= now)
        due = due.order_by(inboxes.c.next_poll_at).limit(limit)
    else:
        due = due.where(inboxes.c.id == only)
    rows = connection.execute(
        sa.update(inboxes)
        .where(inboxes.c.id.in_(locked(due, skip=True).scalar_subquery()))
        .values(lease_until=lease_until, lease_token=inboxes.c.lease_token + 1)
        .returning(inboxes.c.id, inboxes.c.lease_token)
    )
    return [(row.id, row.lease_token) for row in rows]


def count_lapsed(connection: Connection, now: datetime) -> int:
    """Count the inboxes that are due and whose lease ran out: their last poll never ended."""
    query = sa.select(sa.func.count()).where(
        inboxes.c.state == InboxState.ACTIVE, inboxes.c.next_poll_at <= now, inboxes.c.lease_until < now
    )
    return connection.execute(query).scalar_one()


def save_fenced(connection: Connection, inbox_id: str, lease_token: int, **values: object) -> None:
    """Set columns if the lease is still ours. Raises `StaleLease`."""
    done = connection.execute(
        sa.update(inboxes).where(inboxes.c.id == inbox_id, inboxes.c.lease_token == lease_token).values(**values)
    )
    if done.rowcount != 1:
        raise StaleLease(inbox_id)


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
