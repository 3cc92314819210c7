"""Sends from the CRM's own task queue: an application of its own on the CRM's broker, with one task and one queue.

The CRM's side is one line, and imports nothing of ours::

    app.send_task("bounce_worker.register_sends", args=[[send, …]], queue="bounce-sends", serializer="json")

At least once: a message that is taken twice registers nothing twice. Only JSON is read: a pickle is refused unopened.
"""

import logging
from collections.abc import Callable
from typing import Any, Final

from celery import Celery, Task
from sqlalchemy.exc import DBAPIError

from worker import pipeline
from worker.app import REDIS
from worker.config import ConfigProblem
from worker.pipeline import Context

log = logging.getLogger(__name__)

REGISTER: Final = "bounce_worker.register_sends"
AWAY: Final = (DBAPIError, ConfigProblem)
"""What says that the database can't be used just now."""
LONGEST_WAIT: Final = 60
"""Seconds between two tries while the database is away; below the broker's visibility timeout."""


def make_intake(broker: str, queue: str, context: Callable[[], Context]) -> Celery:
    """Return the application whose worker takes sends from `queue`."""
    app = Celery("bounce-worker-intake", broker=broker, set_as_current=False)
    transport = {name: value for name, value in REDIS["broker_transport_options"].items() if name != "global_keyprefix"}
    app.conf.update(
        REDIS
        | {
            "task_serializer": "json",
            "accept_content": ["json"],
            "task_ignore_result": True,
            "task_acks_late": True,
            "task_default_queue": queue,
            "broker_connection_retry_on_startup": True,
            "worker_hijack_root_logger": False,
            "worker_redirect_stdouts": False,
            "worker_enable_remote_control": False,  # what the CRM tells all its workers isn't meant for ours
            "broker_transport_options": transport,  # the CRM's broker has the CRM's own keys
        }
    )

    @app.task(  # type: ignore[untyped-decorator]  # celery ships no types
        name=REGISTER, bind=True, max_retries=None, autoretry_for=AWAY, retry_backoff=True,
        retry_backoff_max=LONGEST_WAIT,
    )  # fmt: skip
    def register_sends(self: Task, sends: Any) -> None:  # noqa: ANN401 - whatever the CRM sent
        rows = sends if isinstance(sends, list) else [sends]
        try:
            done = pipeline.take_message(context(), rows, str(self.request.id))
        except AWAY as error:
            log.warning("sends.put_off", extra={"task": self.request.id, "error": type(error).__name__})
            raise
        if done.refused:
            log.warning("sends.refused", extra={"task": self.request.id, "refused": len(done.refused)})

    return app
