"""A CRM of a few lines, as a Celery application of its own: it writes down the events that it gets."""

import json
import os
from pathlib import Path
from typing import Any

from celery import Celery

app = Celery("crm", broker=os.environ["CRM_BROKER"])


@app.task(name="crm.events", ignore_result=True)
def take(event: dict[str, Any]) -> None:
    with Path(os.environ["CRM_FILE"]).open("a") as file:
        file.write(json.dumps(event) + "\n")
