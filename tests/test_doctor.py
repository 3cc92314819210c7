"""`doctor`: it finds each thing that can be wrong, says what to do, and changes nothing."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from connectors import ImapSettings, MaildirSettings
from worker import admin, config
from worker.doctor import Check, State, examine
from worker.pipeline import Context
from worker.store import inboxes
from worker.store.database import open_engine, writing
from worker.store.inboxes import InboxState
from worker.store.keyring import new_key
from worker.store.schema import notices, outbox
from worker.wiring import make_context

KEY = new_key()
NOW = datetime.now(UTC)


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, str]:
    monkeypatch.setenv("BOUNCE_WORKER_KEYS", KEY)  # for what opens the database
    return {"BOUNCE_WORKER_DATA": str(tmp_path / "data"), "BOUNCE_WORKER_KEYS": KEY}


@pytest.fixture
def context(environment: dict[str, str]) -> Iterator[Context]:
    made = make_context(config.read(environment))
    yield made
    made.engine.dispose()


def checks(environment: dict[str, str]) -> dict[str, Check]:
    settings = config.read(environment)
    found = list(examine(settings, lambda: config.existing_keys(settings, environment)))
    for each in found:
        assert each.said.endswith("."), each
        assert (each.to_do is None) == (each.state is State.OK), each
    worst = {State.OK: 0, State.WARNING: 1, State.FAILED: 2}
    return {each.name: each for each in sorted(found, key=lambda each: worst[each.state])}


def bad(environment: dict[str, str]) -> dict[str, State]:
    return {name: each.state for name, each in checks(environment).items() if each.state is not State.OK}


def an_inbox(context: Context, name: str = "alice", **values: object) -> None:
    request = admin.InboxRequest(
        account="acme",
        name=name,
        address=f"{name}@acme.example",
        settings=ImapSettings(host="imap.acme.example", port=993, username=name),
        secret="secret",
        trusted=True,
    )
    inbox = admin.add_inbox(context, request)
    with writing(context.engine) as connection:
        inboxes.change(connection, inbox.id, **{"last_poll_at": NOW, **values})


def test_a_deployment_that_is_well(context: Context, environment: dict[str, str]):
    an_inbox(context)
    assert bad(environment) == {}


def test_it_makes_nothing(environment: dict[str, str], tmp_path: Path):
    environment.pop("BOUNCE_WORKER_KEYS")
    assert bad(environment) == {"database": State.WARNING}
    assert list(tmp_path.iterdir()) == []


def test_it_migrates_nothing(context: Context, environment: dict[str, str]):
    for found, oldest, expected in (
        ("0003", "0001", {"migrations": State.WARNING}),
        ("9999", "9998", {"migrations": State.FAILED}),
        ("9999", "0011", {}),
    ):
        with context.engine.begin() as connection:
            connection.execute(sa.text("UPDATE alembic_version SET version_num = :v"), {"v": found})
            connection.execute(
                sa.text("UPDATE meta SET value = :v WHERE key = 'compatible_from'"), {"v": oldest.encode()}
            )
        assert bad(environment) == expected
        with context.engine.begin() as connection:
            assert connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar() == found


def test_a_key_that_is_gone(context: Context, environment: dict[str, str]):
    an_inbox(context)
    found = checks(environment | {"BOUNCE_WORKER_KEYS": new_key()})["secrets"]
    assert found.state is State.FAILED
    assert found.said == "2 of 2 stored secrets can't be opened."  # the sign-in, and the key of digests
    assert bad(environment | {"BOUNCE_WORKER_KEYS": f"{new_key()},{KEY}"}) == {}


def test_no_key_for_a_shared_database(environment: dict[str, str]):
    environment.pop("BOUNCE_WORKER_KEYS")
    found = bad(environment | {"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"})
    assert found == {"keys": State.FAILED, "database": State.FAILED}


def test_a_broker_that_is_away(environment: dict[str, str], context: Context):
    assert bad(environment | {"REDIS_URL": "redis://127.0.0.1:1/0"}) == {"broker": State.FAILED}


@pytest.mark.live
def test_a_broker_that_may_lose_tasks(environment: dict[str, str], context: Context, redis_url: str):
    from redis import Redis

    found = checks(environment | {"REDIS_URL": redis_url})
    assert found["broker"].state is State.OK
    assert found["broker disk"].state is State.WARNING
    assert found["broker clock"].state is State.OK
    with Redis.from_url(redis_url) as redis:
        redis.config_set("maxmemory-policy", "allkeys-lru")
        try:
            assert checks(environment | {"REDIS_URL": redis_url})["broker memory"].state is State.WARNING
        finally:
            redis.config_set("maxmemory-policy", "noeviction")


@pytest.mark.live
def test_a_standby_takes_no_writes(environment: dict[str, str], postgres_url: str):
    environment["DATABASE_URL"] = postgres_url
    make_context(config.read(environment)).engine.dispose()
    assert bad(environment) == {}
    engine = open_engine(postgres_url)
    with engine.begin() as connection:
        name = connection.execute(sa.text("SELECT current_database()")).scalar()
        connection.execute(sa.text(f"ALTER DATABASE {name} SET default_transaction_read_only = on"))
    engine.dispose()
    assert bad(environment) == {"database": State.FAILED}
    assert checks(environment)["database clock"].state is State.OK


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"last_poll_at": NOW - timedelta(minutes=80)}, {"polling": State.FAILED}),
        ({"last_poll_at": NOW - timedelta(minutes=2)}, {}),
        ({"last_poll_at": NOW - timedelta(days=1), "state": InboxState.PAUSED}, {}),
        ({"state": InboxState.NEEDS_ATTENTION}, {"inboxes": State.FAILED}),
        ({"sign_in_ends_at": NOW + timedelta(days=2)}, {"sign-ins": State.WARNING}),
    ],
    ids=["silent", "lately", "paused", "stopped", "sign-in ends"],
)
def test_inboxes(context: Context, environment: dict[str, str], values: dict[str, object], expected: dict[str, State]):
    an_inbox(context, **values)
    assert bad(environment) == expected
    if expected:
        assert "acme/alice" in next(iter(each.said for each in checks(environment).values() if each.to_do))


def test_what_waits_for_long(context: Context, environment: dict[str, str]):
    long_ago = NOW - timedelta(hours=1)
    with writing(context.engine) as connection:
        row = {"event_id": "e", "account": "acme", "type": "t", "payload": {}, "attempts": 0}
        connection.execute(outbox.insert().values(row | {"created_at": long_ago, "next_attempt_at": NOW}))
    an_inbox(context)
    with writing(context.engine) as connection:
        (inbox,) = inboxes.find(connection)
        row = {"account": "acme", "inbox_id": inbox.id, "attempts": 5, "next_attempt_at": NOW, "found_at": long_ago}
        connection.execute(
            notices.insert(), [row | {"ref": state, "state": state} for state in ("pending", "quarantined")]
        )
    expected = {"notices", "CRM queue", "feed", "quarantine"}
    assert bad(environment) == dict.fromkeys(expected, State.WARNING)


def test_rules_that_can_not_be_read(context: Context, environment: dict[str, str], tmp_path: Path):
    (tmp_path / "own.toml").write_text("nonsense")
    assert bad(environment | {"BOUNCE_WORKER_RULES": str(tmp_path / "own.toml")}) == {"rules": State.FAILED}


def test_a_public_url_that_nobody_answers(context: Context, environment: dict[str, str]):
    found = bad(environment | {"BOUNCE_WORKER_PUBLIC_URL": "https://127.0.0.1:1"})
    assert found == {"public URL": State.WARNING}


def test_by_command_line(
    context: Context, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    from typer.testing import CliRunner

    from worker.cli import app

    an_inbox(context, state=InboxState.NEEDS_ATTENTION)
    done = CliRunner().invoke(app, ["doctor", "--json"], env=environment)
    assert done.exit_code == 1
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert {row["schema"] for row in rows} == {1}
    assert [row["state"] for row in rows if row["name"] == "inboxes"] == ["failed"]
    done = CliRunner().invoke(app, ["doctor"], env=environment)
    assert "✗ inboxes" in done.stdout
    done = CliRunner().invoke(app, ["doctor", "--json"], env=environment | {"BOUNCE_WORKER_POLL_SECONDS": "x"})
    assert (done.exit_code, json.loads(done.stdout)["name"]) == (1, "configuration")


def test_a_maildir_needs_no_secret(context: Context, environment: dict[str, str], tmp_path: Path):
    settings = MaildirSettings(path=str(tmp_path))
    request = admin.InboxRequest(account="a", name="b", address="b@a.example", settings=settings, trusted=True)
    admin.add_inbox(context, request)
    assert bad(environment) == {}
