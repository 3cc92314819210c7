"""Running a Celery worker in this process, and ending it in order."""

import gc
import logging
import os
import signal
import threading
import time
import warnings
from typing import Any, Final

from celery import Celery, signals

LOOK_SECONDS: Final = 0.1


def start_worker(
    app: Celery, pool: str, concurrency: int = 1, *, besides: str | None = None, grace: float | None = None
) -> None:
    """Run a worker until it is told to stop, on the application's queue and one `besides`.

    With `grace`, SIGTERM lets running tasks go on for so many seconds (see `EndInOrder`).
    """
    # What is imported stays: no collection need look at it again, here and in children. Attaching makes many small
    # things that die young; looking for garbage less often makes it some 10 % faster.
    gc.freeze()
    gc.set_threshold(20_000, 50, 50)
    _hush_root_warning()
    # The in-memory transport has no host, and kombu says so at every connection.
    logging.getLogger("kombu.connection").setLevel(logging.ERROR)
    worker = app.Worker(
        pool=pool,
        concurrency=concurrency,
        queues=[app.conf.task_default_queue, *filter(None, [besides])],
        loglevel="WARNING",
        quiet=True,
        without_mingle=True,
        without_gossip=True,
    )
    if grace is not None:
        EndInOrder(worker, grace)
    worker.start()


class EndInOrder:
    """At SIGTERM or SIGINT a worker takes no more tasks, lets those that run end, and goes.

    What still runs after the grace period goes back to the queue: that is Celery's cold shutdown. Celery's own soft
    shutdown does neither well: it sleeps for the whole grace period in the main thread, where finished tasks are
    acknowledged, whether a task runs or not (5.6).
    """

    def __init__(self, worker: Any, grace: float) -> None:  # noqa: ANN401 - celery ships no types
        self._worker = worker
        self._grace = grace
        self._told = False
        signals.worker_ready.connect(self._listen, weak=False)

    def _listen(self, **_: object) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._end)

    def _end(self, *_: object) -> None:
        if not self._told:
            self._told = True
            threading.Thread(target=self._wait, name="end", daemon=True).start()

    def _wait(self) -> None:
        from celery.worker import state

        signals.worker_shutting_down.send(sender=self._worker.hostname, sig="SIGTERM", how="Warm", exitcode=0)
        consumer = self._worker.consumer
        consumer.call_soon(consumer.task_consumer.cancel)
        end = time.monotonic() + self._grace
        quiet = 0
        while quiet < 2 and time.monotonic() < end:  # looked at twice: a task may be on its way from broker to pool
            quiet = 0 if state.reserved_requests else quiet + 1
            time.sleep(LOOK_SECONDS)
        if quiet < 2:
            logging.getLogger(__name__).warning("worker.tasks_put_back")
            os.kill(os.getpid(), signal.SIGQUIT)
        else:
            state.should_stop = 0


def _hush_root_warning() -> None:
    """Celery warns root because of pickle, which this application doesn't accept."""
    from celery.platforms import SecurityWarning as RootWarning

    warnings.filterwarnings("ignore", category=RootWarning)
