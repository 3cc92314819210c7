"""The database: migrations make what the schema says, on both kinds."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, text
from sqlalchemy.exc import StatementError

from worker.store.database import migrate, open_engine, reading, writing
from worker.store.schema import meta, metadata, sends


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.live)])
def engine(request: pytest.FixtureRequest, tmp_path) -> Iterator[Engine]:
    sqlite = request.param == "sqlite"
    made = open_engine(f"sqlite:///{tmp_path / 'x.sqlite3'}" if sqlite else request.getfixturevalue("postgres_url"))
    yield made
    made.dispose()


@pytest.mark.filterwarnings("ignore:.*expression-based index")  # on SQLite
def test_the_migrations_make_what_the_schema_says(engine: Engine):
    migrate(engine)
    with reading(engine) as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_many_workers_may_start_at_once(engine: Engine):
    problems: list[Exception] = []

    def start() -> None:
        try:
            migrate(engine)
        except Exception as problem:  # noqa: BLE001 - whatever it is, the test shows it
            problems.append(problem)

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []


def test_a_migration_can_be_taken_back(engine: Engine):
    from alembic import command
    from alembic.config import Config

    migrate(engine)
    config = Config()
    config.set_main_option("script_location", "worker/store/migrations")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "base")
    migrate(engine)


def test_times_are_aware_and_come_back_in_utc(engine: Engine):
    migrate(engine)
    moment = datetime(2026, 11, 22, 12, tzinfo=timezone(timedelta(hours=5)))
    row = {"account": "a", "id": "1", "inbox": "i", "kind": "one_to_one", "sent_at": moment, "registered_at": moment}
    with writing(engine) as connection:
        connection.execute(sends.insert().values(row))
    with reading(engine) as connection:
        back = connection.execute(sends.select()).one().sent_at
    assert back == moment
    assert back.tzinfo is UTC
    with pytest.raises(StatementError, match="without a zone"), writing(engine) as connection:
        connection.execute(sends.insert().values(row | {"id": "2", "sent_at": moment.replace(tzinfo=None)}))


def test_reading_does_not_wait_for_a_writer(engine: Engine):
    migrate(engine)
    with writing(engine) as writer:
        writer.execute(meta.insert().values(key="k", value=b"v"))
        with reading(engine) as reader:
            assert reader.execute(text("SELECT count(*) FROM meta")).scalar() == 0
