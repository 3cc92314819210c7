"""A deployment as an operator runs it: the command line, and its processes, in an environment of their own."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

from worker.store.keyring import new_key

COMMAND = [sys.executable, "-m", "worker.cli"]
ROOT = Path(__file__).resolve().parents[2]


class Deployment:
    """Runs `bounce-worker` commands; `with` ends the processes that it started."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.folder = folder
        self.program = COMMAND
        self.environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "HOME": str(folder),
            "COLUMNS": "200",
            "BOUNCE_WORKER_DATA": str(folder / "data"),
            "BOUNCE_WORKER_KEYS": new_key(),
            "BOUNCE_WORKER_POLL_SECONDS": "1",
            "BOUNCE_WORKER_POLL_LONGEST_SECONDS": "1",  # however long ago an email was sent
            "BOUNCE_WORKER_SENDS_DAYS": "0",  # the tests' sends have fixed dates, and the clock is the real one
            **environment,
        }
        self._processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.send_signal(signal.SIGTERM)
        for process in self._processes:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(5)

    def command(self, *arguments: str, code: int = 0, input: str | None = None) -> str:  # noqa: A002 - subprocess's word
        """Run a command to its end; return what it printed, on both channels."""
        done = self._run(arguments, code, input)
        return done.stdout + done.stderr

    def output(self, *arguments: str) -> str:
        """Run a command to its end; return what a shell would take into a variable."""
        return self._run(arguments, 0, None).stdout

    def _run(self, arguments: Sequence[str], code: int, given: str | None) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [*COMMAND, *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            input=given,
            check=False,
            timeout=120,
        )
        assert done.returncode == code, f"{arguments}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def rows(self, *arguments: str) -> list[dict[str, Any]]:
        """Run a command with --json; return its objects."""
        return [json.loads(line) for line in self._run((*arguments, "--json"), 0, None).stdout.splitlines()]

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start a process that goes on."""
        with (self.folder / f"{arguments[0]}-{len(self._processes)}.log").open("wb") as log:
            process = subprocess.Popen([*COMMAND, *arguments], env=self.environment, stdout=log, stderr=log)
        self._processes.append(process)
        return process

    def start_celery(self, module: str, queue: str, **environment: str) -> None:
        """Start a Celery worker of another application, as the CRM has one."""
        command = [sys.executable, "-m", "celery", "-A", module, "worker", "-Q", queue, "-P", "solo", "-l", "WARNING"]
        self.start_program(command, module, **environment)

    def start_program(self, command: Sequence[str], name: str, **environment: str) -> subprocess.Popen[bytes]:
        """Start a program that goes on and isn't ours."""
        with (self.folder / f"{name}.log").open("ab") as log:
            everything = self.environment | environment
            process = subprocess.Popen(command, env=everything, stdout=log, stderr=log, cwd=ROOT)
        self._processes.append(process)
        return process

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        """End a process as a power cut does; nobody misses it afterwards."""
        process.kill()
        process.wait(10)
        self._processes.remove(process)

    def logs(self) -> str:
        return "\n".join(f"== {path.name}\n{path.read_text()[-3000:]}" for path in sorted(self.folder.glob("*.log")))

    def until(self, condition: Callable[[], bool], what: str, limit: float = 60.0) -> None:
        """Wait for what the processes do by themselves; `limit` in seconds."""
        end = time.monotonic() + limit
        while not condition():
            died = [process.args for process in self._processes if process.poll() is not None]
            assert not died, f"{died} ended\n{self.logs()}"
            assert time.monotonic() < end, f"never: {what}\n{self.logs()}"
            time.sleep(0.25)

    def register(self, sends: Sequence[dict[str, Any]]) -> str:
        """Register sends, as a CRM does."""
        return self.command("sends", "import", "-", input="".join(json.dumps(send) + "\n" for send in sends))
