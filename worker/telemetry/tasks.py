"""What is seen of Celery's tasks: which one logs, how long it took, and that this process makes progress.

By Celery's own signals, so that the tasks themselves stay thin.
"""

import time
from contextlib import ExitStack
from typing import Any, Final

from celery import Task, signals

from worker.alive import Mark
from worker.telemetry import logs
from worker.telemetry.traces import Traces

OPEN: Final = "bounce_worker_open"
"""Under which name a running task keeps what ends with it."""


def follow(mark: Mark, traces: Traces | None, *, measured: bool) -> None:
    """Follow the tasks of this process and of the children that it forks."""

    def began(task: Task, task_id: str, **_: Any) -> None:  # noqa: ANN401 - Celery's own arguments
        logs.bind({"task": task.name, "task_id": task_id, "root_id": task.request.root_id or task_id})
        opened = ExitStack()
        if traces:
            opened.enter_context(traces.task(task.name.rpartition(".")[2], {"traceparent": _parent(task)}))
        setattr(task.request, OPEN, (time.perf_counter(), opened))

    def ended(task: Task, state: str | None = None, **_: Any) -> None:  # noqa: ANN401
        start, opened = getattr(task.request, OPEN, (None, None))
        if opened is not None:
            opened.close()
        if measured and start is not None:
            _measure(task.name, (state or "failure").lower(), time.perf_counter() - start)
        mark.touch()
        logs.bind({})

    def sent(headers: dict[str, Any], **_: Any) -> None:  # noqa: ANN401
        if traces:
            traces.inject(headers)

    def leaving(**_: Any) -> None:  # noqa: ANN401
        if traces:
            traces.flush()

    signals.task_prerun.connect(began, weak=False)
    signals.task_postrun.connect(ended, weak=False)
    signals.before_task_publish.connect(sent, weak=False)
    signals.worker_process_shutdown.connect(leaving, weak=False)
    signals.setup_logging.connect(_leave_logging_alone, weak=False)


def _parent(task: Task) -> str | None:
    given = getattr(task.request, "traceparent", None)
    return given if isinstance(given, str) else None


def _measure(name: str, outcome: str, seconds: float) -> None:
    from worker.telemetry.metrics import TASK_SECONDS, TASKS

    TASKS.labels(name, outcome).inc()
    TASK_SECONDS.labels(name).observe(seconds)


def _leave_logging_alone(**_: Any) -> None:  # noqa: ANN401
    """Celery sets up logging unless somebody listens here: ours is set up already."""
