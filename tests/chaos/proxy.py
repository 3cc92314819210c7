"""A TCP proxy on loopback whose connections can be cut, cut in the middle of an answer, held and slowed down."""

import socket
import struct
import threading
from contextlib import suppress
from typing import Final, Self

CHUNK: Final = 65_536
RESET: Final = struct.pack("ii", 1, 0)  # SO_LINGER: close with a reset, as a dying server does


class Proxy:
    """Passes on what is said at `port` to `behind`, for as long as it is let."""

    def __init__(self, name: str, behind: int) -> None:
        self.name = name
        self._behind = behind
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listening.getsockname()[1]
        self._lock = threading.Lock()
        self._pairs: set[_Pair] = set()
        self._flows = threading.Event()
        self._flows.set()
        self.delay = 0.0
        self.refuses = False
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self.go_on()
        self.cut()

    def cut(self, after: int = 0) -> int:
        """Break all connections, each after so many more bytes of answers; return how many there were."""
        with self._lock:
            pairs = list(self._pairs)
        for pair in pairs:
            pair.cut(after)
        return len(pairs)

    def forget(self) -> int:
        """Say nothing on any connection that there is, ever again, and leave it open; return how many those are.

        So it is behind a firewall that was restarted: whoever waits for an answer must give up by himself.
        """
        with self._lock:
            pairs = list(self._pairs)
        for pair in pairs:
            pair.is_forgotten = True
        return len(pairs)

    def hold(self) -> None:
        """Pass nothing on any more, and say nothing of it."""
        self._flows.clear()

    def go_on(self) -> None:
        self._flows.set()
        self.delay = 0.0
        self.refuses = False

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:  # closed
                return
            if self.refuses:
                _reset(client)
                continue
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(("127.0.0.1", self._behind), 5)
        except OSError:
            _reset(client)
            return
        server.settimeout(None)
        for each in (client, server):
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        pair = _Pair(client, server)
        with self._lock:
            self._pairs.add(pair)
        back = threading.Thread(target=self._pass_on, args=(pair, server, client), daemon=True)
        back.start()
        self._pass_on(pair, client, server)
        back.join()
        pair.close()
        with self._lock:
            self._pairs.discard(pair)

    def _pass_on(self, pair: "_Pair", one: socket.socket, other: socket.socket) -> None:
        try:
            while data := one.recv(CHUNK):
                self._flows.wait()
                if pair.is_forgotten:
                    continue
                if self.delay:
                    # What is slow is slow by the clock: there is nothing to wait for.
                    threading.Event().wait(self.delay)
                if one is pair.server:
                    data = pair.allowed(data)
                other.sendall(data)
                if pair.is_spent:
                    pair.cut()
            other.shutdown(socket.SHUT_WR)
        except OSError:
            pair.cut()  # or the other side would wait for ever for one that is gone


class _Pair:
    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.client = client
        self.server = server
        self.is_forgotten = False
        self._left: int | None = None  # bytes of answers until the line is dead

    @property
    def is_spent(self) -> bool:
        return self._left == 0

    def allowed(self, data: bytes) -> bytes:
        if self._left is not None:
            data = data[: self._left]
            self._left -= len(data)
        return data

    def cut(self, after: int = 0) -> None:
        self._left = after
        if not after:
            for each in (self.client, self.server):
                with suppress(OSError):
                    each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                    each.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.client.close()
        self.server.close()


def _reset(client: socket.socket) -> None:
    with suppress(OSError):
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    client.close()
