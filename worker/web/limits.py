"""How much a request may bring: routes that stream count for themselves, all others get a body that is bounded."""

from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from worker.web.body import body_of
from worker.web.problems import answer

MOST: Final = 1024 * 1024
SAFE: Final = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
STREAMED: Final = ("/v1/sends", "/doorbells/", "/sign-in/")


class Bounded:
    """Refuses bodies of more than `MOST` bytes before anything reads them; answers are kept by nobody."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request (https://asgi.readthedocs.io/en/latest/specs/www.html)."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        send = _with_safe_headers(send)
        if scope["path"].startswith(STREAMED):
            await self._app(scope, receive, send)
            return
        body = await body_of(Request(scope, receive), MOST)
        if body is None:
            await answer(413, f"More than {MOST:,} bytes: send less at once.")(scope, receive, send)
            return
        rest: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def replay() -> Message:
            return rest.pop() if rest else await receive()

        await self._app(scope, replay, send)


def _with_safe_headers(send: Send) -> Send:
    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in SAFE.items():
                headers.setdefault(name, value)
        await send(message)

    return sent
