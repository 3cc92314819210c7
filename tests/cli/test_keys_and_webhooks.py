"""Keys and webhooks by command line: what a shell takes into a variable is the secret and nothing else."""

from pathlib import Path

import pytest

from tests.fakes.receiver import Receiver
from tests.live.deployment import Deployment
from worker.keys import read


@pytest.fixture
def cli(tmp_path: Path) -> Deployment:
    return Deployment(tmp_path)


def test_a_key_is_made_exchanged_and_ended(cli: Deployment):
    made = cli.output("keys", "create", "crm", "--account", "acme")
    assert read(made.strip()) is not None
    (key,) = cli.rows("keys", "list")
    assert (key["name"], key["scopes"], key["state"]) == ("crm", ["read", "send"], "active")
    assert made not in cli.command("keys", "list")
    exchanged = cli.output("keys", "rotate", key["id"], "--hours", "1")
    assert read(exchanged.strip()) is not None
    assert len(cli.rows("keys", "list")) == 2
    assert "works no more" in cli.command("keys", "revoke", key["id"])
    assert sorted(row["state"] for row in cli.rows("keys", "list")) == ["active", "revoked"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["crm"], "Name an --account"),
        (["crm", "--account", "acme", "--operator"], "Name an --account"),
        (["crm", "--account", "acme", "--scope", "all"], "There is no scope all"),
    ],
)
def test_a_key_that_cannot_be_is_refused(cli: Deployment, words: list[str], said: str):
    assert said in cli.command("keys", "create", *words, code=2)


def test_a_webhook_is_added_tested_rotated_and_removed(cli: Deployment):
    with Receiver() as receiver:
        receiver.secrets = [cli.output("webhooks", "add", receiver.url, "--account", "acme").strip()]
        (row,) = cli.rows("webhooks", "list")
        assert "It took the test event" in cli.command("webhooks", "test", receiver.url)
        receiver.secrets = [cli.output("webhooks", "rotate", row["id"]).strip()]
        cli.command("webhooks", "test", row["id"][:8])
        receiver.behave = lambda _: 500
        assert "Its receiver answered 500." in cli.command("webhooks", "test", row["id"], code=1)
    assert [event.type for event in receiver.events] == ["test", "test"]
    cli.command("webhooks", "remove", row["id"])
    assert cli.rows("webhooks", "list") == []
    assert "There is no webhook" in cli.command("webhooks", "test", row["id"], code=1)
