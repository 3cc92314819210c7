"""The data folder runs full under `bounce-worker run`: it is said in words, and all that came meanwhile lands later."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from shutil import disk_usage
from typing import Any

import pytest

from tests.chaos.clock import Clock
from tests.chaos.fleet import PROGRAM
from tests.chaos.orders import Orders
from tests.chaos.process import FOLDER
from tests.fakes.notices import dsn
from tests.fakes.receiver import Receiver
from tests.fakes.sends import row
from tests.live.deployment import Deployment

pytestmark = [pytest.mark.live, pytest.mark.timeout(240)]

MEGABYTES = 8
BEFORE, MEANWHILE = 10, 150
JSON = {"BOUNCE_WORKER_LOG": "json"}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "data"
    folder.mkdir(mode=0o700)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={MEGABYTES}m,mode=700", "tmpfs", folder]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("No file system can be mounted here: run this test as root, outside of a container.")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def send(number: int) -> dict[str, Any]:
    return row(number, f"p{number}@customer.example", f"c-{number}")


def put(maildir: Path, numbers: range) -> None:
    for number in numbers:
        about = (f"p{number}@customer.example", "failed", "5.1.1", "smtp; 550 5.1.1 User unknown")
        raw = dsn(f"send-{number}@crm.example", [about], own_id=f"n-{number}@mx.example")
        (maildir / "tmp" / f"{number}.host").write_bytes(raw)
        (maildir / "tmp" / f"{number}.host").rename(maildir / "new" / f"{number}.host")


def fill(file: Path) -> None:
    """Take all the room that is left."""
    with file.open("wb", buffering=0) as handle:
        for size in (1 << 20, 1 << 12, 1):
            with suppress(OSError):
                while handle.write(b"\0" * size) == size:
                    pass
    assert not disk_usage(file.parent).free


def test_a_full_disk_is_told_of_and_nothing_is_lost(tmp_path: Path, small_disk: Path):
    maildir = tmp_path / "mail"
    for part in ("cur", "new", "tmp"):
        (maildir / part).mkdir(parents=True)
    Orders(tmp_path).prepare()
    clock = Clock(tmp_path / "clock.json")
    clock.start()
    with Receiver() as receiver, Deployment(tmp_path, BOUNCE_WORKER_POLL_SECONDS="30") as deployment:
        deployment.command(
            *("inbox", "add", "alice", "--account", "acme", "--address", "alice@acme.example"),
            *("--provider", "maildir", "--path", str(maildir), "--since", "2026-01-01"),
        )
        (webhook,) = deployment.rows("webhooks", "add", receiver.url, "--account", "acme")
        receiver.secrets = [webhook["secret"]]
        deployment.register([send(number) for number in range(BEFORE + MEANWHILE)])
        deployment.start_program([*PROGRAM, "run", "--no-web"], "run", **{FOLDER: str(tmp_path), **JSON})

        put(maildir, range(BEFORE))
        deployment.until(lambda: len(deployment.rows("timeline", "--all")) == BEFORE, "what came before")
        fill(small_disk / "filler")
        put(maildir, range(BEFORE, BEFORE + MEANWHILE))
        log = tmp_path / "run.log"
        deployment.until(lambda: "SQLITE_FULL" in log.read_text(), "the full disk is in the log")
        said = deployment.command("sends", "import", "-", code=1, input=json.dumps(send(999)) + "\n")
        assert "The database can't be used just now (database or disk is full)" in " ".join(said.split())
        assert "Traceback" not in said
        assert len(deployment.rows("timeline", "--all")) < BEFORE + MEANWHILE

        (small_disk / "filler").unlink()
        everything = BEFORE + MEANWHILE
        deployment.until(lambda: len(deployment.rows("timeline", "--all")) >= everything, "what came meanwhile", 120)
        entries = deployment.rows("timeline", "--all")
        assert {(entry["send_id"], len(entry["report_ids"])) for entry in entries} == {
            (f"s-{number}", 1) for number in range(everything)
        }
        assert len(entries) == everything
        deployment.until(lambda: len({event.id for event in receiver.events}) == 2 * everything, "every event is told")
