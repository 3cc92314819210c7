"""The Celery tasks: thin, ids only, each safe to run twice. What they enqueue only rings a bell: the database knows."""

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Any, Final

from celery import Celery, Task
from kombu.exceptions import BatchPublishError, OperationalError

from worker import pipeline, schedule
from worker.pipeline import Context

log = logging.getLogger(__name__)

POLL: Final = "bounce.poll_inbox"
PROCESS: Final = "bounce.process_reports"
SWEEP: Final = "bounce.sweep"
DOORBELLS: Final = "bounce.renew_doorbells"

TICK_SECONDS: Final = 1.0
SWEEP_SECONDS: Final = 15.0
DOORBELLS_SECONDS: Final = 60.0
COURIER_SECONDS: Final = 0.5


def register(app: Celery, context: Callable[[], Context]) -> None:
    """Give `app` its tasks."""

    @app.task(name=POLL, shared=False)  # type: ignore[untyped-decorator]  # celery ships no types
    def poll_inbox(inbox_id: str, lease_token: int) -> None:
        polled = pipeline.poll(context(), inbox_id, lease_token)
        for batch in pipeline.batches(polled.notice_ids):
            _ring(app, PROCESS, inbox_id, batch)

    @app.task(name=PROCESS, bind=True, shared=False)  # type: ignore[untyped-decorator]
    def process_reports(self: Task, inbox_id: str, notice_ids: list[int]) -> None:
        read_by = f"Celery task {self.request.id}"
        pipeline.process(context(), inbox_id, notice_ids, read_by)

    @app.task(name=SWEEP, shared=False)  # type: ignore[untyped-decorator]
    def sweep() -> None:
        for inbox_id, batches in pipeline.sweep(context()).items():
            for batch in batches:
                _ring(app, PROCESS, inbox_id, batch)
        pipeline.drop_sends(context())

    @app.task(name=DOORBELLS, shared=False)  # type: ignore[untyped-decorator]
    def renew_doorbells() -> None:
        pipeline.renew_doorbells(context())


def run_scheduler(
    app: Celery, context: Callable[[], Context], stop: threading.Event, progress: Callable[[], None] = lambda: None
) -> None:
    """Have due inboxes polled, and sweep now and then, until `stop` is set. Any number of these may run.

    `progress` is called after each turn that succeeded.
    """
    ticks = depth = 0
    while not stop.is_set():
        try:
            left = _waiting(app)
            depth = schedule.depth(depth, left)
            _dispatch(app, context(), depth - left, stop)
            if ticks % int(SWEEP_SECONDS / TICK_SECONDS) == 0:
                _ring(app, SWEEP)
            if context().call_us_at and ticks % int(DOORBELLS_SECONDS / TICK_SECONDS) == 0:
                _ring(app, DOORBELLS)
            progress()
        except Exception:
            # The database is away: what is due stays due.
            log.exception("scheduler.tick_failed")
        ticks += 1
        stop.wait(TICK_SECONDS)


def _dispatch(app: Celery, context: Context, room: int, stop: threading.Event) -> int:
    """Claim due inboxes and enqueue their polls, `room` at the most; return how many."""
    sent = 0
    for claimed in pipeline.claims(context, room):
        _ring_all(app, POLL, claimed)
        sent += len(claimed)
        if stop.is_set():
            break
    return sent


def _waiting(app: Celery) -> int:
    """Return how many tasks stand in the queue."""
    try:
        with app.producer_pool.acquire(block=True) as producer:
            # Not `passive`: kombu (5.7) then looks for the queue without the prefix of its name, and finds none.
            queue = producer.channel.queue_declare(app.conf.task_default_queue)
            return int(queue.message_count)
    except OperationalError:
        return 0  # whether a broker is there, enqueueing shows


def run_courier(
    context: Callable[[], Context], stop: threading.Event, progress: Callable[[], None] = lambda: None
) -> None:
    """Carry events to the CRM's queue, into the feed and to webhooks until `stop` is set. Any number of these may run.

    `progress` is called after each turn that succeeded.
    No Celery task: receivers that hang would hold up polling, and an emptied broker must not hold up events.
    """
    while not stop.is_set():
        try:
            pipeline.carry(context())
            progress()
        except Exception:
            # The database is away: what is due stays due.
            log.exception("courier.turn_failed")
        stop.wait(COURIER_SECONDS)


def _ring(app: Celery, task: str, *args: Any) -> None:  # noqa: ANN401 - a task's JSON arguments
    _ring_all(app, task, [args])


def _ring_all(app: Celery, task: str, calls: Sequence[Sequence[Any]]) -> None:
    """Enqueue a task once for each of some arguments, in one round trip to Redis."""
    try:
        with app.producer_pool.acquire(block=True) as producer, producer.batch():
            for args in calls:
                app.send_task(task, args=args, retry=False, producer=producer)
    except (BatchPublishError, OperationalError):
        # A bell that can't be rung is no loss: the sweep and the lease bring the work back.
        log.warning("broker.unreachable", extra={"task": task, "calls": len(calls)})
