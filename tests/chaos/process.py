"""`bounce-worker` with fault points: ``CHAOS=folder python -m tests.chaos.process worker``.

What the product leaves to the machine's clock is shortened here by about as much as `tests.chaos.clock` speeds up the
rest: Redis' visibility timeout from 900 to 15 seconds, the wait for its answers from 30 to 4, the time a webhook's
receiver has from 15 to 2, the scheduler's ticks from 1 to 0.25 and its sweeps from 15 to 2. IMAP's timeouts are
settings of the run's inboxes.
"""

import os
import sys
from pathlib import Path

from tests.chaos import planted
from tests.chaos.clock import Clock
from tests.chaos.hooks import Hooks
from tests.chaos.orders import Orders
from worker import app, crm_intake, tasks
from worker.cli import main
from worker.notify import webhook

FOLDER = "CHAOS"
PLANT = "CHAOS_PLANT"


def shorten() -> None:
    crm_intake.SOCKET["socket_timeout"] = 4
    app.REDIS["broker_transport_options"] |= {
        "visibility_timeout": 15, "unacked_restore_interval": 2, "socket_timeout": 4, "health_check_interval": 3
    }  # fmt: skip
    webhook.CALL_LIMIT = 2.0
    tasks.TICK_SECONDS = 0.25
    tasks.SWEEP_SECONDS = 2.0


if __name__ == "__main__":
    folder = Path(os.environ[FOLDER])
    shorten()
    for name in filter(None, os.environ.get(PLANT, "").split(",")):
        planted.PLANTS[name]()
    Hooks(Orders(folder), Clock(folder / "clock.json")).install()
    sys.argv[0] = "bounce-worker"
    main()
