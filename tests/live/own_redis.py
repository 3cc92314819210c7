"""A Redis that a test may stop and start again; what it held is gone then."""

from pathlib import Path

from tests.live.needs import binary
from tests.live.processes import free_ports, listens, start, stop, until


class OwnRedis:
    """A Redis that a test may stop and start again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._binary = binary("redis-server")
        (self._port,) = free_ports(1)
        self.url = f"redis://127.0.0.1:{self._port}/0"
        self.start()

    def start(self) -> None:
        where = ["--bind", "127.0.0.1", "--port", str(self._port), "--dir", self._folder, "--save", ""]
        self._server = start([self._binary, *where], self._folder / "redis.out")
        until(lambda: listens(self._port), "Redis")

    def stop(self) -> None:
        stop(self._server)
