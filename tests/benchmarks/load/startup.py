"""How long the command line takes to come up."""

import statistics
import subprocess
import sys
import time
from collections.abc import Iterator

from tests.benchmarks.load.rows import Row, at_most

ROUNDS = 15


def measure(scale: float) -> Iterator[Row]:
    """Yield the rows; the scale counts for nothing here."""
    floor = _milliseconds("-c", "pass")
    yield Row(what="floor: Python itself", figure=floor, unit="ms")
    took = _milliseconds("-m", "worker.cli", "--help")
    yield at_most("bounce-worker --help", took, "ms", 150, beside="Python itself", ratio=took / floor)


def _milliseconds(*arguments: str) -> float:
    took = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        subprocess.run([sys.executable, *arguments], capture_output=True, check=True)
        took.append(1_000 * (time.perf_counter() - started))
    return statistics.median(took)
