"""Marks of progress: who did something lately, who only exists, and who is gone."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from worker.alive import LIMITS, Mark, health


def aged(folder: Path, name: str, seconds: float) -> Path:
    folder.mkdir(exist_ok=True)
    file = folder / name
    file.touch()
    then = time.time() - seconds
    os.utime(file, (then, then))
    return file


def test_a_process_that_has_done_nothing_yet_is_not_alive(tmp_path: Path):
    Mark(tmp_path / "run", "worker")
    assert not health(tmp_path / "run", "worker").is_alive


def test_progress_is_seen_until_it_is_too_old(tmp_path: Path):
    mark = Mark(tmp_path, "worker")
    mark.touch()
    assert health(tmp_path, "worker").is_alive
    aged(tmp_path, f"worker-{os.getpid()}", LIMITS["worker"] + 10)
    found = health(tmp_path, "worker")
    assert not found.is_alive
    assert found.said == f"The worker with process id {os.getpid()} has done nothing for 310 seconds: restart it."


def test_one_of_many_that_is_stuck_is_enough(tmp_path: Path):
    Mark(tmp_path, "worker").touch()
    aged(tmp_path, f"worker-{os.getppid()}", 1_000)
    assert str(os.getppid()) in health(tmp_path, "worker").said


def test_who_is_gone_counts_no_more(tmp_path: Path):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    left = aged(tmp_path, f"worker-{ended.pid}", 1_000)
    assert health(tmp_path, "worker").said == "No worker runs here, or it has done nothing yet."
    Mark(tmp_path, "worker").touch()
    assert not left.exists(), "whoever starts next cleans up"


def test_a_scheduler_has_a_courier_that_must_live_too(tmp_path: Path):
    Mark(tmp_path, "scheduler").touch()
    assert not health(tmp_path, "scheduler").is_alive
    Mark(tmp_path, "courier").touch()
    assert health(tmp_path, "scheduler").is_alive


def test_a_mark_is_taken_away_at_the_end(tmp_path: Path):
    mark = Mark(tmp_path, "web")
    mark.touch()
    assert mark.touched_at is not None
    mark.remove()
    mark.remove()
    assert (mark.touched_at, list(tmp_path.iterdir())) == (None, [])


def test_a_full_disk_stops_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    mark = Mark(tmp_path, "web")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    mark.touch()
    assert mark.touched_at is None
