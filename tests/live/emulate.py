"""emulate 0.11.2 (npm, Apache-2.0) on loopback: its Google service keeps mailboxes as Gmail's API shows them."""

import http.client
import itertools
import json
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from tests.live.needs import missing
from tests.live.processes import free_ports, listens, public_folder, remove, start, stop, until

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / ".emulate"
VERSION = "0.11.2"
NODE = 20
MAILBOXES = 1_500
TOKENS = 6
"""Tokens of a mailbox: emulate answers each 5,000 times an hour."""
PER_TOKEN = 4_900


@contextmanager
def emulated_google() -> Iterator["Emulate"]:
    """Run the service with many empty mailboxes; skip where it isn't installed."""
    command = [_node(), "--require", ROOT / "tests" / "setup" / "loopback.cjs", _program()]
    (port,) = free_ports(1)
    folder = public_folder("emulate")
    seed = folder / "seed.json"
    seed.write_text(json.dumps(_seed()))
    server = start([*command, "start", "--service", "google", "--port", str(port), "--seed", seed], folder / "out")
    try:
        until(lambda: listens(port) or _has_ended(server, folder / "out"), "emulate to listen")
        emulate = Emulate(port)
        yield emulate
        emulate.close()
    finally:
        stop(server)
        remove(folder)


@dataclass
class Emulate:
    """The running service. History ids are made smaller by `base`: emulate's have 21 digits and Gmail's 64 bits."""

    port: int
    base: int = field(default_factory=lambda: (int(time.time()) - 86_400) * 10**11)

    def __post_init__(self) -> None:
        self._numbers = itertools.count()
        self._lock = threading.Lock()
        self._connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)

    def fresh_mailbox(self) -> "Mailbox":
        number = next(self._numbers)
        if number >= MAILBOXES:
            raise AssertionError("there are no more mailboxes: raise MAILBOXES")
        return Mailbox(self, number)

    def ask(self, method: str, path: str, token: str, body: object = None) -> tuple[int, Any]:
        """Return the status and the JSON of an answer."""
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        sent = json.dumps(body).encode() if body is not None else None
        with self._lock:
            for attempt in (1, 2):
                try:
                    self._connection.request(method, path, sent, headers)
                    answer = self._connection.getresponse()
                    text = answer.read()
                    break
                except (http.client.RemoteDisconnected, ConnectionError):
                    self._connection.close()  # Node closes what has been idle for five seconds
                    if attempt == 2:
                        raise
        return answer.status, json.loads(text) if text else None

    def close(self) -> None:
        self._connection.close()


@dataclass
class Mailbox:
    """One mailbox of the service."""

    emulate: Emulate
    number: int
    asked: int = 0

    @property
    def address(self) -> str:
        return _address(self.number)

    def get(self, path: str, parameters: Mapping[str, Any] | None = None) -> tuple[int, Any]:
        query = urlencode(parameters or {}, doseq=True)
        return self.ask("GET", f"{path}?{query}" if query else path)

    def ask(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        token = f"token-{self.number}-{min(self.asked // PER_TOKEN, TOKENS - 1)}"
        self.asked += 1
        return self.emulate.ask(method, f"/gmail/v1/users/me/{path}", token, body)


def _address(number: int) -> str:
    return f"user{number}@sender.test"


def _seed() -> dict[str, Any]:
    numbers = range(MAILBOXES)
    tokens = {f"token-{each}-{key}": {"login": _address(each)} for each in numbers for key in range(TOKENS)}
    return {"tokens": tokens, "google": {"users": [{"email": _address(each)} for each in numbers]}}


def _node() -> str:
    node = shutil.which("node")
    if node is None:
        missing(f"node isn't installed: install Node.js {NODE} or newer.")
    told = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout
    found = re.match(r"v(\d+)\.", told)
    if found is None or int(found[1]) < NODE:
        missing(f"node is {told.strip()}: install Node.js {NODE} or newer.")
    return node


def _program() -> Path:
    folder = FOLDER / "node_modules" / "emulate"
    try:
        version = json.loads((folder / "package.json").read_text())["version"]
    except (OSError, ValueError, KeyError):
        missing("emulate isn't installed: run sh tests/setup/emulate.sh.")
    if version != VERSION:
        missing(f"emulate is {version} and not {VERSION}: remove {FOLDER.name} and run sh tests/setup/emulate.sh.")
    return folder / "dist" / "index.js"


def _has_ended(server: subprocess.Popen[bytes], log: Path) -> bool:
    if server.poll() is not None:
        raise RuntimeError(f"emulate ended: {log.read_text(errors='replace')[-500:]}")
    return False
