"""The database: migrations make what the schema says, on both kinds."""

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, text
from sqlalchemy.exc import StatementError

from worker.domain import FactKind
from worker.store import bounces, facts
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


def brought_to(engine: Engine, revision: str, *, back: bool = False) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", "worker/store/migrations")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        (command.downgrade if back else command.upgrade)(config, revision)


def test_reports_of_bounces_become_facts_and_come_back(engine: Engine):
    """Forwards and back over 0004 with a bounce in the tables."""
    brought_to(engine, "0003")
    at = "2026-11-22 10:00:00+00:00" if engine.dialect.name == "postgresql" else "2026-11-22 10:00:00.000000"
    verdict = {"type": "hard", "reason": "unknown_user", "fault": "address", "rule": "r", "rules_version": "1"}
    bounce = {
        "id": "b-1",
        "account": "acme",
        "send_id": "s-1",
        "address_key": "bob@x.example",
        "address": "Bob@x.example",
        "contact_id": "c-1",
        "inbox": "alice",
        "message_id": "m-1",
        "status": "5.1.1",
        "smtp_code": "550",
        "diagnostic": "no such user",
        "matched_by": "original_message_id",
        "confidence": 0.99,
        "policy": "hubspot",
        "forwarded_to": None,
        "evidence": '[{"kind": "rule", "text": "r"}]',
        "report_id": "r-1",
        "occurred_at": at,
        "recorded_at": at,
        "updated_at": at,
        **verdict,
    }
    told = json.dumps(verdict | {"occurred_at": "2026-11-22T10:00:00+00:00"})
    with engine.begin() as connection:
        _insert(connection, "accounts", name="acme", policy="hubspot", unenroll_on="[]", created_at=at)
        report = {"kind": "bounce", "detector": "rfc3464", "reporting_mta": None, "features": "{}", "recorded_at": at}
        _insert(connection, "reports", id="r-1", account="acme", **report)
        _insert(connection, "bounces", **bounce)
        _insert(connection, "bounce_reports", bounce_id="b-1", report_id="r-1", verdict=told, recorded_at=at)
    migrate(engine)
    with reading(engine) as connection:
        (fact,) = facts.of_address(connection, "acme", "bob@x.example")
        assert (fact.kind, fact.about, fact.bounce_id) == (FactKind.REPORTED, "r-1", "b-1")
        assert fact.at == datetime(2026, 11, 22, 10, tzinfo=UTC)
        assert fact.bounce == bounces.get(connection, "acme", "b-1")
        assert facts.reports_of(connection, "acme") == {"b-1": ["r-1"]}
    brought_to(engine, "0003", back=True)
    with engine.begin() as connection:
        (row,) = connection.execute(sa.text("SELECT bounce_id, report_id, verdict FROM bounce_reports")).all()
    kept = json.loads(row.verdict) if isinstance(row.verdict, str) else row.verdict
    assert (row.bounce_id, row.report_id, kept["reason"]) == ("b-1", "r-1", "unknown_user")


def _insert(connection: sa.Connection, table: str, **values: object) -> None:
    names = ", ".join(f":{name}" for name in values)
    connection.execute(sa.text(f"INSERT INTO {table} ({', '.join(values)}) VALUES ({names})"), values)


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
            assert reader.execute(text("SELECT count(*) FROM meta WHERE key = 'k'")).scalar() == 0
