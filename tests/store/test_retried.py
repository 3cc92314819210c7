"""Transactions that fail for a reason that passes are run again: deadlocks, serialization, busy files, lost servers."""

import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError, IntegrityError

from worker.store import database
from worker.store.database import migrate, open_engine, reading, retried, writing
from worker.store.schema import meta


@pytest.fixture
def engine(postgres_url: str) -> Iterator[Engine]:
    made = open_engine(postgres_url)
    migrate(made)
    with writing(made) as connection:
        connection.execute(meta.insert(), [{"key": name, "value": b"0"} for name in ("one", "two")])
    yield made
    made.dispose()


def add(connection: sa.Connection, key: str) -> None:
    text = "UPDATE meta SET value = convert_to((convert_from(value, 'UTF8')::int + 1)::text, 'UTF8') WHERE key = :key"
    connection.execute(sa.text(text), {"key": key})


def numbers(engine: Engine) -> dict[str, int]:
    with reading(engine) as connection:
        rows = connection.execute(meta.select().where(meta.c.key.in_(["one", "two"])))
        return {row.key: int(row.value) for row in rows}


@pytest.mark.live
def test_of_two_transactions_that_lock_each_other_out_both_come_to_pass(engine: Engine):
    met = Barrier(2)
    tries: list[str] = []

    @retried
    def both(first: str, second: str) -> None:
        tries.append(first)
        with writing(engine) as connection:
            add(connection, first)
            if len(tries) <= 2:
                met.wait(10)
            add(connection, second)

    with ThreadPoolExecutor(2) as pool:
        for job in [pool.submit(both, "one", "two"), pool.submit(both, "two", "one")]:
            job.result(30)
    assert numbers(engine) == {"one": 2, "two": 2}
    assert len(tries) == 3  # PostgreSQL has ended one of them once


@pytest.mark.live
def test_of_two_serializable_transactions_that_saw_the_same_both_come_to_pass(engine: Engine):
    met = Barrier(2)
    tries: list[int] = []

    @retried
    def count(_: int) -> None:
        tries.append(1)
        first = len(tries) <= 2
        with engine.connect().execution_options(isolation_level="SERIALIZABLE") as connection, connection.begin():
            connection.execute(meta.select()).all()
            if first:
                met.wait(10)
            add(connection, "one")

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(count, range(2)))
    assert numbers(engine)["one"] == 2
    assert len(tries) > 2


@pytest.mark.live
def test_a_connection_that_the_server_ends_is_made_anew(engine: Engine):
    tries = 0

    @retried
    def work() -> int:
        nonlocal tries
        tries += 1
        with writing(engine) as connection:
            own = connection.execute(sa.text("SELECT pg_backend_pid()")).scalar_one()
            if tries == 1:
                with engine.connect() as other:
                    other.execute(sa.text("SELECT pg_terminate_backend(:pid)"), {"pid": own})
            add(connection, "one")
        return own

    work()
    assert tries == 2
    assert numbers(engine)["one"] == 1


@pytest.mark.live
def test_who_waits_too_long_for_a_lock_tries_again_and_then_gives_up(engine: Engine, monkeypatch):
    monkeypatch.setattr(database, "FIRST_WAIT", 0.0)
    tries = 0

    @retried
    def work() -> None:
        nonlocal tries
        tries += 1
        with writing(engine) as connection:
            connection.execute(sa.text("SET LOCAL lock_timeout = 20"))
            add(connection, "one")

    with writing(engine) as holder:
        add(holder, "one")
        with pytest.raises(DBAPIError, match="lock timeout"):
            work()
    assert tries == database.TRIES
    work()
    assert numbers(engine)["one"] == 2


@pytest.mark.live
def test_a_process_that_hangs_in_a_transaction_keeps_its_locks_for_a_minute_at_the_most(engine: Engine):
    with reading(engine) as connection:
        names = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
        said = {name: connection.execute(sa.text(f"SHOW {name}")).scalar_one() for name in names}
    assert said == dict(zip(names, ("30s", "10s", "1min"), strict=True))


@pytest.mark.live
def test_the_pool_is_as_large_as_it_was_said_to_be(postgres_url: str):
    engine = open_engine(postgres_url, pool=2)
    held = [engine.connect() for _ in range(4)]
    assert engine.pool.checkedout() == 4
    assert engine.pool.size() == 2
    for connection in held:
        connection.close()
    engine.dispose()


def test_a_busy_file_is_tried_again(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(database, "BUSY_TIMEOUT_MS", 1)
    monkeypatch.setattr(database, "FIRST_WAIT", 0.0)
    engine = open_engine(f"sqlite:///{tmp_path / 'x.sqlite3'}")
    migrate(engine)
    other = sqlite3.connect(tmp_path / "x.sqlite3", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    tries = 0

    @retried
    def work() -> None:
        nonlocal tries
        tries += 1
        if tries == 3:
            other.execute("COMMIT")
        with writing(engine) as connection:
            connection.execute(meta.insert().values(key="one", value=b"1"))

    work()
    assert tries == 3
    other.close()
    engine.dispose()


def test_what_is_wrong_stays_wrong_and_is_tried_once(tmp_path: Path):
    engine = open_engine(f"sqlite:///{tmp_path / 'x.sqlite3'}")
    migrate(engine)
    tries = 0

    @retried
    def work() -> None:
        nonlocal tries
        tries += 1
        with writing(engine) as connection:
            connection.execute(meta.insert(), [{"key": "one", "value": b"1"}] * 2)

    with pytest.raises(IntegrityError):
        work()
    assert tries == 1
    engine.dispose()
