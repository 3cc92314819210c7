"""The feed of events: for a CRM that would rather ask than be called."""

import asyncio
from collections.abc import Callable
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Query, Request
from fastapi.concurrency import run_in_threadpool

from worker.contract import EVENTS, Event, Model, Schema, json_schema
from worker.keys import Scope
from worker.pipeline import Context
from worker.store import outbox
from worker.store.database import reading
from worker.web.api.shared import PAGE, PROBLEM, After, Limit, May, Name, cursor, position
from worker.web.callers import Caller
from worker.web.problems import Problem

LOOK_EVERY: Final = 0.5
"""Seconds between two looks while a caller waits."""
LONGEST: Final = 30


class Feed(Model):
    """Events; `next` goes into `after` once they are worked off, also where there are none."""

    schema_: Schema = 1
    data: list[Event]
    next: str


def router(context: Callable[[], Context], may: May) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(tags=["events"], responses=PROBLEM)
    Reader = Annotated[Caller, Depends(may(Scope.READ))]  # noqa: N806 - a type

    @routes.get("/events")
    async def events(
        request: Request,
        caller: Reader,
        after: After = None,
        limit: Limit = PAGE,
        wait: Annotated[int, Query(ge=0, le=LONGEST, description="Seconds to wait for the first event.")] = 0,
    ) -> Feed:
        """What happened after a position, oldest first. Keep `next` once you have worked off `data`, and ask with it.

        At least once: an event may come again, with the same `id`.
        """
        start = _number(position(after))
        for look in range(max(1, int(wait / LOOK_EVERY))):
            if look:
                await asyncio.sleep(LOOK_EVERY)
            rows = await run_in_threadpool(_read, context(), caller.account, start, limit)
            if rows or await _nobody_waits(request):
                break
        following = cursor(str(rows[-1][0] if rows else start))
        return Feed.model_validate({"data": [payload for _, payload in rows], "next": following})

    @routes.get("/event-schemas/{event_type}")
    def schema(event_type: Name, _: Reader) -> dict[str, Any]:
        """The JSON schema of one type of event."""
        if event_type not in EVENTS:
            raise Problem(404, f"There is no event {event_type}: there are {', '.join(EVENTS)}.")
        return json_schema(event_type)

    return routes


async def _nobody_waits(request: Request) -> bool:
    """Whether the caller has gone, or is better told at once because the server ends: `worker.cli.serve` knows."""
    is_ending: Callable[[], bool] | None = getattr(request.app.state, "is_ending", None)
    return bool(is_ending and is_ending()) or await request.is_disconnected()


def _number(text: str | None) -> int:
    if text is None:
        return 0
    if not text.isdigit() or len(text) > 18:
        raise Problem(400, "`after` is the `next` of an earlier answer, and nothing else.")
    return int(text)


def _read(context: Context, account: str, after: int, limit: int) -> list[tuple[int, dict[str, Any]]]:
    with reading(context.engine) as connection:
        return outbox.feed(connection, account, after, limit)
