"""Write the project's own samples as first inputs: seeds.py FOLDER. Each begins with the letter of its entry point."""

import sys
from pathlib import Path

TESTS = Path(__file__).parent.parent

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for number, path in enumerate(sorted(TESTS.rglob("*.eml"))):
        (folder / f"{number:03}").write_bytes(b"m" + path.read_bytes())
