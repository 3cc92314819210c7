"""Accounts: whose sends, inboxes and bounces are kept strictly apart."""

from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from worker.domain import AccountRules, BounceType, Policy, SoftThreshold
from worker.store.database import insert
from worker.store.schema import accounts


def ensure(connection: Connection, name: str, now: datetime) -> None:
    """Make an account with the default rules where there is none."""
    default = AccountRules(account=name)
    values = {
        "name": name,
        "policy": default.policy,
        "unenroll_on": sorted(default.unenroll_on),
        "created_at": now,
    }
    connection.execute(insert(connection, accounts).values(values).on_conflict_do_nothing(index_elements=["name"]))


def exists(connection: Connection, name: str) -> bool:
    """Whether there is such an account."""
    return connection.execute(accounts.select().where(accounts.c.name == name)).first() is not None


def configure(connection: Connection, chosen: AccountRules) -> None:
    """Set what an account has chosen."""
    soft, full = chosen.soft_threshold, chosen.mailbox_full_expires
    connection.execute(
        sa.update(accounts)
        .where(accounts.c.name == chosen.account)
        .values(
            policy=chosen.policy,
            unenroll_on=sorted(chosen.unenroll_on),
            soft_threshold={"bounces": soft.bounces, "days": soft.within.days} if soft else None,
            mailbox_full_days=full.days if full else None,
            trusted=chosen.trusted,
            global_opt_out=chosen.global_opt_out,
        )
    )


def rules(connection: Connection, name: str) -> AccountRules:
    """Return what an account has chosen, or the defaults."""
    row = connection.execute(accounts.select().where(accounts.c.name == name)).first()
    if row is None:
        return AccountRules(account=name)
    return AccountRules(
        account=name,
        policy=Policy(row.policy),
        unenroll_on=frozenset(BounceType(value) for value in row.unenroll_on),
        soft_threshold=_threshold(row.soft_threshold),
        mailbox_full_expires=timedelta(days=row.mailbox_full_days) if row.mailbox_full_days else None,
        trusted=row.trusted,
        global_opt_out=row.global_opt_out,
    )


def giving_full_mailboxes_time(connection: Connection) -> dict[str, timedelta]:
    """Return the accounts in which a bounce for a full mailbox expires, and after how long."""
    query = sa.select(accounts.c.name, accounts.c.mailbox_full_days).where(accounts.c.mailbox_full_days.is_not(None))
    return {row.name: timedelta(days=row.mailbox_full_days) for row in connection.execute(query)}


def _threshold(kept: dict[str, int] | None) -> SoftThreshold | None:
    return SoftThreshold(bounces=kept["bounces"], within=timedelta(days=kept["days"])) if kept else None
