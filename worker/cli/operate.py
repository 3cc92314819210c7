"""What an operator does now and then: `rekey`."""

from worker.cli.shared import open_context, out, told


def rekey() -> None:
    """Encrypt all stored secrets anew with the newest key of BOUNCE_WORKER_KEYS.

    To change keys: put the new key before the old one (BOUNCE_WORKER_KEYS=NEW,OLD), restart all processes, run this
    command, then take the old key away and restart them again.
    """
    from worker import admin

    with told():
        renewed = admin.rekey(open_context())
    out.print(f"{renewed} secrets are encrypted with the newest key; older keys may be taken away now.")
