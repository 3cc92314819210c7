"""One engine for SQLite (WAL) and PostgreSQL, and the two kinds of transaction."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import DBAPIError

from worker.store.schema import HEAD, storable_json

BUSY_TIMEOUT_MS: Final = 15_000
STATEMENT_TIMEOUT_MS: Final = 30_000
MIGRATION_LOCK: Final = 0x626F756E6365  # "bounce", for pg_advisory_xact_lock


DatabaseProblem = DBAPIError
"""What says that the database can't be used just now: it is away, or its disk is full."""


def words_of(problem: DBAPIError) -> str:
    """Return what the database itself said, in one line."""
    return str(problem.orig).partition("\n")[0]


def open_engine(url: str) -> Engine:
    """Return an engine for ``sqlite:///FILE`` or ``postgresql://…``; nothing is contacted yet."""
    if url.startswith("sqlite"):
        return _sqlite(url)
    return sa.create_engine(
        url,
        json_serializer=storable_json,
        hide_parameters=True,
        pool_pre_ping=True,
        pool_size=5,
        max_overflow=5,
        connect_args={"connect_timeout": 5, "options": f"-c statement_timeout={STATEMENT_TIMEOUT_MS} -c timezone=UTC"},
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


def migrate(engine: Engine) -> None:
    """Bring the database to `HEAD`, under a lock, so that many workers may start at once."""
    if version(engine) == HEAD:
        return
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(resources.files("worker.store") / "migrations"))
    with engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(MIGRATION_LOCK)))
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


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
