"""Addresses that bounced for good in several accounts: keyed hashes only, and only of accounts that take part.

https://knowledge.hubspot.com/marketing-email/what-is-a-global-bounce has the rule; who may speak for others is ours:
the operator names the accounts, and nothing but a notice that gives back the email's Message-ID counts.
"""

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from typing import Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from worker.domain import Bounce, BounceType, Fault, Rung
from worker.store.database import insert
from worker.store.keyring import Digester
from worker.store.schema import accounts, global_bounces, global_lifts, send_recipients

ACCOUNTS: Final = 3
"""In so many accounts an address must have bounced."""


def hashed(digest: Digester, key: str) -> bytes:
    """Return an address as all accounts know it together; by the hashes of one account nobody can tell it."""
    return digest("", "everywhere", key)


def proof(bounces: Iterable[Bounce]) -> datetime | None:
    """Return when an address last bounced in a way that may count for other accounts, if such a bounce stands."""
    counted = (
        bounce.occurred_at
        for bounce in bounces
        if bounce.stands
        and bounce.verdict.type is BounceType.HARD
        and bounce.verdict.fault is Fault.ADDRESS
        and bounce.matched_by is Rung.ORIGINAL_MESSAGE_ID
    )
    return max(counted, default=None)


def note(connection: Connection, account: str, digest: bytes, occurred_at: datetime | None) -> None:
    """Say when an address last bounced for good in an account, or that no such bounce stands any more (None)."""
    if occurred_at is None:
        mine = global_bounces.c.digest == digest, global_bounces.c.account == account
        connection.execute(sa.delete(global_bounces).where(*mine))
        return
    statement = insert(connection, global_bounces).values(digest=digest, account=account, occurred_at=occurred_at)
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["digest", "account"], set_={"occurred_at": statement.excluded.occurred_at}
        )
    )


def bounced(connection: Connection, digests: Collection[bytes], now: datetime, window: timedelta) -> set[bytes]:
    """Return those of some addresses that bounced in enough accounts within a window, and since they were lifted."""
    is_lifted = sa.exists().where(
        global_lifts.c.digest == global_bounces.c.digest, global_lifts.c.at >= global_bounces.c.occurred_at
    )
    query = (
        sa.select(global_bounces.c.digest)
        .join(accounts, accounts.c.name == global_bounces.c.account)
        .where(accounts.c.trusted.is_(True), accounts.c.global_opt_out.is_(False))
        .where(global_bounces.c.digest.in_(list(digests)), global_bounces.c.occurred_at > now - window, ~is_lifted)
        .group_by(global_bounces.c.digest)
        .having(sa.func.count() >= ACCOUNTS)
    )
    return {bytes(found) for found in connection.execute(query).scalars()}


def lift(connection: Connection, digest: bytes, by: str, why: str, now: datetime) -> None:
    """Lift an address everywhere: what bounced until now counts no more."""
    statement = insert(connection, global_lifts).values(digest=digest, at=now, by=by, why=why)
    values = {name: statement.excluded[name] for name in ("at", "by", "why")}
    connection.execute(statement.on_conflict_do_update(index_elements=["digest"], set_=values))


def wrote_to(connection: Connection, account: str, keys: Collection[str]) -> set[str]:
    """Return those of some addresses to whom an account's registered sends went: of others nobody is told anything."""
    where = send_recipients.c.account == account, send_recipients.c.address_key.in_(sorted(keys))
    return set(connection.execute(sa.select(send_recipients.c.address_key).where(*where).distinct()).scalars())
