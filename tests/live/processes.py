"""Starting and stopping throw-away servers."""

import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

DIE_WITH_US = (setpriv, "--pdeathsig", "TERM", "--") if (setpriv := shutil.which("setpriv")) else ()
CHANCE = random.SystemRandom()  # whoever seeds the other one would get the same ports again
STOP_LIMIT = 10.0  # seconds that a server has to go by itself


def free_ports(count: int) -> list[int]:
    """Return free TCP ports of 127.0.0.1, all held at once so that they differ.

    None is of those that systems give to connections by themselves (RFC 6335: from 49152; Linux: from 32768): before it
    was used, somebody's connection to somewhere could have it.
    """
    held: list[socket.socket] = []
    try:
        while len(held) < count:
            with suppress(OSError):
                held.append(socket.create_server(("127.0.0.1", CHANCE.randrange(10_000, 32_000))))
        return [each.getsockname()[1] for each in held]
    finally:
        for each in held:
            each.close()


def public_folder(name: str) -> Path:
    """Make a temporary folder that every user may traverse: mail and database servers drop privileges."""
    folder = Path(tempfile.mkdtemp(prefix=f"bounce-{name}-"))
    folder.chmod(0o755)
    return folder


def remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)


def until(condition: Callable[[], bool], what: str, limit: float = 20.0) -> None:
    """Wait for something that no event announces; `limit` in seconds."""
    end = time.monotonic() + limit
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"waited {limit:g} s for {what}")
        time.sleep(0.01)


def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 0.5).close()
    except OSError:
        return False
    return True


def start(command: Sequence[str | Path], log: Path, user: str | None = None) -> subprocess.Popen[bytes]:
    """Start a server in the foreground of its own session, its output in `log`; `user` other than us needs root.

    It is told to end when we die, so that tests which are killed leave nothing behind but their temporary folders.
    """
    with log.open("ab") as output:
        return subprocess.Popen(
            [*DIE_WITH_US, *command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            env=environment(),
            cwd=log.parent,
            **_identity(user),
        )


def run(*command: str | Path, user: str | None = None) -> bytes:
    """Run a command to its end and return its output; its error text is in the exception."""
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        env=environment(),
        cwd="/",
        **_identity(user),
    )
    if done.returncode:
        words = (done.stdout + done.stderr).decode(errors="replace")
        raise RuntimeError(f"{command[0]} returned {done.returncode}: {words}")
    return done.stdout


def _identity(user: str | None) -> dict[str, Any]:
    return {"user": user, "group": user, "extra_groups": []} if user else {}


def environment() -> dict[str, str]:
    return os.environ | {"LC_ALL": "C"}


def stop(server: subprocess.Popen[bytes], ask: signal.Signals = signal.SIGTERM) -> None:
    """End a server and whatever it has started; `ask` them first, then kill them."""
    for sign in (ask, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(server.pid, sign)
        with suppress(TimeoutError):
            until(lambda: server.poll() is not None and not _group_lives(server.pid), "a server to end", STOP_LIMIT)
            return


def _group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
