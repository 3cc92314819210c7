"""See the package."""

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from importlib import import_module

from rich.console import Console
from rich.table import Table

from tests.benchmarks.load.rows import Row, machine

NAMES = (
    "detect", "startup", "dispatch", "attach", "sends", "memory", "delay", "growth", "retention", "partitions"
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*NAMES, []], help="Default: all.")
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    rows: list[Row] = []
    for name in given.names or NAMES:
        print(f"{name}…", file=sys.stderr)
        measure: Callable[[float], Iterator[Row]] = import_module(f"tests.benchmarks.load.{name}").measure
        for row in measure(given.scale):
            rows.append(row)
            print(f"  {row.what}: {row.figure:,.4g} {row.unit}", file=sys.stderr)
    if given.json:
        print(json.dumps({"schema": 1, "machine": machine(), "rows": [asdict(row) for row in rows]}))
    else:
        show(rows)


def show(rows: list[Row]) -> None:
    table = Table(title=f"On {machine()}", title_justify="left")
    for column in ("What", "Figure", "", "Goal", "Reached", "Ratio", "to"):
        table.add_column(column, justify="right" if column in ("Figure", "Ratio") else "left")
    for row in rows:
        reached = "" if row.reached is None else "yes" if row.reached else "NO"
        ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
        table.add_row(row.what, f"{row.figure:,.4g}", row.unit, row.goal or "", reached, ratio, row.beside or "")
    Console(width=180).print(table)


if __name__ == "__main__":
    main()
