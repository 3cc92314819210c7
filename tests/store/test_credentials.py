"""Secrets at rest: whose they are, which key holds them, and that nobody overwrites a newer one."""

from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from connectors import ImapSettings, MaildirSettings, StaleCredential
from tests.fakes.world import RULES
from worker import admin, hooks
from worker.pipeline import Context
from worker.store import inboxes, raw, webhooks
from worker.store.credentials import DatabaseCredentials
from worker.store.database import migrate, open_engine, reading, writing
from worker.store.keyring import KeyProblem, KeyRing, load_digester, new_key
from worker.store.schema import credentials

OLD, NEW = new_key(), new_key()
NOW = datetime(2026, 11, 22, tzinfo=UTC)
IMAP = ImapSettings(host="mx.test", username="alice")


def open_context(engine: sa.Engine, keys: list[str]) -> Context:
    ring = KeyRing.parse(keys)
    with writing(engine) as connection:
        digest = load_digester(connection, ring)
    return Context(
        engine=engine,
        ring=ring,
        digest=digest,
        rules=RULES,
        connect=lambda _: pytest.fail("connected"),
        now=lambda: NOW,
    )


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.live)])
def engine(request, tmp_path):
    sqlite = request.param == "sqlite"
    made = open_engine(f"sqlite:///{tmp_path / 'x.sqlite3'}" if sqlite else request.getfixturevalue("postgres_url"))
    migrate(made)
    yield made
    made.dispose()


def connect_inbox(context: Context, name: str = "alice", secret: str = "hunter2") -> str:
    request = admin.InboxRequest(account="acme", name=name, address=f"{name}@mx.test", settings=IMAP, secret=secret)
    return admin.add_inbox(context, request).id


def keep_notice(context: Context, inbox_id: str) -> None:
    sealed = raw.sealed(context.ring, "acme", "d", b"a notice")
    later = context.now() + timedelta(days=30)
    row = {"account": "acme", "report_id": "r", "inbox_id": inbox_id, "digest": "d", "found_at": context.now()}
    with writing(context.engine) as connection:
        raw.keep(connection, [row | {"sealed": sealed, "expires_at": later}])


def test_keys_are_changed_without_anybody_signing_in_again(engine):
    before = open_context(engine, [OLD])
    ids = [connect_inbox(before, name) for name in ("alice", "bob")]
    hashed = before.digest("acme", "message_id", "1@mx.test")
    webhook = hooks.add(before, "acme", "https://crm.example/")
    keep_notice(before, ids[0])
    assert admin.rekey(open_context(engine, [NEW, OLD])) == 4
    after = open_context(engine, [NEW])  # the old key is gone
    with reading(engine) as connection:
        (kept,) = raw.page(connection, None, ("", ""), 10)
        assert kept.opened(after.ring) == b"a notice"
        assert webhooks.secrets(connection, after.ring, webhook.webhook.id) == [webhook.secret]
    assert after.digest("acme", "message_id", "1@mx.test") == hashed
    for inbox_id in ids:
        assert DatabaseCredentials(engine, after.ring, inbox_id).load() == ("hunter2", 1)
    with pytest.raises(KeyProblem):
        DatabaseCredentials(engine, before.ring, ids[0]).load()


def test_without_the_command_the_old_key_is_still_needed(engine):
    inbox_id = connect_inbox(open_context(engine, [OLD]))
    with pytest.raises(KeyProblem, match="no longer holds"):
        DatabaseCredentials(engine, KeyRing.parse([NEW]), inbox_id).load()


def test_the_loser_of_two_refreshes_is_told(engine):
    context = open_context(engine, [OLD])
    inbox_id = connect_inbox(context, secret="first")
    mine, theirs = (DatabaseCredentials(engine, context.ring, inbox_id) for _ in range(2))
    _, version = mine.load()
    assert theirs.save("second", version) == version + 1
    with pytest.raises(StaleCredential):
        mine.save("third", version)
    assert mine.load() == ("second", version + 1)


def test_nothing_readable_is_stored(engine):
    connect_inbox(open_context(engine, [OLD]), secret="correct horse")
    with reading(engine) as connection:
        assert b"horse" not in bytes(connection.execute(sa.select(credentials.c.secret)).scalar_one())


def test_a_tenant_may_not_name_a_folder_of_this_machine(engine):
    request = admin.InboxRequest(account="acme", name="x", address="x@mx.test", settings=MaildirSettings(path="/etc"))
    with pytest.raises(admin.AdminProblem, match="Only the operator"):
        admin.add_inbox(open_context(engine, [OLD]), request)


def test_when_a_sign_in_ends_is_known_beside_its_inbox(engine):
    context = open_context(engine, [OLD])
    inbox_id = connect_inbox(context)
    with reading(engine) as connection:
        assert inboxes.get(connection, inbox_id).sign_in_ends_at is None
    stored = DatabaseCredentials(engine, context.ring, inbox_id)
    _, version = stored.load()
    stored.save('{"type": "authorized_user", "ends_at": 1800000000}', version)
    with reading(engine) as connection:
        assert inboxes.get(connection, inbox_id).sign_in_ends_at == datetime.fromtimestamp(1_800_000_000, UTC)
