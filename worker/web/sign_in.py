"""Where a person's browser comes back to after signing in at Google or Microsoft."""

from collections.abc import Callable, Mapping
from html import escape
from typing import Final
from urllib.parse import parse_qsl

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse

from connectors import ConnectorError
from worker import admin
from worker.pipeline import Context
from worker.web.body import body_of

FORM_LIMIT: Final = 64 * 1024
"""Bytes: a code of Microsoft's has some two thousand, an id token as many."""
PAGE: Final = """<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>
<body style="font-family: system-ui; max-width: 40rem; margin: 4rem auto"><h1>{title}</h1><p>{text}</p></body></html>"""
SAFE: Final = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
    "Referrer-Policy": "no-referrer",  # the address holds the code
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
}


def router(context: Callable[[], Context]) -> APIRouter:
    """Return the route that `begin_sign_in` names."""
    routes = APIRouter()

    @routes.get("/sign-in/callback")
    async def by_address(request: Request) -> HTMLResponse:
        return await _finish(context, dict(request.query_params))

    @routes.post("/sign-in/callback")
    async def by_form(request: Request) -> HTMLResponse:
        body = await body_of(request, FORM_LIMIT)
        if body is None:
            return _page("That didn't work", "What came back is too large.", 413)
        return await _finish(context, dict(parse_qsl(body.decode("utf-8", "replace"))))

    return routes


async def _finish(context: Callable[[], Context], answer: Mapping[str, str]) -> HTMLResponse:
    try:
        inbox = await run_in_threadpool(lambda: admin.finish_sign_in(context(), answer))
    except (admin.AdminProblem, ConnectorError) as problem:
        return _page("That didn't work", str(problem), 400)
    return _page("Connected", f"The inbox {inbox.name} ({inbox.address}) is read again. You can close this page.")


def _page(title: str, text: str, status: int = 200) -> HTMLResponse:
    return HTMLResponse(PAGE.format(title=escape(title), text=escape(text)), status_code=status, headers=SAFE)
