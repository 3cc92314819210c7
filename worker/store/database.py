"""One engine for SQLite (WAL) and PostgreSQL, and the two kinds of transaction."""

import functools
import logging
import random
import sqlite3
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from importlib import resources
from typing import Any, Final, ParamSpec, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import DBAPIError

from worker.store.schema import COMPATIBLE_FROM, HEAD, meta, storable_json

log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

BUSY_TIMEOUT_MS: Final = 15_000
STATEMENT_TIMEOUT_MS: Final = 30_000
LOCK_TIMEOUT_MS: Final = 10_000
IDLE_TIMEOUT_MS: Final = 60_000
"""A transaction that does nothing for so long belongs to a process that hangs or is gone; its locks are taken away."""
POOL: Final = 5
"""Connections that a process keeps; it may open as many again for a while."""
MIGRATION_LOCK: Final = 0x626F756E6365  # "bounce", for pg_advisory_xact_lock


class IncompatibleDatabase(Exception):
    """The database is of a version that this program can't work with; the text says what to do."""


DatabaseProblem = DBAPIError
"""What says that the database can't be used just now: it is away, or its disk is full."""


def words_of(problem: DBAPIError) -> str:
    """Return what the database itself said, in one line."""
    return str(problem.orig).partition("\n")[0]


def open_engine(url: str, pool: int = POOL) -> Engine:
    """Return an engine for ``sqlite:///FILE`` or ``postgresql://…``; nothing is contacted yet."""
    if url.startswith("sqlite"):
        return _sqlite(url)
    timeouts = {
        "statement_timeout": STATEMENT_TIMEOUT_MS,
        "lock_timeout": LOCK_TIMEOUT_MS,
        "idle_in_transaction_session_timeout": IDLE_TIMEOUT_MS,
    }
    options = " ".join(f"-c {name}={value}" for name, value in timeouts.items())
    return sa.create_engine(
        url,
        json_serializer=storable_json,
        hide_parameters=True,
        pool_pre_ping=True,
        pool_size=pool,
        max_overflow=pool,
        connect_args={"connect_timeout": 5, "options": f"{options} -c timezone=UTC"},
    )


def _sqlite(url: str) -> Engine:
    engine = sa.create_engine(url, json_serializer=storable_json, hide_parameters=True)

    @sa.event.listens_for(engine, "connect")
    def _prepare(dbapi: Any, _record: object) -> None:  # noqa: ANN401 - sqlite3.Connection behind SQLAlchemy's pool
        dbapi.isolation_level = None  # the driver's own BEGINs come too late: see _begin
        cursor = dbapi.cursor()
        cursor.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.close()

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # A transaction that reads first and writes later can't wait for a writer (SQLITE_BUSY_SNAPSHOT): it must
        # take the write lock at once.
        readonly = connection.get_execution_options().get("readonly")
        connection.exec_driver_sql("BEGIN" if readonly else "BEGIN IMMEDIATE")

    return engine


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """Open a transaction that only reads: on SQLite it never waits for a writer."""
    with engine.connect().execution_options(readonly=True) as connection, connection.begin():
        yield connection


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """Open a transaction that commits at the end and rolls back on any error."""
    with engine.begin() as connection:
        yield connection


TRIES: Final = 5
FIRST_WAIT: Final = 0.05
"""Seconds before the second try; it doubles. With all tries a caller waits for one second at the most."""
PASSING: Final = frozenset({"40001", "40P01", "55P03", "57P01", "57P02"})
"""SQLSTATEs of what the next try may not meet: a serialization failure, a deadlock, a lock that wasn't to be had, a
server that ended the connection (PostgreSQL 15, appendix A)."""
BUSY: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})


def retried(work: Callable[P, T]) -> Callable[P, T]:
    """Run `work`, which is one transaction, again when it failed for a reason that passes.

    A connection that is lost at the commit leaves open whether it came to pass: use this only where a second run does
    no harm.
    """

    @functools.wraps(work)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        for attempt in range(1, TRIES):
            try:
                return work(*args, **kwargs)
            except DBAPIError as error:
                if not passes(error):
                    raise
                log.info("transaction.retried", extra={"work": work.__name__, "attempt": attempt})
            time.sleep(FIRST_WAIT * 2 ** (attempt - 1) * random.uniform(0.5, 1.0))  # noqa: S311 - no secret
        return work(*args, **kwargs)

    return run


def passes(error: DBAPIError) -> bool:
    """Whether the same transaction may succeed at the next try."""
    if error.connection_invalidated:
        return True
    if isinstance(error.orig, sqlite3.OperationalError):
        return getattr(error.orig, "sqlite_errorcode", 0) & 0xFF in BUSY  # the low byte; extended codes say more
    return getattr(error.orig, "sqlstate", None) in PASSING


def one_at_a_time(connection: Connection, lock: int) -> None:
    """Wait for whoever holds `lock`, and hold it until the commit. On SQLite, whoever writes is alone anyway."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SELECT pg_advisory_xact_lock(%s)", (lock,))


COMPATIBLE_ROW: Final = "compatible_from"


def migrate(engine: Engine) -> None:
    """Bring the database to `HEAD`, under a lock, so that many workers may start at once.

    A newer program may have brought it further. That is well where it says that code of our age still works; else
    raises `IncompatibleDatabase`.
    """
    found = version(engine)
    if found == HEAD:
        return
    if found is not None and found > HEAD:
        _must_be_compatible(engine, found)
        return
    _move(engine, "head")


def migrate_back(engine: Engine, revision: str) -> None:
    """Bring the database back to an older revision, or with ``base`` to nothing. What only newer code knows is lost."""
    _move(engine, revision, back=True)


def _move(engine: Engine, revision: str, *, back: bool = False) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(resources.files("worker.store") / "migrations"))
    with engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            # Whoever starts meanwhile waits as long as it takes, and a large table takes its time. But a migration that
            # waits for a table makes everybody else wait behind it: it gives up soon, and is tried at the next start.
            connection.execute(sa.text("SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0"))
            one_at_a_time(connection, MIGRATION_LOCK)
            connection.execute(sa.text(f"SET LOCAL lock_timeout = {LOCK_TIMEOUT_MS}"))
        config.attributes["connection"] = connection
        (command.downgrade if back else command.upgrade)(config, revision)
        if not back:
            row = insert(connection, meta).values(key=COMPATIBLE_ROW, value=COMPATIBLE_FROM.encode())
            newest = {"value": row.excluded.value}
            connection.execute(row.on_conflict_do_update(index_elements=["key"], set_=newest))


def _must_be_compatible(engine: Engine, found: str) -> None:
    oldest = compatible_from(engine)
    if oldest is None or oldest > HEAD:
        raise IncompatibleDatabase(
            f"A newer bounce-worker has brought the database to revision {found}, and this one knows {HEAD}: update"
            " this program to the version of the others."
        )


def compatible_from(engine: Engine) -> str | None:
    """Return the oldest revision whose programs work on with this database, or None where nobody has said."""
    with reading(engine) as connection:
        oldest = connection.execute(sa.select(meta.c.value).where(meta.c.key == COMPATIBLE_ROW)).scalar()
    return bytes(oldest).decode() if oldest is not None else None


def version(engine: Engine) -> str | None:
    """Return the migration that a database is at, or None where it has no tables."""
    with reading(engine) as connection:
        if not sa.inspect(connection).has_table("alembic_version"):
            return None
        return connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()


def insert(connection: Connection, table: sa.Table) -> Any:  # noqa: ANN401 - two dialects' inserts share no base with on_conflict
    """Return the dialect's own INSERT, which knows ON CONFLICT."""
    if connection.dialect.name == "sqlite":
        from sqlalchemy.dialects import sqlite

        return sqlite.insert(table)
    from sqlalchemy.dialects import postgresql

    return postgresql.insert(table)


def rows_of(
    connection: Connection,
    table: sa.Table,
    column: sa.Column[Any],
    values: Collection[str],
    *where: sa.ColumnElement[bool],
) -> sa.Select[Any]:
    """Return the query for rows of `table` with one of many values in a column, and what else they must fulfil.

    On PostgreSQL each value is looked up by itself, whatever the table's statistics: a plan for all of them at once is
    kept from when the table was empty, and reads everything that an account has until the first ANALYZE.
    """
    if connection.dialect.name != "postgresql":
        return table.select().where(column.in_(sorted(values)), *where)
    given = sa.func.unnest(sa.literal(sorted(values), sa.ARRAY(sa.Text))).table_valued("value").render_derived()
    each = table.select().where(column == given.c.value, *where).correlate(given)
    found = each.offset(sa.literal_column("0")).lateral()  # kept apart from the rest of the query by its OFFSET
    return sa.select(found).select_from(sa.join(given, found, sa.true()))


def locked(statement: sa.Select[Any], *, skip: bool = False, of: sa.Table | None = None) -> sa.Select[Any]:
    """Lock the rows that `statement` reads (only those of table `of`); SQLite's one writer ignores this."""
    return statement.with_for_update(skip_locked=skip, of=of)


def is_reachable(engine: Engine) -> bool:
    """Whether the database answers."""
    try:
        with reading(engine) as connection:
            connection.execute(sa.select(1))
    except DBAPIError:
        return False
    return True
