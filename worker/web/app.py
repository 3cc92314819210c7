"""The web application: routes, no logic. Put it behind a proxy that ends TLS."""

from collections.abc import Callable

from fastapi import FastAPI

from connectors.network import dial
from connectors.push import GooglePush
from worker.config import Settings
from worker.pipeline import Context
from worker.web import doorbells, sign_in


def make_web(settings: Settings, context: Callable[[], Context]) -> FastAPI:
    """Return the application; the database is opened by the first request that needs it."""
    app = FastAPI(title="bounce-worker", docs_url=None, redoc_url=None, openapi_url=None)
    app.include_router(sign_in.router(context))
    push = None
    if settings.gmail_topic and settings.gmail_pusher:
        push = GooglePush(f"{settings.public_url}/doorbells/gmail", settings.gmail_pusher, dial)
    app.include_router(doorbells.router(context, push))
    return app
