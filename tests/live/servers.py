"""Throw-away Redis and PostgreSQL on loopback."""

import itertools
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from tests.live import needs
from tests.live.processes import free_ports, public_folder, remove, run, start, stop, until


@dataclass
class Server:
    """A server's process, that can be stopped, killed and started again.

    `gently` is the signal by which it ends in order, without waiting for its clients.
    """

    name: str
    port: int
    command: Sequence[str | Path]
    folder: Path
    answers: Callable[[], bool]
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


@contextmanager
def redis_server() -> Iterator[str]:
    """A Redis that keeps nothing on disk; yields its URL."""
    with redis_process("redis") as server:
        yield server.url


class RedisServer(Server):
    """A Redis."""

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"


@contextmanager
def redis_process(name: str, *, keeps: bool = False) -> Iterator[RedisServer]:
    """A Redis in a temporary folder, started. What it holds outlives it where it `keeps` it in a file, as deployed."""
    binary = needs.binary("redis-server")
    (port,) = free_ports(1)
    with ExitStack() as undo:
        folder = public_folder(name)
        undo.callback(remove, folder)
        where = ["--bind", "127.0.0.1", "--port", str(port), "--dir", folder]
        kept = ["--appendonly", "yes", "--appendfsync", "everysec"] if keeps else ["--appendonly", "no"]
        command = [binary, *where, "--save", "", *kept]
        server = RedisServer(name, port, command, folder, lambda: _answers_ping(port), signal.SIGTERM)
        undo.callback(server.stop)
        server.start()
        yield server


def _answers_ping(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), 0.5) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith(b"+PONG")
    except OSError:
        return False


class Postgres:
    """A PostgreSQL. Each `fresh_database` is empty, or a copy of another."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._numbers = itertools.count(1)

    def url(self, database: str) -> str:
        return f"postgresql://postgres@127.0.0.1:{self._port}/{database}"

    @contextmanager
    def fresh_database(self, copy_of: str | None = None) -> Iterator[str]:
        """Yields the URL of a database that is dropped afterwards, whoever is still connected."""
        name = f"test_{next(self._numbers)}"
        template = copy_of.rpartition("/")[2] if copy_of else "template0"
        self._do(f"CREATE DATABASE {name} TEMPLATE {template}")
        try:
            yield self.url(name)
        finally:
            self._do(f"DROP DATABASE {name} WITH (FORCE)")

    def _do(self, statement: str) -> None:
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(statement)

    def answers(self) -> bool:
        try:
            psycopg.connect(self.url("postgres"), connect_timeout=1).close()
        except psycopg.OperationalError:
            return False
        return True


@contextmanager
def postgres_server(*, durable: bool = False) -> Iterator[Postgres]:
    """A PostgreSQL. Its disk doesn't matter, unless it is `durable`, as in production: what is measured needs that."""
    kept = {"shared_buffers": "1GB", "max_wal_size": "4GB"}
    careless = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
    with postgres_cluster("postgres", **(kept if durable else careless)) as server:
        yield Postgres(server.port)


@contextmanager
def postgres_cluster(name: str, **settings: object) -> Iterator[Server]:
    """A cluster in a temporary folder, started; it runs as the user postgres, for it refuses to be root."""
    needs.need_root("PostgreSQL's initdb and server")
    places = _postgres_folders()
    initdb, binary = needs.binary("initdb", places), needs.binary("postgres", places)
    (port,) = free_ports(1)
    with ExitStack() as undo:
        folder = public_folder(name)
        undo.callback(remove, folder)
        shutil.chown(folder, "postgres")
        data = folder / "data"
        run(initdb, "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync", "-D", data, user="postgres")
        command = [binary, "-D", data, "-h", "127.0.0.1", "-k", folder, *_options(port=port, **settings)]
        # SIGINT is a fast shutdown; SIGTERM would wait for every client that a test forgot.
        server = Server(name, port, command, folder, Postgres(port).answers, signal.SIGINT, "postgres")
        undo.callback(server.stop)
        server.start()
        yield server


def _options(**settings: object) -> list[str]:
    return [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]


def _postgres_folders() -> list[Path]:
    """Return where PostgreSQL's own tools may be: Debian keeps them out of PATH, the newest version last."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    if config := shutil.which("pg_config"):
        told = subprocess.run([config, "--bindir"], capture_output=True, text=True, check=True).stdout.strip()
        folders.insert(0, Path(told))
    return folders
