"""What an operator adds to a deployment: `watch`, and now and then `rekey`."""

import signal

from worker.cli.shared import err, open_context, out, told


def rekey() -> None:
    """Encrypt all stored secrets anew with the newest key of BOUNCE_WORKER_KEYS.

    To change keys: put the new key before the old one (BOUNCE_WORKER_KEYS=NEW,OLD), restart all processes, run this
    command, then take the old key away and restart them again.
    """
    from worker import admin

    with told():
        renewed = admin.rekey(open_context())
    out.print(f"{renewed} secrets are encrypted with the newest key; older keys may be taken away now.")


def watch() -> None:
    """Hold a connection to each IMAP inbox whose server tells of new mail (IDLE), and have it polled at once.

    It runs beside the workers and schedulers. It reads no mail: should it stop, polling finds everything, only later.
    """
    from worker.watch import Watch

    with told():
        context = open_context()
    watch = Watch(context, tell=lambda number: err.print(f"Watching {number} inboxes."))
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: watch.stop())
    watch.run()
