"""Each migration, forwards and back, with rows in every table; and programs of different age on one database."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Engine

from worker.store import database, schema
from worker.store.database import COMPATIBLE_ROW, IncompatibleDatabase, migrate, migrate_back, open_engine

AT = datetime(2026, 11, 22, 10, tzinfo=UTC)
VERDICT = {"type": "hard", "reason": "unknown_user", "fault": "address", "rule": "r", "rules_version": "1"}
JSON_VALUES = {"bounce": VERDICT, "verdict": VERDICT | {"occurred_at": AT.isoformat()}}
"""What a migration reads of JSON, by column; all else is an empty list."""
VALUES = {"kind": "reported", "about": "1", "report_id": "1", "bounce_id": "1", "type": "pending", "closed_at": None}
"""What a migration asks for, by column; all other text is "1", so that whatever refers to something refers to it."""

DROPPED = {
    "0002": {"sent_lookups"},
    "0005": {"sign_ins", "doorbells"},
    "0006": {"incidents"},
    "0007": {"exclusions"},
    "0008": {"global_bounces", "global_lifts"},
    "0009": {"raw_notices"},
    "0011": {"api_keys", "webhooks", "deliveries"},
    "0012": {"hanging_hosts", "leases"},
}
"""What going back over a migration drops by nature: what only it brought. Columns go likewise; rows of older tables
stay, but that 0004 turns reports of bounces into facts, and back."""
TURNED = {"0004": ("bounce_reports", "facts")}


def script() -> ScriptDirectory:
    config = Config()
    config.set_main_option("script_location", "worker/store/migrations")
    return ScriptDirectory.from_config(config)


REVISIONS = [each.revision for each in reversed(list(script().walk_revisions()))]


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.live)])
def engine(request: pytest.FixtureRequest, tmp_path) -> Iterator[Engine]:
    sqlite = request.param == "sqlite"
    made = open_engine(f"sqlite:///{tmp_path / 'x.sqlite3'}" if sqlite else request.getfixturevalue("postgres_url"))
    yield made
    made.dispose()


def tables(connection: sa.Connection) -> list[sa.Table]:
    found = sa.MetaData()
    found.reflect(connection)
    return [table for table in found.sorted_tables if table.name != "alembic_version"]


def fill(engine: Engine) -> None:
    """Put a row into each table that has none, and a value into what is empty in the others."""
    with engine.begin() as connection:
        for table in tables(connection):
            row = {column.name: value(column) for column in table.columns}
            if connection.execute(sa.select(sa.func.count()).select_from(table)).scalar() == 0:
                connection.execute(table.insert().values(row))
            for name, each in row.items():
                if each is not None:
                    connection.execute(table.update().where(table.c[name].is_(None)).values({name: each}))


def value(column: sa.Column) -> object:
    if column.name in JSON_VALUES or isinstance(column.type, sa.JSON):
        found = JSON_VALUES.get(column.name, [])
        return found if isinstance(column.type, sa.JSON) else json.dumps(found)
    if column.name in VALUES:
        return VALUES[column.name]
    return next((made for kind, made in OF_TYPE.items() if isinstance(column.type, kind)), "1")


OF_TYPE = {sa.DateTime: AT.replace(tzinfo=None), sa.Boolean: True, sa.LargeBinary: b"1", sa.Integer: 1, sa.Float: 1}


def counts(engine: Engine) -> dict[str, int]:
    with engine.connect() as connection:
        return {
            table.name: connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()
            for table in tables(connection)
        }


def columns(engine: Engine) -> dict[str, set[str]]:
    with engine.connect() as connection:
        return {table.name: {column.name for column in table.columns} for table in tables(connection)}


def to(engine: Engine, revision: str) -> None:
    database._move(engine, revision)


@pytest.mark.filterwarnings("ignore:Skipped unsupported reflection of expression-based index")
def test_every_step_forwards_and_back_keeps_the_rows_of_every_table(engine: Engine):
    for before, after in zip(["base", *REVISIONS], REVISIONS, strict=False):
        if before != "base":
            fill(engine)
        rows, shape = counts(engine), columns(engine)
        to(engine, after)
        forwards = counts(engine)
        gone, came = TURNED.get(after, (None, None))
        for name, number in rows.items():
            assert name == gone or forwards[name] >= number, f"{after} loses rows of {name}"
        fill(engine)
        migrate_back(engine, before)
        back = counts(engine)
        assert columns(engine) == shape, f"{after} can't be taken back"
        new = set(forwards) - set(rows) - {came}
        assert before == "base" or new == DROPPED.get(after, set()), f"name in DROPPED what {after} drops"
        assert {name: number for name, number in back.items() if name != "meta"} == {
            name: number for name, number in rows.items() if name != "meta"
        }
        to(engine, after)
    assert REVISIONS[-1] == schema.HEAD


@pytest.mark.filterwarnings("ignore:Skipped unsupported reflection of expression-based index")
def test_all_the_way_down_and_up_again_with_rows_in_every_table(engine: Engine):
    migrate(engine)
    fill(engine)
    for revision in [*reversed(REVISIONS[:-1]), "base"]:
        migrate_back(engine, revision)
    assert counts(engine) == {}
    migrate(engine)
    assert set(counts(engine)) == set(schema.metadata.tables)


def newer(engine: Engine, *, compatible_from: str) -> None:
    """Have a program of the future migrate the database."""
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
        row = sa.update(schema.meta).where(schema.meta.c.key == COMPATIBLE_ROW)
        connection.execute(row.values(value=compatible_from.encode()))


def test_a_program_that_is_older_than_the_database_works_on_where_it_may(engine: Engine):
    migrate(engine)
    newer(engine, compatible_from=schema.HEAD)
    migrate(engine)
    with engine.connect() as connection:
        assert connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar() == "9999"


def test_a_program_that_is_too_old_says_so_and_touches_nothing(engine: Engine):
    migrate(engine)
    newer(engine, compatible_from="9998")
    with pytest.raises(IncompatibleDatabase, match="update this program"):
        migrate(engine)


def test_the_database_says_which_programs_may_work_on_it(engine: Engine):
    migrate(engine)
    with engine.connect() as connection:
        said = connection.execute(
            sa.select(schema.meta.c.value).where(schema.meta.c.key == COMPATIBLE_ROW)
        ).scalar_one()
    assert bytes(said).decode() == schema.COMPATIBLE_FROM
    assert schema.COMPATIBLE_FROM in REVISIONS


def test_indexes_that_were_built_beforehand_are_left_as_they_are(engine: Engine):
    to(engine, "0012")
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE INDEX sends_age ON sends (sent_at)"))
        connection.execute(sa.text("CREATE INDEX send_keys_send ON send_keys (account, send_id)"))
    migrate(engine)
    migrate_back(engine, "0012")
    with engine.connect() as connection:
        assert "sends_age" not in {each["name"] for each in sa.inspect(connection).get_indexes("sends")}


@pytest.mark.live
def test_a_migration_that_meets_a_reader_gives_up_soon_instead_of_stopping_everybody(postgres_url: str, monkeypatch):
    monkeypatch.setattr(database, "LOCK_TIMEOUT_MS", 50)
    engine = open_engine(postgres_url)
    migrate(engine)
    migrate_back(engine, "0011")
    with engine.connect() as reader, reader.begin():
        reader.execute(sa.text("SELECT count(*) FROM inboxes"))
        with pytest.raises(sa.exc.DBAPIError, match="lock timeout"):
            migrate(engine)
    migrate(engine)
    engine.dispose()
