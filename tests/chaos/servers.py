"""A Redis and a PostgreSQL that keep what they are given, and that can be stopped, killed and started again."""

import shutil
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from redis import Redis

from tests.live import needs
from tests.live.processes import free_ports, public_folder, remove, run, start, stop, until
from tests.live.servers import Postgres, _answers_ping, _options, _postgres_folders


@dataclass
class Server:
    """A server's process; `gently` is the signal by which it ends in order, without waiting for its clients."""

    name: str
    port: int
    command: Sequence[str | Path]
    folder: Path
    gently: signal.Signals
    user: str | None = None
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def start(self) -> None:
        self._process = start(self.command, self.folder / f"{self.name}.log", user=self.user)
        until(self.answers, f"{self.name} on port {self.port}")

    def stop(self, sign: signal.Signals | None = None) -> None:
        if self._process is not None:
            stop(self._process, sign or self.gently)
            self._process = None

    def answers(self) -> bool:
        raise NotImplementedError


class RedisServer(Server):
    """A Redis that appends to a file what it is told, as a deployment's does."""

    def answers(self) -> bool:
        return _answers_ping(self.port)

    @contextmanager
    def client(self) -> Iterator[Redis]:
        with Redis(port=self.port, socket_timeout=5) as client:
            yield client


class PostgresServer(Server):
    """A PostgreSQL with fsync on."""

    def answers(self) -> bool:
        return Postgres(self.port).answers()


@contextmanager
def redis_server(name: str) -> Iterator[RedisServer]:
    binary = needs.binary("redis-server")
    (port,) = free_ports(1)
    with ExitStack() as undo:
        folder = public_folder(name)
        undo.callback(remove, folder)
        where = ["--bind", "127.0.0.1", "--port", str(port), "--dir", folder]
        kept = ["--save", "", "--appendonly", "yes", "--appendfsync", "everysec"]
        server = RedisServer(name, port, [binary, *where, *kept], folder, signal.SIGTERM)
        undo.callback(server.stop)
        server.start()
        yield server


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    needs.need_root("PostgreSQL's initdb and server")
    places = _postgres_folders()
    initdb, binary = needs.binary("initdb", places), needs.binary("postgres", places)
    (port,) = free_ports(1)
    with ExitStack() as undo:
        folder = public_folder("chaos-postgres")
        undo.callback(remove, folder)
        shutil.chown(folder, "postgres")
        data = folder / "data"
        run(initdb, "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync", "-D", data, user="postgres")
        where = ["-D", data, "-h", "127.0.0.1", "-k", folder, *_options(port=port)]
        server = PostgresServer("postgres", port, [binary, *where], folder, signal.SIGINT, "postgres")
        undo.callback(server.stop)
        server.start()
        yield server
