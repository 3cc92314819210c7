"""Throw-away Redis and PostgreSQL on loopback."""

import itertools
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg

from tests.live import needs
from tests.live.processes import free_ports, public_folder, remove, run, start, stop, until


@contextmanager
def redis_server() -> Iterator[str]:
    """A Redis that keeps nothing on disk; yields its URL."""
    server_binary = needs.binary("redis-server")
    (port,) = free_ports(1)
    with ExitStack() as undo:
        folder = public_folder("redis")
        undo.callback(remove, folder)
        where = ["--bind", "127.0.0.1", "--port", str(port), "--dir", folder]
        server = start([server_binary, *where, "--save", "", "--appendonly", "no"], folder / "redis.log")
        undo.callback(stop, server)
        until(lambda: _answers_ping(port), f"Redis on port {port}")
        yield f"redis://127.0.0.1:{port}/0"


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
    """A PostgreSQL cluster in a temporary folder, run as the user postgres: it refuses to be root.

    Its disk doesn't matter, unless it is `durable`, as one in production is: what is measured needs that.
    """
    needs.need_root("PostgreSQL's initdb and server")
    places = _postgres_folders()
    initdb, server_binary = needs.binary("initdb", places), needs.binary("postgres", places)
    (port,) = free_ports(1)
    with ExitStack() as undo:
        folder = public_folder("postgres")
        undo.callback(remove, folder)
        shutil.chown(folder, "postgres")
        data = folder / "data"
        run(initdb, "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync", "-D", data, user="postgres")
        kept = {"shared_buffers": "1GB", "max_wal_size": "4GB"}
        careless = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
        options = _options(port=port, **(kept if durable else careless))
        where = ["-D", data, "-h", "127.0.0.1", "-k", folder]
        server = start([server_binary, *where, *options], folder / "postgres.log", user="postgres")
        # SIGINT is a fast shutdown; SIGTERM would wait for every client that a test forgot.
        undo.callback(stop, server, signal.SIGINT)
        postgres = Postgres(port)
        until(postgres.answers, f"PostgreSQL on port {port}")
        yield postgres


def _options(**settings: object) -> list[str]:
    return [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]


def _postgres_folders() -> list[Path]:
    """Return where PostgreSQL's own tools may be: Debian keeps them out of PATH, the newest version last."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    if config := shutil.which("pg_config"):
        told = subprocess.run([config, "--bindir"], capture_output=True, text=True, check=True).stdout.strip()
        folders.insert(0, Path(told))
    return folders
