"""Orders to die: a file for each fault point, put there by the driver and taken by the first process that comes by."""

import json
import os
import signal
from contextlib import suppress
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

_passed: dict[int, int] = {}  # by order: how often this process has come past its point


class Who(StrEnum):
    """Whom an order is for, seen from the process that comes past the point."""

    SELF = "self"
    PARENT = "parent"  # a child goes on without it, as after an out-of-memory kill of the main process
    GROUP = "group"
    FREEZE = "freeze"  # stopped until the driver lets it go on: whoever comes back with a lease that is over


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """Kill `who` at a point after it was passed `skip` times by the same process."""

    id: int
    point: str
    who: Who
    skip: int = 0


class Orders:
    """The folder that driver and processes share."""

    def __init__(self, folder: Path) -> None:
        self._waiting, self._done = folder / "waiting", folder / "done"

    def prepare(self) -> None:
        for folder in (self._waiting, self._done):
            folder.mkdir(parents=True, exist_ok=True)

    def give(self, order: Order) -> None:
        fresh = self._waiting / f".{order.id}"
        fresh.write_text(json.dumps(asdict(order)))
        fresh.rename(self._waiting / order.point)

    def take_back(self) -> None:
        for file in self._waiting.iterdir():
            file.unlink(missing_ok=True)

    def waiting(self) -> set[str]:
        return {file.name for file in self._waiting.iterdir() if not file.name.startswith(".")}

    def carried_out(self) -> dict[int, tuple[str, int]]:
        """Return what was done so far: by order, (point, process id)."""
        found = {}
        for file in self._done.iterdir():
            number, pid, point = file.name.split(" ", 2)
            found[int(number)] = point, int(pid)
        return found

    def take(self, point: str) -> Order | None:
        """Return the order for this point, if there is one and nobody else has taken it."""
        file = self._waiting / point
        try:
            order = Order(**json.loads(file.read_text()))
        except FileNotFoundError:
            return None
        _passed[order.id] = _passed.get(order.id, 0) + 1
        if _passed[order.id] <= order.skip:
            return None
        with suppress(FileNotFoundError):
            file.rename(self._done / f"{order.id} {os.getpid()} {point}")
            return order
        return None


def carry_out(order: Order, *, main: int) -> None:
    """Do what an order says. `main` is the main process of this one's role; the driver itself is never killed."""
    match Who(order.who):
        case Who.GROUP:
            os.killpg(main, signal.SIGKILL)
        case Who.PARENT if os.getpid() != main:
            os.kill(main, signal.SIGKILL)
        case Who.FREEZE:
            os.kill(os.getpid(), signal.SIGSTOP)
        case _:
            os.kill(os.getpid(), signal.SIGKILL)
