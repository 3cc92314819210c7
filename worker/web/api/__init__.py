"""The HTTP API of the CRM's side, version 1: one file for each thing that it is about."""

from collections.abc import Callable

from fastapi import APIRouter

from worker.pipeline import Context
from worker.web.api import bounces, events, inboxes, review, sends, webhooks
from worker.web.callers import Limiter, callers


def router(context: Callable[[], Context], limiter: Limiter | None = None) -> APIRouter:
    """Return all routes under /v1."""
    may = callers(context, limiter or Limiter())
    routes = APIRouter(prefix="/v1")
    for part in (sends, inboxes, bounces, review, events, webhooks):
        routes.include_router(part.router(context, may))
    return routes
