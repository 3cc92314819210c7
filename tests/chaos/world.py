"""A whole deployment on loopback, with a proxy before each server that it speaks to."""

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Final, Self

from celery import Celery
from kombu.exceptions import OperationalError
from redis import Redis

from tests.chaos.clock import Clock
from tests.chaos.fleet import PROGRAM, ROOT, Fleet
from tests.chaos.letters import INBOXES, Letter
from tests.chaos.observe import QUEUE, Observer
from tests.chaos.oracle import Seen
from tests.chaos.orders import Orders
from tests.chaos.post import Post
from tests.chaos.process import FOLDER, PLANT
from tests.chaos.proxy import Proxy
from tests.fakes.receiver import Receiver
from tests.live.mailstack import MailStack
from tests.live.servers import Postgres, postgres_cluster, redis_process
from worker.crm_intake import REGISTER
from worker.store.keyring import new_key

POLL_SECONDS: Final = 30  # one second by the run's clock
TRIES: Final = 20
"""How often a CRM repeats what it couldn't register."""


class World:
    """Everything that runs, from `with` to its end."""

    def __init__(self, plant: str | None = None) -> None:
        self._plant = plant
        self._undo = ExitStack()
        self.folder = Path(tempfile.mkdtemp(prefix="bounce-chaos-"))
        self.orders = Orders(self.folder)
        self.clock = Clock(self.folder / "clock.json")

    def __enter__(self) -> Self:
        with ExitStack() as undo:
            undo.callback(shutil.rmtree, self.folder, ignore_errors=True)
            self.orders.prepare()
            self.clock.start()
            self.mail = undo.enter_context(MailStack())
            self.addresses = {
                (account, name): self.mail.fresh_inbox() for account, names in INBOXES.items() for name in names
            }
            self.post = Post(self.mail, self.addresses)
            self.postgres = undo.enter_context(postgres_cluster("chaos-postgres"))
            self.redis = undo.enter_context(redis_process("chaos-redis", keeps=True))
            self.crm = undo.enter_context(redis_process("chaos-crm-redis", keeps=True))
            self.receivers = {account: undo.enter_context(Receiver()) for account in INBOXES}
            self.proxies = {
                name: undo.enter_context(Proxy(name, port))
                for name, port in (
                    ("imap", self.mail.ports.imap),
                    ("postgres", self.postgres.port),
                    ("redis", self.redis.port),
                    ("crm", self.crm.port),
                    *((account, receiver.port) for account, receiver in self.receivers.items()),
                )
            }
            self._deploy(undo)
            self._undo = undo.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._undo.close()

    def run(self, *arguments: str, given: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command of the product to its end, with fault points, in a session of its own."""
        return subprocess.run(
            [*PROGRAM, *arguments],
            env=self.environment,
            cwd=ROOT,
            input=given,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
            start_new_session=True,
        )

    def register(self, sends: Sequence[dict[str, Any]]) -> None:
        """Register sends by command, and again until it is said to be done: as a CRM does whose worker was killed."""
        lines = "".join(json.dumps(send) + "\n" for send in sends)
        for _ in range(TRIES):
            done = self.run("sends", "import", "-", given=lines)
            if done.returncode == 0:
                return
        raise AssertionError(f"Sends can't be registered: {done.stdout}{done.stderr}")

    def register_by_queue(self, sends: Sequence[dict[str, Any]]) -> None:
        """Register sends by the CRM's own queue, as its application does."""
        with Celery("crm", broker=self.crm.url, set_as_current=False) as app:
            for _ in range(TRIES):
                with suppress(OperationalError):
                    app.send_task(REGISTER, args=[list(sends)], queue="bounce-sends", serializer="json", retry=False)
                    return
                time.sleep(1.0)  # its Redis is away; sends that were taken twice are registered once
        raise AssertionError("Sends can't be put in the CRM's queue.")

    def deliver(self, letters: Iterable[Letter]) -> None:
        self.post.deliver(letters)

    def seen(self) -> Seen:
        with Redis(port=self.crm.port, socket_timeout=10) as crm:
            return self.observer.seen(self.receivers, crm, self.post.flags())

    def _deploy(self, undo: ExitStack) -> None:
        database = "chaos"
        Postgres(self.postgres.port)._do(f"CREATE DATABASE {database} TEMPLATE template0")
        self.environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "HOME": str(self.folder),
            "COLUMNS": "200",
            "PASSWORD": self.mail.password,
            "DATABASE_URL": f"postgresql://postgres@127.0.0.1:{self.proxies['postgres'].port}/{database}",
            "REDIS_URL": f"redis://127.0.0.1:{self.proxies['redis'].port}/0",
            "BOUNCE_WORKER_DATA": str(self.folder / "data"),
            "BOUNCE_WORKER_KEYS": new_key(),
            "BOUNCE_WORKER_POLL_SECONDS": str(POLL_SECONDS),
            "BOUNCE_WORKER_CRM_BROKER": f"redis://127.0.0.1:{self.proxies['crm'].port}/0",
            "BOUNCE_WORKER_CRM_TASK": "crm.events",
            "BOUNCE_WORKER_CRM_QUEUE": QUEUE,
            FOLDER: str(self.folder),
            **({PLANT: self._plant} if self._plant else {}),
        }
        inboxes = self.folder / "inboxes.toml"
        inboxes.write_text(self._declared())
        self._done("apply", str(inboxes))
        for account, receiver in self.receivers.items():
            url = f"http://127.0.0.1:{self.proxies[account].port}/bounces"
            added = json.loads(self._done("webhooks", "add", url, "--account", account, "--json"))
            receiver.secrets = [added["secret"]]
        direct = Postgres(self.postgres.port).url(database)
        self.observer = Observer(direct, self.environment["BOUNCE_WORKER_KEYS"], self.clock)
        undo.callback(self.observer.close)
        self.fleet = undo.enter_context(Fleet(self.folder, self.environment))

    def _done(self, *arguments: str) -> str:
        done = self.run(*arguments)
        assert done.returncode == 0, f"{arguments}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def _declared(self) -> str:
        accounts = "".join(f'[[account]]\nname = "{account}"\n' for account in INBOXES)
        port = self.proxies["imap"].port
        how = f'host = "127.0.0.1", port = {port}, security = "none", connect_timeout = 2.0, read_timeout = 3.0'
        return accounts + "".join(
            f'[[inbox]]\naccount = "{account}"\nname = "{name}"\naddress = "{address}"\nprovider = "imap"\n'
            f'password_env = "PASSWORD"\nsince = 2026-01-01\nsettings = {{{how}, username = "{address}"}}\n'
            for (account, name), address in self.addresses.items()
        )
