"""The CRM's own task queue: each event as a Celery task, by name, so that neither side imports the other.

At least once: the CRM drops repeats by the event's id, which is also the task's id.
"""

from collections.abc import Mapping
from typing import Any

from celery import Celery
from kombu.exceptions import OperationalError


class CrmQueue:
    """Sends events to a task of the CRM's."""

    def __init__(self, app: Celery, task: str, queue: str) -> None:
        self._app = app
        self._task = task
        self._queue = queue

    def __call__(self, event_id: str, payload: Mapping[str, Any]) -> None:
        """Hand over one event. Raises ConnectionError where the CRM's broker can't be reached."""
        try:
            self._app.send_task(
                self._task, args=[payload], task_id=event_id, queue=self._queue, ignore_result=True, retry=False
            )
        except OperationalError as error:
            raise ConnectionError("The CRM's broker can't be reached.") from error
