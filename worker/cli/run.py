"""`run`, `worker`, `scheduler` and `poll`: the processes."""

import os
import signal
import threading
from collections import Counter
from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli.process import Metrics, begin
from worker.cli.shared import FAILED, Account, err, fail, open_context, out, told

if TYPE_CHECKING:
    from celery import Celery

    from worker.cli.serve import Server
    from worker.pipeline import Context
    from worker.store.inboxes import Inbox

IDLE_CHECK_SECONDS = 0.25


Host = Annotated[str, typer.Option(help="Address to listen on.")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 for any.")]


def run(
    until_idle: Annotated[
        bool, typer.Option("--until-idle", help="End when every due inbox is read and worked off; serves no API.")
    ] = False,
    host: Host = "127.0.0.1",
    port: Port = 8000,
    serve: Annotated[bool, typer.Option("--web/--no-web", help="Whether the HTTP API is served.")] = True,
    metrics: Metrics = None,
) -> None:
    """Run everything in one process: scheduler, Celery worker and HTTP API, on SQLite and the in-memory transport.

    With DATABASE_URL and REDIS_URL the same code serves a shared database and broker.
    """
    from worker.app import make_app
    from worker.cli.serve import Server
    from worker.wiring import make_context

    stop = threading.Event()
    with told(), begin("run", metrics, quiet=until_idle) as process:
        settings = process.settings
        context = make_context(settings)
        app = make_app(settings)
        server = Server(settings, lambda: context, host, port) if serve and not until_idle else None
        process.serve_metrics(lambda: context)
        process.follow_tasks()
        _run_all(app, context, stop, server, until_idle=until_idle)


def _run_all(
    app: "Celery", context: "Context", stop: threading.Event, server: "Server | None", *, until_idle: bool
) -> None:
    from worker import tasks
    from worker.cli.celery_worker import start_worker

    threads = [
        threading.Thread(target=tasks.run_scheduler, args=(app, lambda: context, stop), daemon=True),
        threading.Thread(target=tasks.run_courier, args=(lambda: context, stop), daemon=True),
    ]
    if until_idle:
        threads.append(threading.Thread(target=_stop_when_idle, args=(app, context, stop), daemon=True))
    if server:
        threads.append(threading.Thread(target=server.run, daemon=True))
        err.print(f"The API, with a page to try it on: {server.url}/docs", soft_wrap=True)
    err.print("Running. Ctrl-C ends it after the task in hand.")
    for thread in threads:
        thread.start()
    try:
        start_worker(app, "solo")
    finally:
        stop.set()
        if server:
            server.stop()
        for thread in threads:
            thread.join(timeout=10)


def _stop_when_idle(app: "Celery", context: "Context", stop: threading.Event) -> None:
    from celery.worker import state

    from worker import pipeline, tasks

    # Asked twice in a row: between two transactions of one step nothing looks like work to do.
    quiet = 0
    while quiet < 2 and not stop.wait(IDLE_CHECK_SECONDS):
        quiet = quiet + 1 if pipeline.idle(context) else 0
    stop.set()
    state.should_stop = 0  # the worker leaves its loop with this exit code…
    app.send_task(tasks.SWEEP)  # …as soon as something wakes it


def worker(
    concurrency: Annotated[int, typer.Option(min=1, help="Processes that work at once.")] = 2,
    grace: Annotated[float, typer.Option(min=0, help="Seconds that tasks have to end when it is told to end.")] = 30,
    stuck_after: Annotated[float, typer.Option(min=1, help="Seconds without progress after which it ends.")] = 300,
    metrics: Metrics = None,
) -> None:
    """Run a Celery worker on REDIS_URL; run it under a supervisor that restarts it.

    Told to end (SIGTERM), it lets running tasks end; those that take longer than --grace go back to the queue.
    """
    # Before Celery is imported: a supervisor may send SIGTERM to the pool's children too, and they are to ignore it.
    os.environ.setdefault("REMAP_SIGTERM", "SIGQUIT")
    with told(), begin("worker", metrics, forks=True) as process:
        from worker.app import make_app
        from worker.cli.celery_worker import start_worker
        from worker.telemetry.pulse import Pulse
        from worker.wiring import make_context

        settings = process.settings
        if settings.embedded:
            fail("Set REDIS_URL: a worker of its own needs a broker. For one process, use: bounce-worker run")
        make_context(settings).engine.dispose()  # problems with database or keys show here, not in a child
        app = make_app(settings)
        process.serve_metrics()
        process.follow_tasks()
        pulse = Pulse(app, process.mark, stuck_after)
        start_worker(app, "prefork", concurrency, besides=pulse.queue, grace=grace)


def intake(metrics: Metrics = None) -> None:
    """Take sends from the CRM's own task queue (BOUNCE_WORKER_CRM_BROKER); for a CRM that runs Celery and no HTTP."""
    from worker.config import MEMORY_BROKER
    from worker.crm_intake import Intake
    from worker.wiring import lazy_context, make_context

    with told(), begin("intake", metrics) as process:
        settings = process.settings
        broker = settings.crm_broker or settings.broker_url
        if broker == MEMORY_BROKER:
            fail("Set BOUNCE_WORKER_CRM_BROKER to the broker of the CRM's task queue.")
        if not broker.startswith(("redis://", "rediss://")):
            fail("Sends are taken from queues on Redis (redis://, rediss://). Beside another broker, use the HTTP API.")
        make_context(settings).engine.dispose()  # problems with database or keys show here
        process.serve_metrics()
        intake = Intake(broker, settings.sends_queue, lazy_context(settings), process.mark.touch)
        intake.run(_told_to_stop())


def scheduler(metrics: Metrics = None) -> None:
    """Run a scheduler: makes due inboxes' tasks, sweeps up what a broker lost, calls webhooks. Any number may run."""
    from worker import tasks
    from worker.app import make_app
    from worker.wiring import make_context

    with told(), begin("scheduler", metrics) as process:
        settings = process.settings
        if settings.embedded:
            fail("Set REDIS_URL: a scheduler of its own needs a broker. For one process, use: bounce-worker run")
        context = make_context(settings)
        process.serve_metrics(lambda: context)
        process.follow_tasks()
        stop = _told_to_stop()
        delivered = process.another_mark("courier").touch
        courier = threading.Thread(target=tasks.run_courier, args=(lambda: context, stop, delivered), daemon=True)
        courier.start()
        tasks.run_scheduler(make_app(settings), lambda: context, stop, process.mark.touch)
        courier.join(timeout=20)


def _told_to_stop() -> threading.Event:
    """Return what is set at SIGTERM or SIGINT."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    return stop


def web(host: Host = "127.0.0.1", port: Port = 8000, metrics: Metrics = None) -> None:
    """Serve HTTP: the API, where people come back from signing in, and where providers ring. Put TLS before it.

    Example: bounce-worker web --host 0.0.0.0 --port 8000
    """
    from worker.cli.serve import Server
    from worker.wiring import lazy_context, make_context

    with told(), begin("web", metrics) as process:
        settings = process.settings
        make_context(settings).engine.dispose()  # problems with database or keys show here
        context = lazy_context(settings)
        server = Server(settings, context, host, port)
        process.serve_metrics(context)
        err.print(f"Serving {server.url}", soft_wrap=True)
        server.watch_over(process.mark.touch)
        # uvicorn ends in order at a signal, and then raises it once more.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: server.stop())
        server.run()


def poll(
    name: Annotated[str | None, typer.Argument(metavar="[INBOX]", help="Default: every active inbox.")] = None,
    once: Annotated[
        bool, typer.Option("--once", help="End when nothing is left; without it, go on until Ctrl-C.")
    ] = False,
    account: Account = None,
) -> None:
    """Poll inboxes and work off what they hold in this process, without a queue.

    Example: bounce-worker poll alice --account acme --once
    """
    from worker import admin
    from worker.store.inboxes import InboxState

    stop = threading.Event()
    with told():
        context = open_context()
        while True:
            if name:
                chosen = [admin.the_inbox(context, name, account)]
            else:
                chosen = [i for i, _ in admin.all_inboxes(context, account) if i.state is InboxState.ACTIVE]
            failed = _poll_all(context, chosen)
            if once:
                break
            stop.wait(context.poll_every.total_seconds())
    if failed:
        raise typer.Exit(FAILED)


def _poll_all(context: "Context", chosen: "list[Inbox]") -> int:
    from worker import pipeline

    counts: Counter[str] = Counter()
    messages = failed = 0
    for inbox in chosen:
        label = f"{inbox.account}/{inbox.name}"
        more = True
        while more:
            token = pipeline.claim(context, inbox.id)
            if token is None:
                err.print(f"{label}: another process is reading it just now.", markup=False)
                failed += 1
                break
            polled = pipeline.poll(context, inbox.id, token)
            messages += polled.messages
            more = polled.has_more
            for batch in pipeline.batches(polled.notice_ids):
                counts.update(pipeline.process(context, inbox.id, batch, "command line"))
            if more:
                err.print(f"{label}: {messages} messages looked at…", markup=False)
            if polled.error:
                err.print(f"{label}: {polled.error}", markup=False)
                failed += 1
    for inbox_id, batches in pipeline.sweep(context).items():
        for batch in batches:
            counts.update(pipeline.process(context, inbox_id, batch, "command line"))
    pipeline.drop_sends(context)
    _summary(len(chosen), messages, counts, pipeline.carry(context), failed)
    return failed


def _summary(polled: int, messages: int, counts: "Counter[str]", told_crm: int, failed: int) -> None:
    found = ", ".join(f"{number} {state.replace('_', ' ')}" for state, number in sorted(counts.items())) or "none"
    out.print(f"{polled} inboxes polled ({failed} failed), {messages} new messages looked at; notices: {found}.")
    if told_crm:
        out.print(f"{told_crm} events handed to the CRM.")
