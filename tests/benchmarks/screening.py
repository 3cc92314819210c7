"""How much `screen` lets through: python tests/benchmarks/screening.py LABELS.jsonl MESSAGES/

Each line of LABELS is an object with `path` and `kind`. Prints what share of what `detect` takes for a bounce or a
delay passes, and what share of the ham does.
"""

import json
import sys
from pathlib import Path

from connectors.base import ENVELOPE_HEADERS, Envelope, MessageRef
from worker.detect import detect, mime
from worker.domain import Kind
from worker.screen import screen


def envelope(raw):
    fields = mime.read(raw).fields
    present = {name.lower(): fields.first(name.lower()) for name in ENVELOPE_HEADERS}
    headers = {name: value for name, value in present.items() if value is not None}
    return Envelope(ref=MessageRef("1"), headers=headers, size=len(raw))


def main(labels, messages):
    passed, total, surprises = {}, {}, []
    for line in Path(labels).read_text().splitlines():
        row = json.loads(line)
        raw = Path(messages, row["path"]).read_bytes()
        report = detect(raw)
        recognised = report.kind in (Kind.BOUNCE, Kind.DELAYED)
        group = "recognised" if recognised else row["kind"]
        through = screen(envelope(raw))
        total[group] = total.get(group, 0) + 1
        passed[group] = passed.get(group, 0) + through
        if recognised != through and (recognised or group == "ham"):
            surprises.append(f"{group}: {row['path']}")
    for group in sorted(total):
        print(f"{group:12}{passed[group]:6} of {total[group]:6} pass  {100 * passed[group] / total[group]:6.2f} %")
    print("\n".join(surprises))


if __name__ == "__main__":
    main(*sys.argv[1:])
