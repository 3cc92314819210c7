"""All that is held about one address in an account: shown, and forgotten."""

from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from worker.attach import address_state
from worker.domain import address_key
from worker.store import accounts, everywhere
from worker.store import bounces as bounce_store
from worker.store.database import insert
from worker.store.keyring import Digester
from worker.store.schema import (
    addresses,
    bounces,
    exclusions,
    facts,
    outbox,
    raw_notices,
    review,
    send_keys,
    send_recipients,
    sends,
    timeline,
)

EXCLUDED: Final = "excluded"
"""Under which name addresses are hashed whose exclusion outlives them."""
SECRET_COLUMNS: Final = frozenset({"digest"})


def held(connection: Connection, account: str, address: str) -> dict[str, list[dict[str, Any]]]:
    """Return every row that names an address, by table; nothing of other people's."""
    key = address_key(address)
    of_address = {table.name: _rows(connection, table, table.c.address_key == key, account) for table in _TABLES}
    mine = sa.select(send_recipients.c.send_id).where(_is(send_recipients, account, key))
    return of_address | {
        "sends": _rows(connection, sends, sends.c.id.in_(mine), account),
        "review": _rows(connection, review, _names(review.c.entry, key), account),
        "outbox": _rows(connection, outbox, _names(outbox.c.payload, key), account),
    }


def forget(connection: Connection, account: str, address: str) -> dict[str, int]:
    """Drop every row that names an address; return how many of which table. Sends to others stay, without it."""
    key = address_key(address)
    alone = _sends_to_nobody_else(connection, account, key)
    told = sa.union(
        sa.select(facts.c.about).where(_is(facts, account, key), facts.c.about.is_not(None)),
        sa.select(review.c.report_id).where(review.c.account == account, _names(review.c.entry, key)),
    )
    gone = {
        # A notice may speak of others as well; nobody can take one person out of it.
        "raw_notices": _drop(connection, raw_notices, account, raw_notices.c.report_id.in_(told.scalar_subquery())),
        "review": _drop(connection, review, account, _names(review.c.entry, key)),
        "outbox": _drop(connection, outbox, account, _names(outbox.c.payload, key)),
    }
    of_bounces = sa.select(bounces.c.id).where(_is(bounces, account, key))
    connection.execute(sa.delete(timeline).where(timeline.c.account == account, timeline.c.bounce_id.in_(of_bounces)))
    for table in _TABLES:
        gone[table.name] = _drop(connection, table, account, table.c.address_key == key)
    for start in range(0, len(alone), 500):
        part = alone[start : start + 500]
        _drop(connection, send_keys, account, send_keys.c.send_id.in_(part))
        gone["sends"] = gone.get("sends", 0) + _drop(connection, sends, account, sends.c.id.in_(part))
    return {name: number for name, number in gone.items() if number}


def purge_inbox(connection: Connection, account: str, inbox: str, digest: Digester, now: datetime) -> None:
    """Drop all that came of an inbox's emails; what its addresses are follows from what is left."""
    where = bounces.c.account == account, bounces.c.inbox == inbox
    keys = set(connection.execute(sa.select(bounces.c.address_key).where(*where)).scalars())
    before = bounce_store.hold_addresses(connection, account, keys, now).states
    bounce_store.forget_inbox(connection, account, inbox)
    left = bounce_store.of_addresses(connection, account, keys)
    chosen = accounts.rules(connection, account)
    for key, old in before.items():
        own = [bounce for bounce in left.values() if bounce_store.key_of(bounce) == key]
        new = address_state(account, key, own, chosen)
        if old.excluded_by is not None and new.excluded_by is None:
            keep_exclusion(connection, account, digest(account, EXCLUDED, key), old.excluded_by, now)
        everywhere.note(connection, account, everywhere.hashed(digest, key), everywhere.proof(own))
        if own:
            bounce_store.save_addresses(connection, [new], now)
        else:
            _drop(connection, addresses, account, addresses.c.address_key == key)
            _drop(connection, facts, account, facts.c.address_key == key)


def keep_exclusion(connection: Connection, account: str, digest: bytes, policy: str, now: datetime) -> None:
    """Remember by a keyed hash alone that an address must not be written to."""
    row = {"account": account, "digest": digest, "excluded_by": policy, "recorded_at": now}
    connection.execute(insert(connection, exclusions).values(row).on_conflict_do_nothing())


def is_kept_excluded(connection: Connection, account: str, digest: bytes) -> bool:
    """Whether an address was excluded when it was forgotten."""
    where = exclusions.c.account == account, exclusions.c.digest == digest
    return connection.execute(exclusions.select().where(*where)).first() is not None


def drop_exclusion(connection: Connection, account: str, digest: bytes) -> bool:
    """Forget that as well; return whether it was known."""
    where = exclusions.c.account == account, exclusions.c.digest == digest
    return bool(connection.execute(sa.delete(exclusions).where(*where)).rowcount)


_TABLES: Final = (send_recipients, facts, bounces, addresses)


def _sends_to_nobody_else(connection: Connection, account: str, key: str) -> list[str]:
    other = send_recipients.alias()
    shared = sa.exists().where(
        other.c.account == account, other.c.send_id == send_recipients.c.send_id, other.c.address_key != key
    )
    query = sa.select(send_recipients.c.send_id).where(_is(send_recipients, account, key), ~shared)
    return list(connection.execute(query).scalars())


def _is(table: sa.Table, account: str, key: str) -> sa.ColumnElement[bool]:
    return sa.and_(table.c.account == account, table.c.address_key == key)


def _names(column: sa.Column[Any], key: str) -> sa.ColumnElement[bool]:
    return sa.func.lower(column["address"].as_string()) == key


def _drop(connection: Connection, table: sa.Table, account: str, where: sa.ColumnElement[bool]) -> int:
    return connection.execute(sa.delete(table).where(table.c.account == account, where)).rowcount


def _rows(connection: Connection, table: sa.Table, where: sa.ColumnElement[bool], account: str) -> list[dict[str, Any]]:
    query = table.select().where(table.c.account == account, where)
    return [
        {name: value for name, value in row.items() if name not in SECRET_COLUMNS}
        for row in connection.execute(query).mappings()
    ]
