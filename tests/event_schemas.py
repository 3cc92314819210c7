"""The JSON schema of each event, as docs/event-schemas holds them for whoever writes a CRM in another language.

python -m tests.event_schemas
"""

import json
from pathlib import Path
from typing import Final

from worker.contract import EVENTS, json_schema

FOLDER: Final = Path(__file__).resolve().parents[1] / "docs/event-schemas"


def files() -> dict[Path, str]:
    """Return what has to stand where."""
    return {
        FOLDER / f"{name}.json": json.dumps(json_schema(name), indent=2, ensure_ascii=False) + "\n" for name in EVENTS
    }


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for old in FOLDER.glob("*.json"):
        old.unlink()
    for path, text in files().items():
        path.write_text(text)
