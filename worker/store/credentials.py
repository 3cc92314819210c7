"""One inbox's secret, sealed at rest and replaced by compare-and-swap (see `connectors.base.CredentialStore`)."""

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from connectors.base import StaleCredential
from connectors.errors import AuthRequired
from connectors.oauth import ends_at
from worker.store.database import insert, locked, reading, writing
from worker.store.keyring import KeyRing
from worker.store.schema import credentials, inboxes


class DatabaseCredentials:
    """See `CredentialStore`. Each call is a short transaction of its own, so no lock is held across the network."""

    def __init__(self, engine: Engine, ring: KeyRing, inbox_id: str) -> None:
        self._engine = engine
        self._ring = ring
        self._inbox_id = inbox_id

    def load(self) -> tuple[str, int]:
        with reading(self._engine) as connection:
            row = connection.execute(credentials.select().where(credentials.c.inbox_id == self._inbox_id)).first()
        if row is None:
            raise AuthRequired("No password is stored for this inbox: add it again with --password-env.")
        return self._ring.open(row.secret, self._inbox_id).decode(), row.version

    def save(self, secret: str, expected_version: int) -> int:
        with writing(self._engine) as connection:
            done = connection.execute(
                sa.update(credentials)
                .where(credentials.c.inbox_id == self._inbox_id, credentials.c.version == expected_version)
                .values(secret=self._ring.seal(secret.encode(), self._inbox_id), version=expected_version + 1)
            )
            if done.rowcount != 1:
                raise StaleCredential
            _note_end(connection, self._inbox_id, secret)
        return expected_version + 1


def put(connection: Connection, ring: KeyRing, inbox_id: str, secret: str) -> None:
    """Store an inbox's first secret, or a new one that a person has given."""
    statement = insert(connection, credentials).values(
        inbox_id=inbox_id, secret=ring.seal(secret.encode(), inbox_id), version=1
    )
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["inbox_id"],
            set_={"secret": statement.excluded.secret, "version": credentials.c.version + 1},
        )
    )
    _note_end(connection, inbox_id, secret)


def _note_end(connection: Connection, inbox_id: str, secret: str) -> None:
    """Let an inbox show when somebody must sign in again: that is no secret."""
    connection.execute(sa.update(inboxes).where(inboxes.c.id == inbox_id).values(sign_in_ends_at=ends_at(secret)))


def stored(connection: Connection) -> list[str]:
    """Return the inboxes that have a secret."""
    return list(connection.execute(sa.select(credentials.c.inbox_id).order_by(credentials.c.inbox_id)).scalars())


def reseal(connection: Connection, ring: KeyRing, inbox_id: str) -> bool:
    """Encrypt an inbox's secret anew with the newest key, if it still has one. The secret's version stays."""
    row = connection.execute(locked(credentials.select().where(credentials.c.inbox_id == inbox_id))).first()
    if row is None:
        return False
    secret = ring.seal(ring.open(row.secret, inbox_id), inbox_id)
    connection.execute(sa.update(credentials).where(credentials.c.inbox_id == inbox_id).values(secret=secret))
    return True
