"""What all long-running processes begin with: settings, logs, metrics, traces, and the mark of their progress."""

import logging
import os
import shutil
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Final, Self

import typer

from worker.cli.shared import err, read_settings

if TYPE_CHECKING:
    from worker.alive import Mark
    from worker.config import Settings
    from worker.pipeline import Context
    from worker.telemetry.traces import Traces

Metrics = Annotated[
    str | None,
    typer.Option("--metrics", metavar="HOST:PORT", help="Where to serve /metrics (default: BOUNCE_WORKER_METRICS)."),
]

MULTIPROCESS: Final = "PROMETHEUS_MULTIPROC_DIR"


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """A process of a deployment, from `with` to its end in order."""

    role: str
    settings: "Settings"
    mark: "Mark"
    traces: "Traces | None"
    _cleanup: ExitStack

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.traces:
            self.traces.flush()
        self._cleanup.close()

    def follow_tasks(self) -> None:
        """See what Celery's tasks do, in this process and its children."""
        from worker.telemetry import tasks

        tasks.follow(self.mark, self.traces, measured=self.settings.metrics is not None)

    def serve_metrics(self, context: "Callable[[], Context] | None" = None) -> None:
        """Serve /metrics, if somebody wants them; with a context, the database's figures as well."""
        if self.settings.metrics is None:
            return
        from worker.config import ConfigProblem
        from worker.telemetry.serve import serve

        host, port = self.settings.metrics
        try:
            port = serve(host, port, context)
        except OSError as error:
            raise ConfigProblem(
                f"Metrics can't be served at {host}:{port} ({error.strerror}): choose another place with --metrics."
            ) from None
        err.print(f"Metrics: http://{host}:{port}/metrics", soft_wrap=True)

    def another_mark(self, role: str) -> "Mark":
        """Return the mark of a part of this process that goes on by itself."""
        return _mark(self.settings, role, self._cleanup)


def begin(role: str, metrics: str | None = None, *, forks: bool = False, quiet: bool = False) -> Process:
    """Begin a process; `forks`: its children count too; `quiet`: only warnings matter. Raises `ConfigProblem`."""
    from worker import config
    from worker.telemetry import logs, traces

    settings = read_settings()
    if metrics is not None:
        settings = replace(settings, metrics=config.metrics_address(metrics))
    level = max(settings.log_level, logging.WARNING) if quiet else settings.log_level
    logs.configure(role, as_json=settings.log_as_json, level=level)
    logs.catch_the_rest()
    config.prepare_data(settings)
    cleanup = ExitStack()
    if forks and settings.metrics:
        _count_across_forks(cleanup)
    return Process(
        role=role,
        settings=settings,
        mark=_mark(settings, role, cleanup),
        traces=traces.configured(),
        _cleanup=cleanup,
    )


def _mark(settings: "Settings", role: str, cleanup: ExitStack) -> "Mark":
    from worker.alive import Mark

    mark = Mark(settings.marks, role)
    cleanup.callback(mark.remove)
    return mark


def _count_across_forks(cleanup: ExitStack) -> None:
    """Have counters kept in files that children share: prometheus_client looks for this when it is imported."""
    if MULTIPROCESS in os.environ:
        return
    folder = tempfile.mkdtemp(prefix="bounce-metrics-")
    os.environ[MULTIPROCESS] = folder
    owner = os.getpid()

    def remove() -> None:
        if os.getpid() == owner:
            os.environ.pop(MULTIPROCESS, None)
            shutil.rmtree(folder, ignore_errors=True)

    cleanup.callback(remove)
