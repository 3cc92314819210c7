"""The command line's contract, run as an operator runs it."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.notices import dsn, ordinary
from tests.live.deployment import Deployment

ENTRY_FIELDS = {
    *("schema", "id", "bounce_id", "report_ids", "account", "contact_id", "address", "message_id", "send_id", "inbox"),
    *("type", "reason", "fault", "status", "smtp_code", "diagnostic", "confidence", "matched_by", "policy"),
    *("occurred_at", "recorded_at", "evidence"),
}


def send(number: int = 1, account: str = "acme") -> dict[str, Any]:
    return {
        "id": f"s-{number}",
        "account": account,
        "inbox": "alice",
        "kind": "one_to_one",
        "sent_at": "2026-11-22T10:00:00Z",
        "message_id": f"<send-{number}@crm.example>",
        "recipients": [{"address": "bob@customer.example", "contact_id": "c-1"}],
    }


@pytest.fixture
def maildir(tmp_path: Path) -> Path:
    path = tmp_path / "mail"
    for folder in ("new", "cur", "tmp"):
        (path / folder).mkdir(parents=True)
    (path / "new" / "1.notice").write_bytes(dsn())
    for number in range(5):
        (path / "new" / f"2.{number}").write_bytes(ordinary(number))
    return path


@pytest.fixture
def cli(tmp_path: Path) -> Deployment:
    return Deployment(tmp_path)


def add(cli: Deployment, maildir: Path, account: str = "acme") -> None:
    cli.command(
        *("inbox", "add", "alice", "--account", account, "--address", "alice@acme.example"),
        *("--provider", "maildir", "--path", str(maildir), "--since", "2020-01-01"),
    )


def test_the_main_job_in_four_commands(cli: Deployment, maildir: Path):
    add(cli, maildir)
    assert "1 sends registered, 0 refused" in cli.register([send()])
    assert "1 attached" in cli.command("poll", "--once")
    (entry,) = cli.rows("timeline", "--all")
    assert set(entry) >= ENTRY_FIELDS
    assert (entry["schema"], entry["message_id"], entry["smtp_code"]) == (1, "send-1@crm.example", "550")
    assert cli.rows("timeline", "c-1", "--account", "acme") == [entry]
    assert cli.rows("timeline", "c-2") == []
    assert cli.rows("bounces", "list") == [entry]
    assert cli.rows("bounces", "show", entry["id"][:6]) == [entry]
    shown = cli.command("bounces", "show", entry["id"][:6])
    assert "send-1@crm.example" in shown
    assert "unknown_user" in shown


def test_running_it_twice_changes_nothing(cli: Deployment, maildir: Path):
    add(cli, maildir)
    cli.register([send()])
    cli.command("poll", "--once")
    before = cli.rows("timeline", "--all")
    cli.register([send()])
    cli.command("poll", "--once")
    assert cli.rows("timeline", "--all") == before


def test_run_hosts_a_real_celery_worker_and_ends_when_idle(cli: Deployment, maildir: Path):
    add(cli, maildir)
    cli.register([send()])
    cli.command("run", "--until-idle")
    (entry,) = cli.rows("timeline", "--all")
    assert entry["evidence"][-1]["text"].startswith("Celery task ")


def test_a_notice_that_came_before_its_send(cli: Deployment, maildir: Path):
    add(cli, maildir)
    assert "1 unmatched" in cli.command("poll", "--once")
    assert "1 notices that came before" in cli.register([send()])
    assert "1 attached" in cli.command("poll", "--once")


def test_sends_that_cannot_be_taken_are_named_and_the_others_kept(cli: Deployment, maildir: Path):
    add(cli, maildir)
    lines = "\n".join(["{}", json.dumps(send()), "nonsense", json.dumps(send(2) | {"sent_at": "soon"})])
    said = cli.command("sends", "import", "-", input=lines, code=1)
    assert "line 1: It lacks id" in said
    assert "line 3: It is not JSON" in said
    assert "line 4: It has the sent_at" in said
    assert "1 sends registered, 3 refused" in said


def test_apply_twice_changes_nothing(cli: Deployment, maildir: Path, tmp_path: Path):
    file = tmp_path / "inboxes.toml"
    file.write_text(
        '[[account]]\nname = "acme"\npolicy = "careful"\n\n[[inbox]]\naccount = "acme"\nname = "alice"\n'
        f'address = "alice@acme.example"\nprovider = "maildir"\nsince = 2020-01-01\nsettings = {{path = "{maildir}"}}\n'
    )
    assert "2 changes" in cli.command("apply", str(file))
    cli.register([send()])
    cli.command("poll", "--once")
    assert "Nothing to change" in cli.command("apply", str(file))
    (entry,) = cli.rows("timeline", "--all")
    assert entry["policy"] == "careful"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("nonsense", "is not TOML"),
        ("[inbox]\nname='x'", "table of its own"),
        ("[[inbox]]\nname='x'", "account is missing"),
        ("[[account]]\nname='x'\npolicy='strict'", "hubspot, careful"),
        ("[[account]]\nname='x'\nsoft_threshold = {bounces = 0, days = 1}", "at least one bounce"),
        ("[[account]]\nname='x'\nsoft_threshold = 5", "soft_threshold = {"),
        ("[[account]]\nname='x'\nmailbox_full_days = 'two'", "mailbox_full_days = 14"),
        ("[[inbox]]\naccount='a'\nname='x'\nprovider='pop3'\naddress='x@y'", "Unknown provider"),
        ("[[inbox]]\naccount='a'\nname='x'\nprovider='imap'\naddress='x@y'\nsettings={host='h'}", "imap inbox needs"),
    ],
)
def test_a_declaration_that_is_wrong_says_what_to_change(cli: Deployment, tmp_path: Path, text: str, words: str):
    file = tmp_path / "wrong.toml"
    file.write_text(text)
    assert words in cli.command("apply", str(file), code=1)


def test_inboxes_are_listed_checked_paused_resumed_and_removed(cli: Deployment, maildir: Path):
    add(cli, maildir)
    said = cli.command("inbox", "check", "alice")
    assert "acme/alice (maildir, alice@acme.example)" in said
    assert "Read: INBOX (6)." in said
    assert "No junk folder is read" in said
    (row,) = cli.rows("inbox", "check")
    assert (row["ok"], row["problem"], row["messages"], row["notices"]) == (True, None, 6, 1)
    assert [step["step"] for step in row["steps"]] == ["folders", "mail", "notices"]
    assert "bounce about bob@customer.example" in row["steps"][-1]["said"]
    cli.command("inbox", "pause", "alice")
    assert [inbox["state"] for inbox in cli.rows("inbox", "list")] == ["paused"]
    assert "0 inboxes polled" in cli.command("poll", "--once")
    cli.command("inbox", "resume", "alice")
    assert "1 inboxes polled" in cli.command("poll", "--once")
    cli.command("inbox", "remove", "alice", "--purge")
    assert cli.rows("inbox", "list") == []


def test_a_name_that_two_accounts_use_needs_the_account(cli: Deployment, maildir: Path):
    add(cli, maildir)
    add(cli, maildir, "globex")
    assert "--account" in cli.command("inbox", "check", "alice", code=1)
    cli.command("inbox", "check", "alice", "--account", "globex")
    assert "already has an inbox" in cli.command(
        *("inbox", "add", "alice", "--account", "acme", "--address", "a@b", "--provider", "maildir", "--path", "/x"),
        code=1,
    )


def test_an_inbox_that_can_not_be_read_says_what_to_do_and_poll_exits_with_1(cli: Deployment, tmp_path: Path):
    add(cli, tmp_path / "not-there")
    said = cli.command("poll", "--once", code=1)
    assert "not-there" in said
    (row,) = cli.rows("inbox", "list")
    assert row["failures"] == 1
    assert "not-there" in row["attention"]
    assert "not-there" in cli.command("inbox", "check", code=1)


def test_an_imap_password_is_named_never_given(cli: Deployment):
    arguments = (
        "inbox",
        "add",
        "a",
        "--account",
        "x",
        "--address",
        "a@b.example",
        "--provider",
        "imap",
        "--host",
        "h.example",
    )
    assert "--password-env" in cli.command(*arguments, code=2)
    assert "not set" in cli.command(*arguments, "--password-env", "NO_SUCH_VARIABLE", code=2)


def test_scan_says_what_it_would_do_and_writes_nothing(cli: Deployment, maildir: Path, tmp_path: Path):
    sends = tmp_path / "sends.jsonl"
    sends.write_text(json.dumps(send()) + "\n")
    report = tmp_path / "report.html"
    before = sorted((maildir / "new").iterdir())
    rows = cli.rows("scan", str(maildir), "--sends", str(sends), "--report", str(report))
    assert sorted(row["would"] for row in rows) == ["attach"] + ["nothing"] * 5
    (entry,) = [row["entry"] for row in rows if row["entry"]]
    assert set(entry) >= ENTRY_FIELDS
    told = report.read_text()
    assert "<b>1</b>contacts with a bounce" in told
    assert "The address does not exist: failed for good" in told
    assert "Look for a typing mistake" in told
    assert sorted((maildir / "new").iterdir()) == before
    assert not (tmp_path / "data" / "bounce-worker.sqlite3").exists()


def test_scan_of_an_inbox_writes_nothing(cli: Deployment, maildir: Path):
    add(cli, maildir)
    cli.register([send()])
    rows = cli.rows("scan", "--inbox", "alice", "--since", "2020-01-01")
    assert [row["would"] for row in rows] == ["attach"]
    assert cli.rows("timeline", "--all") == []
    assert "1 attached" in cli.command("poll", "--once")


def test_what_comes_from_mail_is_data_in_the_html_report(cli: Deployment, tmp_path: Path):
    raw = dsn(recipients=[("bob@customer.example", "failed", "5.1.1", "smtp; 550 <script>alert(1)</script>")])
    (tmp_path / "n.eml").write_bytes(raw)
    (tmp_path / "sends.jsonl").write_text(json.dumps(send()) + "\n")
    report = tmp_path / "r.html"
    cli.command("scan", str(tmp_path / "n.eml"), "--sends", str(tmp_path / "sends.jsonl"), "--report", str(report))
    assert "<script>" not in report.read_text()
    assert "&lt;script&gt;" in report.read_text()


def test_a_manager_reads_what_came_back_before_any_send_is_registered(cli: Deployment, maildir: Path, tmp_path: Path):
    report = tmp_path / "r.html"
    rows = cli.rows("scan", str(maildir), "--report", str(report))
    (told,) = [row["recipients"] for row in rows if row["would"] == "wait for its send"]
    assert (told[0]["address"], told[0]["reason"]) == ("bob@customer.example", "unknown_user")
    page = report.read_text()
    assert "Notices about other mail" in page
    assert "Nobody would be touched" in page
    assert "What would stand on contacts' timelines" not in page


def test_scan_of_an_mbox(cli: Deployment, tmp_path: Path):
    box = tmp_path / "box"
    box.write_bytes(
        b"".join(b"From x Sun Nov 22 2026\n" + raw.replace(b"\r\n", b"\n") + b"\n" for raw in (dsn(), ordinary()))
    )
    assert sorted(row["kind"] for row in cli.rows("scan", str(box))) == ["bounce", "none"]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("timeline",), 2),
        (("scan",), 2),
        (("scan", "/no/such/path"), 2),
        (("inbox", "check", "nobody"), 1),
        (("bounces", "show", "abc"), 1),
        (("nonsense",), 2),
        (("inbox", "add", "x"), 2),
        (("sends", "import", "/no/such/file"), 1),
        (("worker",), 1),
        (("scheduler",), 1),
    ],
)
def test_exit_codes(cli: Deployment, arguments: tuple[str, ...], code: int):
    said = cli.command(*arguments, code=code)
    assert said.strip()
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("DATABASE_URL", "mysql://x", "postgresql://"),
        ("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/x", "can't be reached"),
        ("BOUNCE_WORKER_KEYS", "short", "32 bytes"),
        ("BOUNCE_WORKER_POLL_SECONDS", "often", "whole seconds"),
        ("BOUNCE_WORKER_RULES", "/no/such/rules.toml", "rules.toml"),
        ("BOUNCE_WORKER_DATA", "/dev/null/x", "BOUNCE_WORKER_DATA"),
    ],
)
def test_an_environment_that_can_not_be_right(tmp_path: Path, variable: str, value: str, words: str):
    said = Deployment(tmp_path, **{variable: value}).command("inbox", "list", code=1)
    assert words in said
    assert "Traceback" not in said


def test_the_embedded_default_makes_its_keys_for_its_owner_alone(tmp_path: Path, maildir: Path):
    cli = Deployment(tmp_path, BOUNCE_WORKER_KEYS="")
    add(cli, maildir)
    keys = tmp_path / "data" / "keys"
    assert oct(keys.stat().st_mode & 0o777) == "0o600"
    assert oct(keys.parent.stat().st_mode & 0o777) == "0o700"


def test_every_command_has_a_help_text(cli: Deployment):
    for command in (
        "explain",
        "scan",
        "run",
        "worker",
        "scheduler",
        "poll",
        "timeline",
        "apply",
        "inbox add",
        "bounces show",
    ):
        assert "Usage" in cli.command(*command.split(), "--help")


def test_broken_mail_stops_nothing(cli: Deployment, maildir: Path):
    head = b"From: MAILER-DAEMON@mx.example\nSubject: Undelivered Mail\nContent-Type: multipart/report; boundary=b0\n\n"
    nested = b"".join(b"--b%d\nContent-Type: multipart/mixed; boundary=b%d\n\n" % (n, n + 1) for n in range(10_000))
    broken = {
        "empty": b"",
        "binary": b"From: MAILER-DAEMON\n\n" + bytes(range(256)) * 200,
        "cut-off": dsn()[:700],
        "nested": head + nested,
        "huge": head + b"x" * 50_000_000,
        "charset": dsn().replace(b"text/plain", b"text/plain; charset=klingon-42"),
        "header-only": head.strip(),
        "surrogates": dsn().replace(b"User unknown", b"\xed\xb0\x80\x00\xff unknown user"),
    }
    for name, raw in broken.items():
        (maildir / "new" / f"0.{name}").write_bytes(raw)
    add(cli, maildir)
    cli.register([send()])
    said = cli.command("poll", "--once")
    assert "(0 failed)" in said
    assert "Traceback" not in said
    assert len(cli.rows("timeline", "--all")) == 1
    (health,) = cli.rows("inbox", "list")
    assert (health["state"], health["attention"], health["notices"].get("pending", 0)) == ("active", None, 0)
