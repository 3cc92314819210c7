"""How fast mail is read, beside flufl.bounce on the same messages in the same run; `make rivals` has more programs."""

from collections.abc import Iterator
from typing import Final

from tests.benchmarks import rivals
from tests.benchmarks.load.rows import Row

OURS: Final = "our screen, then detect + classify"


def measure(scale: float) -> Iterator[Row]:
    """Yield the rows."""
    programs, _ = rivals.the_programs()
    compared = {name: programs[name] for name in (OURS, rivals.REFERENCE)}
    sets = {"bounces": rivals.samples(), "other mail": rivals.made_up(int(rivals.HAM_MESSAGES * scale))}
    for name, raws in sets.items():
        (row,) = (row for row in rivals.measured(name, raws, compared, rivals.ROUNDS) if row.program == OURS)
        yield Row(
            what=f"{name} screened, detected and classified",
            figure=row.per_second,
            unit="messages/s",
            beside=rivals.REFERENCE,
            ratio=row.ratio,
        )
