"""Deciding from the command line: un-bounce, reject, undo, the trail, and what waits for review."""

from pathlib import Path

import pytest

from tests.fakes.notices import dsn
from tests.live.deployment import Deployment

BOB = "bob@customer.example"


@pytest.fixture
def cli(tmp_path: Path) -> Deployment:
    """A deployment with one bounce of Bob's."""
    mail = tmp_path / "mail"
    for folder in ("new", "cur", "tmp"):
        (mail / folder).mkdir(parents=True)
    (mail / "new" / "1.notice").write_bytes(dsn())
    cli = Deployment(tmp_path)
    cli.command(
        *("inbox", "add", "alice", "--account", "acme", "--address", "alice@acme.example"),
        *("--provider", "maildir", "--path", str(mail), "--since", "2020-01-01"),
    )
    cli.register(
        [
            {
                "id": "s-1",
                "account": "acme",
                "inbox": "alice",
                "kind": "one_to_one",
                "sent_at": "2026-11-22T10:00:00Z",
                "message_id": "<send-1@crm.example>",
                "recipients": [{"address": BOB, "contact_id": "c-1"}],
            }
        ]
    )
    cli.command("poll", "--once")
    return cli


def ended(cli: Deployment) -> list[str | None]:
    return [row["ended_by"] for row in cli.rows("bounces", "list")]


def test_an_un_bounce_and_its_undoing(cli: Deployment):
    (said,) = cli.rows("bounces", "unbounce", BOB, "-a", "acme", "--why", "he called", "--by", "ann")
    assert said["schema"] == 1
    assert ended(cli) == ["unbounced"]
    shown = cli.command("bounces", "show", cli.rows("bounces", "list")[0]["id"][:6])
    assert "no: unbounced on" in shown
    assert "A person has lifted it (ann: he called)." in shown
    undone = cli.rows("bounces", "undo", said["decision"], "-a", "acme", "--why", "another Bob", "--by", "ben")
    assert undone == [{"schema": 1, "undone": said["decision"]}]
    assert ended(cli) == [None]
    trail = cli.rows("bounces", "trail", BOB, "-a", "acme")
    assert [(row["kind"], row["by"], row["why"]) for row in trail][1:] == [
        ("unbounced", "ann", "he called"),
        ("undone", "ben", "another Bob"),
    ]
    assert "undone" in cli.command("bounces", "trail", BOB, "-a", "acme")


def test_a_bounce_that_is_none(cli: Deployment):
    (bounce,) = cli.rows("bounces", "list")
    said = cli.command("bounces", "reject", bounce["id"][:6], "-a", "acme", "--why", "a newsletter")
    assert "counts no more" in said
    assert "bounces undo" in said
    assert ended(cli) == ["rejected"]


def test_what_cannot_be_done_is_told_in_words(cli: Deployment):
    for words, said in (
        (("bounces", "unbounce", "eve@x.example", "-a", "acme", "--why", "w"), "nothing to lift"),
        (("bounces", "undo", "nonsense", "-a", "acme", "--why", "w"), "no decision nonsense"),
        (("bounces", "reject", "ffff", "-a", "acme", "--why", "w"), "no bounce ffff"),
        (("review", "accept", "ffff", "-a", "acme"), "Nothing that waits"),
        (("review", "reject", "ffff", "-a", "acme", "--why", "w"), "Nothing that waits"),
    ):
        assert said in " ".join(cli.command(*words, code=1).split())
    assert "Nothing is known" in cli.command("bounces", "trail", "eve@x.example", "-a", "acme")


def test_where_nothing_is_wrong_no_incident_is_shown(cli: Deployment):
    assert "No incident is open" in cli.command("incidents", "--account", "acme")
    assert cli.rows("incidents", "--closed") == []
    assert "no advice in fr" in cli.command("incidents", "--language", "fr", code=2)


def test_judging_again_says_what_it_did(cli: Deployment):
    assert "Nothing changes." in cli.command("reclassify", "--dry-run")
    assert "1 notices judged again: 0 bounces of 0 contacts change." in cli.command("reclassify")
    assert cli.rows("reclassify") == []
