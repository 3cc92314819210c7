"""`make chaos`: a long run. ``python -m tests.chaos --seed 1 --faults 1000 --notices 10000 [--json]``"""

import argparse
import secrets
import sys

from tests.chaos import report
from tests.chaos.run import Run
from tests.chaos.world import World


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1_000_000), help="default: any, and printed")
    parser.add_argument("--faults", type=int, default=1_000)
    parser.add_argument("--notices", type=int, default=10_000)
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    given = parser.parse_args()

    def say(words: str) -> None:
        print(words, file=sys.stderr, flush=True)

    say(f"Seed {given.seed}: {given.faults} faults, {given.notices} notices.")
    with World() as world:
        result = Run(world, given.seed, given.faults, given.notices, say).go()
        if result.wrong:
            say(f"{report.journal(result)}\n{world.fleet.logs()}")
    print(report.as_json(result) if given.json else report.table(result))
    return 1 if result.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
