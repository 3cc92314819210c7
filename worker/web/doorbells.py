"""Providers ring here. Whoever can't prove who they are learns nothing and changes nothing."""

import json
from collections.abc import Callable
from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, Request, Response
from fastapi.concurrency import run_in_threadpool

from connectors import ConnectorError
from connectors.push import GooglePush, mailbox_of
from worker.pipeline import Call, Context, gmail_called, graph_called
from worker.web.body import body_of

BODY_LIMIT: Final = 256 * 1024
"""Bytes: Graph sends up to a thousand notifications in a body, of some 200 bytes each."""
TOKEN_LIMIT: Final = 1024
PLAIN: Final = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}


def router(context: Callable[[], Context], push: GooglePush | None) -> APIRouter:
    """Return the routes; without `push` nobody can prove to be Gmail."""
    routes = APIRouter(prefix="/doorbells")

    @routes.post("/graph")
    async def graph(request: Request) -> Response:
        """Take Graph's notifications, and echo the token by which it makes sure that we are here.

        https://learn.microsoft.com/graph/change-notifications-delivery-webhooks
        """
        token = request.query_params.get("validationToken")
        if token is not None:
            return Response(token[:TOKEN_LIMIT], media_type="text/plain", headers=PLAIN)
        body = await body_of(request, BODY_LIMIT)
        if body is None:
            return Response(status_code=413)
        calls = graph_calls(body)
        if calls:
            await run_in_threadpool(lambda: graph_called(context(), calls))
        return Response(status_code=202)

    @routes.post("/gmail")
    async def gmail(request: Request, authorization: Annotated[str, Header()] = "") -> Response:
        """Take Pub/Sub's pushes (https://cloud.google.com/pubsub/docs/push)."""
        body = await body_of(request, BODY_LIMIT)
        if body is None:
            return Response(status_code=413)
        try:
            if push is None or not await run_in_threadpool(push.is_genuine, authorization):
                return Response(status_code=401)
        except ConnectorError:
            return Response(status_code=503)  # Pub/Sub will push again
        address = mailbox_of(body)
        if address is not None:
            await run_in_threadpool(lambda: gmail_called(context(), [address]))
        return Response(status_code=204)  # what can't be read would not be better the next time

    return routes


def graph_calls(body: bytes) -> list[Call]:
    """Read a collection of notifications; what isn't one is left out."""
    try:
        value: Any = json.loads(body)["value"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return []
    calls = []
    for each in value if isinstance(value, list) else []:
        if not isinstance(each, dict):
            continue
        subscription, secret, lifecycle = (each.get(k) for k in ("subscriptionId", "clientState", "lifecycleEvent"))
        if isinstance(subscription, str) and isinstance(secret, str):
            calls.append(Call(subscription=subscription, secret=secret, lifecycle=lifecycle))
    return calls
