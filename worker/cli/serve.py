"""Serving HTTP, in the main thread or beside the worker."""

import socket
import threading
import time
from collections.abc import Callable
from http.client import HTTPConnection, HTTPException
from typing import Final

import uvicorn

from worker.admin import AdminProblem
from worker.config import Settings
from worker.pipeline import Context
from worker.web import make_web

PULSE_SECONDS: Final = 10.0


class Server:
    """An HTTP server whose port is taken at once, so that a taken one is told before anything runs."""

    def __init__(self, settings: Settings, context: Callable[[], Context], host: str, port: int) -> None:
        try:
            self._socket = socket.create_server((host, port), backlog=2048)
        except (OSError, OverflowError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise AdminProblem(f"Port {port} of {host} can't be used ({reason}): choose another with --port.") from None
        self.url = f"http://{host}:{self._socket.getsockname()[1]}"
        web = make_web(settings, context)
        # No access log: addresses hold codes. Who the proxy says is calling decides nothing here.
        config = uvicorn.Config(
            web,
            access_log=False,
            log_level="warning",
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=20,
            timeout_graceful_shutdown=10,
            limit_concurrency=200,
        )
        self._server = uvicorn.Server(config)
        web.state.is_ending = lambda: self._server.should_exit  # whoever waits for events is answered then

    def run(self) -> None:
        """Serve until told to stop: by a signal, in the main thread, or by `stop`."""
        self._server.run(sockets=[self._socket])

    def watch_over(self, progress: Callable[[], None]) -> None:
        """Have a thread ask this server now and then, and call `progress` when it has answered, whatever it said."""
        host, port = self._socket.getsockname()[:2]
        here = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - not bound here, only understood

        def ask() -> None:
            while True:
                try:
                    connection = HTTPConnection(here, port, timeout=PULSE_SECONDS)
                    connection.request("GET", "/v1/health")
                    connection.getresponse().read()
                    connection.close()
                    progress()
                except (OSError, HTTPException):
                    pass  # the mark grows old, and the health check says so
                time.sleep(PULSE_SECONDS)

        threading.Thread(target=ask, name="pulse", daemon=True).start()

    def stop(self) -> None:
        """End in order."""
        self._server.should_exit = True
