"""The processes of the deployment, and their supervisor: what died is started again."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

from tests.live.processes import DIE_WITH_US

ROOT: Final = Path(__file__).resolve().parents[2]
PROGRAM: Final = [sys.executable, "-m", "tests.chaos.process"]
ROLES: Final = (
    ("worker", "--stuck-after", "10", "--grace", "3"),
    ("worker", "--stuck-after", "10", "--grace", "3"),
    ("scheduler",),
    ("scheduler",),
    ("intake",),
)
LOOK_SECONDS: Final = 0.1
STOP_LIMIT: Final = 15.0


@dataclass
class Member:
    """One of the processes; each leads a session of its own, so that it can be killed with its children."""

    name: str
    arguments: Sequence[str]
    process: subprocess.Popen[bytes] | None = None
    starts: int = 0


@dataclass
class Fleet:
    """All processes; `ends` counts with which code each role's have ended."""

    folder: Path
    environment: dict[str, str]
    ends: Counter[tuple[str, int]] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.members = [Member(f"{role[0]}-{number}", role) for number, role in enumerate(ROLES)]
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._supervise, daemon=True)

    def __enter__(self) -> Self:
        for member in self.members:
            self._start(member)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        living = [member.process for member in self.members if member.process and member.process.poll() is None]
        for process in living:
            self.let_go_on(process.pid)
            process.terminate()
        for process in living:
            with suppress(subprocess.TimeoutExpired):
                process.wait(STOP_LIMIT)
            with suppress(ProcessLookupError):  # children that a killed parent has left
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(5)

    def groups(self, role: str | None = None) -> list[int]:
        """Return the process groups that live, of one role or all, in the order of `ROLES`."""
        members = [each for each in self.members if role in (None, each.arguments[0])]
        return [m.process.pid for m in members if m.process and m.process.poll() is None]

    def all_processes(self) -> list[int]:
        """Return the ids of all processes, children too."""
        found = []
        for group in self.groups():
            listed = subprocess.run(["ps", "-o", "pid=", "-g", str(group)], capture_output=True, text=True, check=False)
            found += [int(word) for word in listed.stdout.split()]
        return sorted(found)

    def let_go_on(self, group: int) -> None:
        with suppress(ProcessLookupError):
            os.killpg(group, signal.SIGCONT)

    def logs(self, tail: int = 3_000) -> str:
        return "\n".join(f"== {path.name}\n{path.read_text()[-tail:]}" for path in sorted(self.folder.glob("*.log")))

    def _start(self, member: Member) -> None:
        member.starts += 1
        with (self.folder / f"{member.name}.log").open("ab") as log:
            member.process = subprocess.Popen(
                [*DIE_WITH_US, *PROGRAM, *member.arguments],
                env=self.environment,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _supervise(self) -> None:
        ready_at: dict[str, float] = {}
        while not self._stop.wait(LOOK_SECONDS):
            for member in self.members:
                if member.process is None or (code := member.process.poll()) is None:
                    continue
                if member.name not in ready_at:
                    self.ends[member.arguments[0], code] += 1
                    # At once after a kill; a moment later where it can't start, as supervisors do.
                    ready_at[member.name] = time.monotonic() + (0.0 if code < 0 else 0.5)
                if time.monotonic() >= ready_at[member.name]:
                    del ready_at[member.name]
                    self._start(member)
