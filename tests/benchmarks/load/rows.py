"""A figure, and how it is shown."""

import os
import platform
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One figure. `ratio` is that to the `beside` of the same run; `goal` what it is held to, in words."""

    what: str
    figure: float
    unit: str
    beside: str | None = None
    ratio: float | None = None
    goal: str | None = None
    reached: bool | None = None


def at_least(what: str, figure: float, unit: str, goal: float, **more) -> Row:
    """Return a figure that should be so large."""
    return Row(what=what, figure=figure, unit=unit, goal=f"≥ {goal:g}", reached=figure >= goal, **more)


def at_most(what: str, figure: float, unit: str, goal: float, **more) -> Row:
    """Return a figure that should be no larger."""
    return Row(what=what, figure=figure, unit=unit, goal=f"≤ {goal:g}", reached=figure <= goal, **more)


def machine() -> str:
    """Return what this ran on."""
    with Path("/proc/cpuinfo").open() as file:
        model = next((line.partition(":")[2].strip() for line in file if line.startswith("model name")), "unknown CPU")
    return f"{model}, {os.cpu_count()} cores, Python {platform.python_version()}, {platform.system()}"


def percentile(values: list[float], share: float) -> float:
    """Return the value below which that share of the values lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]
