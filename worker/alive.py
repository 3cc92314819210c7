"""Liveness by progress: a process leaves a mark when it has *done* something; one that only exists leaves none.

Marks are files in a folder of this machine, named by role and process id, so that a health check needs no network and
no library. What progress is: a scheduler has claimed what is due, `watch` has read its list of inboxes, `web` has
answered a request of its own, a worker has sent itself a task through the broker and a child has worked it off.
"""

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

LIMITS: Final = {
    "scheduler": 60.0, "courier": 300.0, "watch": 120.0, "web": 60.0, "worker": 300.0, "intake": 300.0, "run": 300.0
}  # fmt: skip
"""By role: after how many seconds without progress a process is no longer healthy. A worker's children may all be busy
for as long as a task may take (see `worker.app`), and its own task waits for one of them."""


PARTS: Final = {"scheduler": ("scheduler", "courier")}
"""What a role does besides, in threads of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """Whether a role's processes on this machine make progress, in one sentence."""

    is_alive: bool
    said: str


class Mark:
    """The mark of a process: there is none before `touch` was called, nor after `remove`."""

    def __init__(self, folder: Path, role: str) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for left in folder.glob("*-*"):  # by those that were killed
            if not _lives(left):
                left.unlink(missing_ok=True)
        self._file = folder / f"{role}-{os.getpid()}"

    def touch(self) -> None:
        """Say that something was done. A full disk must not stop who does it."""
        try:
            self._file.write_bytes(b"")
            os.utime(self._file)
        except OSError:
            pass

    @property
    def touched_at(self) -> int | None:
        """When something was done, for comparing only; None where the mark is gone."""
        try:
            return self._file.stat().st_mtime_ns
        except FileNotFoundError:
            return None

    def remove(self) -> None:
        """Say that the process ends in order."""
        self._file.unlink(missing_ok=True)


def health(folder: Path, role: str, within: float | None = None) -> Health:
    """Say whether every process of a role that runs here has made progress lately."""
    said = []
    for part in PARTS.get(role, (role,)):
        limit = LIMITS[part] if within is None else within
        living = [file for file in sorted(folder.glob(f"{part}-*")) if _lives(file)]
        if not living:
            return Health(is_alive=False, said=f"No {part} runs here, or it has done nothing yet.")
        age, file = max((_age(file), file) for file in living)
        if age > limit:
            words = f"The {part} with process id {_pid(file)} has done nothing for {age:.0f} seconds: restart it."
            return Health(is_alive=False, said=words)
        said.append(f"The {part} did something {age:.0f} seconds ago.")
    return Health(is_alive=True, said=" ".join(said))


def _pid(file: Path) -> str:
    return file.name.rpartition("-")[2]


def _lives(file: Path) -> bool:
    try:
        os.kill(int(_pid(file)), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _age(file: Path) -> float:
    try:
        return max(time.time() - file.stat().st_mtime, 0.0)
    except FileNotFoundError:
        return float("inf")
