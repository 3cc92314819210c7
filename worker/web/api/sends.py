"""Registering what the CRM sends."""

from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Request
from fastapi.concurrency import run_in_threadpool

from worker import pipeline
from worker.contract import Registered
from worker.intake import InvalidSend, read_line
from worker.keys import Scope
from worker.pipeline import Context
from worker.web.api.shared import PROBLEM, May
from worker.web.body import body_of
from worker.web.callers import Caller
from worker.web.problems import Problem

NDJSON: Final = "application/x-ndjson"
ROWS: Final = 10_000
"""Sends that one request may register."""
AT_ONCE: Final = 1_000
"""Sends in one transaction."""
LINE: Final = 2 * 1024 * 1024
"""Bytes of one send: a thousand recipients, and a subject that somebody pasted a file into."""
BODY_LIMIT: Final = 64 * 1024 * 1024
"""Bytes of a request: ten thousand sends of 6 KB. Lines are read as they come; an array is held as a whole."""

RECIPIENT: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["address"],
    "properties": {
        "address": {"type": "string", "maxLength": 320, "examples": ["bob@customer.example"]},
        "contact_id": {"type": ["string", "null"]},
        "role": {"enum": ["to", "cc", "bcc"], "default": "to"},
    },
}
SEND: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["id", "inbox", "kind", "sent_at", "recipients"],
    "properties": {
        "id": {"type": "string", "description": "The CRM's own id: it makes repeats harmless."},
        "account": {"type": "string", "description": "Must be the key's own, if given."},
        "inbox": {"type": "string"},
        "kind": {"enum": ["one_to_one", "sequence"]},
        "sent_at": {"type": "string", "format": "date-time"},
        "recipients": {"type": "array", "minItems": 1, "items": RECIPIENT},
        **{
            name: {"type": ["string", "null"]}
            for name in (
                *("message_id", "provider_message_id", "thread_id", "tracking_id", "envelope_id", "engagement_id"),
                *("sequence_id", "enrollment_id", "subject", "from"),
            )
        },
    },
}
BODY: Final = {
    "requestBody": {
        "required": True,
        "content": {
            NDJSON: {"schema": {"type": "string", "description": "One send a line."}},
            "application/json": {"schema": {"type": "array", "maxItems": ROWS, "items": SEND}},
        },
    }
}


def router(context: Callable[[], Context], may: May) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(tags=["sends"], responses=PROBLEM)

    @routes.post("/sends", openapi_extra=BODY)
    async def register(request: Request, caller: Annotated[Caller, Depends(may(Scope.SEND))]) -> Registered:
        """Register up to 10,000 sends, one JSON object a line.

        A repeat of an id adds what was missing. What is right is kept; what isn't is listed under `refused`, with its
        row (from 0) and why: one that can't be read, that contradicts what was registered under its id, or that is
        older than sends are kept.
        """
        done = pipeline.Registered()
        chunk: list[tuple[int, object]] = []
        async for row, given in _rows(request):
            if row >= ROWS:
                done += await run_in_threadpool(pipeline.take, context(), chunk, caller.account)
                said = f"More than {ROWS:,} sends: send the others in another request. The first are registered."
                raise Problem(413, said, registered=done.kept)
            chunk.append((row, given))
            if len(chunk) == AT_ONCE:
                done += await run_in_threadpool(pipeline.take, context(), chunk, caller.account)
                chunk = []
        done += await run_in_threadpool(pipeline.take, context(), chunk, caller.account)
        return answer(done)

    return routes


def answer(done: pipeline.Registered) -> Registered:
    """Return what registering came to, as the CRM gets it."""
    return Registered.model_validate(
        {
            "registered": done.kept,
            "refused": [{"row": each.row, "id": each.id, "why": each.why} for each in done.refused],
            "unknown_inboxes": sorted(done.unknown_inboxes),
            "notices_looked_at_again": done.requeued,
        }
    )


async def _rows(request: Request) -> AsyncIterator[tuple[int, object]]:
    """Yield each row with its number: line by line as they come, or out of one array."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/json":
        body = await body_of(request, BODY_LIMIT)
        if body is None:
            raise Problem(413, f"More than {BODY_LIMIT:,} bytes: send fewer at once, or one a line as {NDJSON}.")
        rows = read_line(body)
        if not isinstance(rows, list):
            raise Problem(422, f"Send an array of sends, or one a line as {NDJSON}.")
        for number, each in enumerate(rows):
            yield number, each
        return
    if kind not in (NDJSON, "application/jsonl"):
        raise Problem(415, f"Send {NDJSON}, one send a line, or application/json, an array.")
    number = 0
    async for line in _lines(request):
        if line is None or line.strip():
            yield number, read_line(line) if line is not None else InvalidSend(f"has more than {LINE:,} bytes")
            number += 1


async def _lines(request: Request) -> AsyncIterator[bytes | None]:
    """Yield lines as they come; None for one that is too long to be held."""
    rest = b""
    is_long = False
    total = 0
    async for part in request.stream():
        total += len(part)
        if total > BODY_LIMIT:
            raise Problem(413, f"More than {BODY_LIMIT:,} bytes: send the others in another request.")
        *lines, rest = (rest + part).split(b"\n")
        for line in lines:
            yield None if is_long or len(line) > LINE else line
            is_long = False
        if len(rest) > LINE:
            is_long, rest = True, b""
    yield None if is_long else rest
