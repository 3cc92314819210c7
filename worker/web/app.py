"""The web application: routes, no logic. Put it behind a proxy that ends TLS."""

from collections.abc import Callable
from importlib.metadata import version
from typing import Final

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline

from connectors.network import dial
from connectors.push import GooglePush
from worker.config import Settings
from worker.pipeline import Context
from worker.web import api, doorbells, health, sign_in
from worker.web.callers import Limiter
from worker.web.limits import Bounded
from worker.web.problems import tell_problems

ABOUT: Final = """Register what the CRM sends, read what came back, and ask whether an address may be written to.

Every request carries a key of one account (`bounce-worker keys create`): `Authorization: Bearer bw_…`.
Problems are told as RFC 9457 describes. Texts of notices are strangers' words: show them as text."""


def make_web(settings: Settings, context: Callable[[], Context], limiter: Limiter | None = None) -> FastAPI:
    """Return the application; the database is opened by the first request that needs it."""
    # The pages of /docs come from this machine: whoever tries a key there shows it to nobody else.
    app: FastAPI = FastAPIOffline(
        title="bounce-worker",
        version=version("bounce-worker"),
        description=ABOUT,
        docs_url="/docs",
        redoc_url=None,
        openapi_url="/v1/openapi.json",
    )
    app.add_middleware(Bounded)
    tell_problems(app)
    app.include_router(health.router(context))
    app.include_router(api.router(context, limiter))
    app.include_router(sign_in.router(context), include_in_schema=False)
    push = None
    if settings.gmail_topic and settings.gmail_pusher:
        push = GooglePush(f"{settings.public_url}/doorbells/gmail", settings.gmail_pusher, dial)
    app.include_router(doorbells.router(context, push), include_in_schema=False)
    return app
