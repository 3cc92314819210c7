"""Serving HTTP, in the main thread or beside the worker."""

import socket
from collections.abc import Callable

import uvicorn

from worker.admin import AdminProblem
from worker.config import Settings
from worker.pipeline import Context
from worker.web import make_web


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

    def stop(self) -> None:
        """End in order."""
        self._server.should_exit = True
