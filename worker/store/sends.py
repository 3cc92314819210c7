"""What the CRM sent, and how to find it again."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection, RowMapping

from worker.domain import LATE_FIELDS, Recipient, Role, SendKind, SentEmail, address_key
from worker.match import Key, send_keys
from worker.store.database import insert, rows_of
from worker.store.keyring import Digester
from worker.store.schema import send_keys as send_key_rows
from worker.store.schema import send_recipients, sends

LOAD_AT_ONCE: Final = 500
MOST_AROUND: Final = 2_000
"""Sends that are scored for a batch at the most; so many emails to its recipients in a window is no ordinary CRM."""

_BY_DIGEST: Final = sa.select(send_key_rows.c.digest, send_key_rows.c.send_id).where(
    send_key_rows.c.account == sa.bindparam("of"), send_key_rows.c.digest.in_(sa.bindparam("digests", expanding=True))
)
"""Made once: making it costs as much as the look-up."""


def register(connection: Connection, batch: Sequence[SentEmail], digest: Digester, now: datetime) -> None:
    """Keep sends; a repeat of the same (account, id) changes nothing but what it adds."""
    if not batch:
        return
    statement = insert(connection, sends)
    statement = statement.on_conflict_do_update(
        index_elements=["account", "id"],
        set_={name: sa.func.coalesce(sends.c[name], statement.excluded[name]) for name in LATE_FIELDS},
    )
    connection.execute(statement, [_row(send) | {"registered_at": now} for send in batch])
    recipients = insert(connection, send_recipients)
    recipients = recipients.on_conflict_do_update(
        index_elements=["account", "send_id", "address_key"],
        set_={"contact_id": sa.func.coalesce(send_recipients.c.contact_id, recipients.excluded.contact_id)},
    )
    if rows := [_recipient_row(send, recipient) for send in batch for recipient in send.recipients]:
        connection.execute(recipients, rows)
    keyed = [
        {"account": send.account, "digest": digest(send.account, key.name, key.value), "send_id": send.id}
        for send in batch
        for key in send_keys(send)
    ]
    if keyed:
        connection.execute(insert(connection, send_key_rows).on_conflict_do_nothing(), keyed)


def known(connection: Connection, batch: Iterable[SentEmail]) -> dict[tuple[str, str], SentEmail]:
    """Return those of some sends that are registered already, as they are known, by account and id."""
    wanted: defaultdict[str, list[str]] = defaultdict(list)
    for send in batch:
        wanted[send.account].append(send.id)
    return {
        (account, name): send
        for account, ids in sorted(wanted.items())
        for start in range(0, len(ids), LOAD_AT_ONCE)
        for name, send in load(connection, account, ids[start : start + LOAD_AT_ONCE]).items()
    }


def add_aliases(connection: Connection, learned: Iterable[tuple[SentEmail, str]], digest: Digester) -> None:
    """Keep further Message-IDs under which sends are known; `find` and the sweep meet them like the first."""
    rows = [
        {"account": send.account, "digest": digest(send.account, "message_id", alias), "send_id": send.id}
        for send, alias in learned
    ]
    if rows:
        connection.execute(insert(connection, send_key_rows).on_conflict_do_nothing(), rows)


def find(
    connection: Connection, account: str, keys: Iterable[Key], digest: Digester
) -> Mapping[Key, Sequence[SentEmail]]:
    """Return the account's sends by the keys that name them."""
    wanted = {digest(account, key.name, key.value): key for key in keys}
    if not wanted:
        return {}
    rows = ids_by_digest(connection, account, wanted)
    loaded = load(connection, account, {row.send_id for row in rows})
    found: defaultdict[Key, list[SentEmail]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: str(row.send_id)):
        if row.send_id in loaded:
            found[wanted[bytes(row.digest)]].append(loaded[row.send_id])
    return found


def ids_by_digest(connection: Connection, account: str, digests: Collection[bytes]) -> Sequence[sa.Row[Any, Any]]:
    """Return (digest, send_id) of the account's sends that are known by any of some digests."""
    return connection.execute(_BY_DIGEST, {"of": account, "digests": list(digests)}).all()


def around(
    connection: Connection, account: str, addresses: Iterable[str], since: datetime, until: datetime
) -> list[SentEmail]:
    """Return the account's sends to any of `addresses` between two moments."""
    keys = sorted({address_key(address) for address in addresses})
    same = sa.and_(sends.c.account == send_recipients.c.account, sends.c.id == send_recipients.c.send_id)
    query = (
        sa.select(sends.c.id)
        .join(send_recipients, same)
        .where(
            sends.c.account == account, send_recipients.c.address_key.in_(keys), sends.c.sent_at.between(since, until)
        )
        .limit(MOST_AROUND)
    )
    return list(load(connection, account, set(connection.execute(query).scalars())).values())


def load(connection: Connection, account: str, ids: Iterable[str]) -> dict[str, SentEmail]:
    """Return sends by id; unknown ones are left out."""
    wanted = sorted(ids)
    if not wanted:
        return {}
    people: defaultdict[str, list[Recipient]] = defaultdict(list)
    written_to = rows_of(
        connection, send_recipients, send_recipients.c.send_id, wanted, send_recipients.c.account == account
    )
    for row in sorted(connection.execute(written_to), key=lambda row: row.address_key):
        people[row.send_id].append(
            Recipient(address=row.address, contact_id=row.contact_id, role=Role(row.role)),
        )
    rows = connection.execute(rows_of(connection, sends, sends.c.id, wanted, sends.c.account == account)).mappings()
    return {row["id"]: _send(row, people[row["id"]]) for row in rows}


def load_all(connection: Connection, account: str | None) -> list[SentEmail]:
    """Return every send, of one account or of all."""
    query = sa.select(sends.c.account, sends.c.id)
    if account is not None:
        query = query.where(sends.c.account == account)
    by_account: defaultdict[str, list[str]] = defaultdict(list)
    for row in connection.execute(query):
        by_account[row.account].append(row.id)
    return [
        send
        for name, ids in sorted(by_account.items())
        for start in range(0, len(ids), LOAD_AT_ONCE)
        for send in load(connection, name, ids[start : start + LOAD_AT_ONCE]).values()
    ]


def _row(send: SentEmail) -> dict[str, object]:
    return {name: getattr(send, name) for name in SentEmail.__slots__ if name != "recipients"}


def _recipient_row(send: SentEmail, recipient: Recipient) -> dict[str, object]:
    return {
        "address": recipient.address,
        "contact_id": recipient.contact_id,
        "role": recipient.role,
        "account": send.account,
        "send_id": send.id,
        "address_key": address_key(recipient.address),
    }


def _send(row: RowMapping, recipients: Sequence[Recipient]) -> SentEmail:
    values = {name: value for name, value in row.items() if name not in ("kind", "registered_at")}
    return SentEmail(**values, kind=SendKind(row["kind"]), recipients=tuple(recipients))
