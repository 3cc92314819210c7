"""The clock of a run: it goes thirty times as fast as the machine's, and jumps. All processes read it from one file.

That way the product's own leases, turns and backoffs hold as they are, and a lease of six minutes is over in twelve
seconds. What waits by the machine's own clock is shortened in `tests.chaos.process`.
"""

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

RATE: Final = 30


@dataclass(frozen=True, slots=True)
class Clock:
    """A clock in a file; `now` is what the product takes for the time."""

    file: Path

    def start(self) -> None:
        self._write(datetime.now(UTC), timedelta())

    def now(self) -> datetime:
        began, jumped = self._read()
        return began + (datetime.now(UTC) - began) * RATE + jumped

    def jump(self, by: timedelta) -> None:
        """Put the clock on or back, for everybody at once."""
        began, jumped = self._read()
        self._write(began, jumped + by)

    def _read(self) -> tuple[datetime, timedelta]:
        fields = json.loads(self.file.read_text())
        return datetime.fromisoformat(fields["began"]), timedelta(seconds=fields["jumped"])

    def _write(self, began: datetime, jumped: timedelta) -> None:
        fresh = self.file.with_suffix(".fresh")
        fresh.write_text(json.dumps({"began": began.isoformat(), "jumped": jumped.total_seconds()}))
        fresh.replace(self.file)  # nobody reads half a time
