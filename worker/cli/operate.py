"""What an operator adds to a deployment: `watch`, and now and then `rekey`."""

import signal
from typing import Annotated

import typer

from worker.cli.process import Metrics, begin
from worker.cli.shared import err, fail, open_context, out, read_settings, told


def rekey() -> None:
    """Encrypt all stored secrets anew with the newest key of BOUNCE_WORKER_KEYS.

    To change keys: put the new key before the old one (BOUNCE_WORKER_KEYS=NEW,OLD), restart all processes, run this
    command, then take the old key away and restart them again.
    """
    from worker import admin

    with told():
        renewed = admin.rekey(open_context())
    out.print(f"{renewed} secrets are encrypted with the newest key; older keys may be taken away now.")


def alive(
    role: Annotated[str, typer.Argument(help="worker, scheduler, watch, web, intake or run.")],
    within: Annotated[float | None, typer.Option(min=0, help="Seconds without progress that are too many.")] = None,
) -> None:
    """Say whether the processes of a role on this machine make progress; exit 1 where they don't. For health checks.

    Example: bounce-worker alive worker
    """
    from worker.alive import LIMITS, health

    if role not in LIMITS:
        raise typer.BadParameter(f"{role!r} is none of {', '.join(LIMITS)}.")
    with told():
        found = health(read_settings().marks, role, within)
    if not found.is_alive:
        fail(found.said)
    out.print(found.said)


def watch(metrics: Metrics = None) -> None:
    """Hold a connection to each IMAP inbox whose server tells of new mail (IDLE), and have it polled at once.

    It runs beside the workers and schedulers. It reads no mail: should it stop, polling finds everything, only later.
    """
    from worker.watch import Watch
    from worker.wiring import make_context

    with told(), begin("watch", metrics) as process:
        context = make_context(process.settings)
        process.serve_metrics()

        def tell(number: int) -> None:
            err.print(f"Watching {number} inboxes.")

        watch = Watch(context, tell=tell, progress=process.mark.touch)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: watch.stop())
        watch.run()
