"""A worker's pulse: it sends itself a task through the broker, and a child of its pool works that off.

That proves the whole way: broker, connection, consumer, pool, child. A worker whose tasks come no more although they
are sent (a half-open connection that nobody noticed, children that hang) ends itself, for its supervisor to start it
anew: container engines only *show* that a container is unhealthy. A broker that is away is no fault of the worker's.
"""

import logging
import os
import signal
import socket
import threading
import time
from typing import Final

from celery import Celery, signals
from kombu.entity import Queue
from kombu.exceptions import OperationalError

from worker.alive import Mark

log = logging.getLogger(__name__)

BEAT: Final = "bounce.beat"
MOST_SECONDS: Final = 15.0
STUCK: Final = 70
"""Exit code of a worker that ends itself (EX_SOFTWARE)."""


class Pulse:
    """The pulse of one Celery worker; it begins when the worker is ready."""

    def __init__(self, app: Celery, mark: Mark, limit: float) -> None:
        self._app = app
        self._mark = mark
        self._limit = limit
        self._ended = threading.Event()
        self._every = min(max(limit / 10, 0.5), MOST_SECONDS)
        self.queue = f"beat-{socket.gethostname()}-{os.getpid()}"
        own = Queue(self.queue, auto_delete=True)  # type: ignore[no-untyped-call]  # gone with its consumer
        app.amqp.queues.add(own)

        @app.task(name=BEAT, shared=False)  # type: ignore[untyped-decorator]  # celery ships no types
        def beat() -> None:
            """Do nothing: that it was done leaves the mark (see `worker.telemetry.tasks`)."""

        signals.worker_ready.connect(self._begin, weak=False)
        signals.worker_shutting_down.connect(self._end, weak=False)

    def _begin(self, **_: object) -> None:
        threading.Thread(target=self._go_on, name="pulse", daemon=True).start()

    def _end(self, **_: object) -> None:
        self._ended.set()

    def _go_on(self) -> None:
        marked_at = waiting_since = None
        while not self._ended.is_set():
            if self._send():
                now = time.monotonic()
                if self._mark.touched_at != marked_at or waiting_since is None:
                    marked_at, waiting_since = self._mark.touched_at, now
                elif now - waiting_since > self._limit:
                    _give_up(now - waiting_since)
            self._ended.wait(self._every)

    def _send(self) -> bool:
        try:
            self._app.send_task(BEAT, queue=self.queue, expires=self._limit, retry=False)
        except (OperationalError, OSError):
            return False
        return True


def _give_up(seconds: float) -> None:
    """End this process and its children at once: what they held comes back to others."""
    import billiard

    log.critical("worker.stuck", extra={"seconds": round(seconds)})
    for child in billiard.active_children():
        os.kill(child.pid, signal.SIGKILL)
    os._exit(STUCK)
