"""Registering what the CRM sends."""

import json
from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Request
from fastapi.concurrency import run_in_threadpool

from worker import pipeline
from worker.domain import SentEmail
from worker.intake import InvalidSend, parse_send
from worker.keys import Scope
from worker.pipeline import Context
from worker.web.api.shared import PROBLEM, May
from worker.web.callers import Caller
from worker.web.problems import Problem

ROWS: Final = 10_000
"""Sends that one request may register."""
AT_ONCE: Final = 1_000
"""Sends in one transaction."""
LINE: Final = 256 * 1024
"""Bytes of one send: a thousand recipients and a long subject."""

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
            "application/x-ndjson": {"schema": {"type": "string", "description": "One send a line."}},
            "application/json": {"schema": {"type": "array", "maxItems": ROWS, "items": SEND}},
        },
    }
}


def router(context: Callable[[], Context], may: May) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(tags=["sends"], responses=PROBLEM)

    @routes.post("/sends", openapi_extra=BODY)
    async def register(request: Request, caller: Annotated[Caller, Depends(may(Scope.SEND))]) -> dict[str, Any]:
        """Register up to 10,000 sends, one JSON object a line. A repeat of an id changes nothing but what it adds.

        What is right is kept; what isn't is listed under `refused`, with its row (from 0) and why.
        """
        batch: list[SentEmail] = []
        refused: list[dict[str, Any]] = []
        registered = requeued = 0
        async for row, given in _rows(request):
            if row >= ROWS:
                raise Problem(413, f"More than {ROWS:,} sends: send the others in another request. The first are kept.")
            try:
                batch.append(_send(given, caller))
            except InvalidSend as problem:
                name = given.get("id") if isinstance(given, dict) else None
                refused.append({"row": row, "id": name if isinstance(name, str) else None, "why": f"It {problem}."})
            if len(batch) == AT_ONCE:
                requeued += await run_in_threadpool(pipeline.register, context(), batch)
                registered += len(batch)
                batch = []
        requeued += await run_in_threadpool(pipeline.register, context(), batch)
        return {
            "schema": 1,
            "registered": registered + len(batch),
            "refused": refused,
            "notices_looked_at_again": requeued,
        }

    return routes


def _send(given: object, caller: Caller) -> SentEmail:
    if not isinstance(given, dict):
        raise InvalidSend("must be a JSON object")
    if given.get("account") not in (None, caller.account):
        raise InvalidSend(f"names the account {given['account']!r}, and the key is of {caller.account!r}"[:500])
    return parse_send(given | {"account": caller.account})


async def _rows(request: Request) -> AsyncIterator[tuple[int, object]]:
    """Yield each row with its number: line by line as they come, or out of one array."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/json":
        rows = _json(await request.body())
        if not isinstance(rows, list):
            raise Problem(422, "Send an array of sends, or one a line as application/x-ndjson.")
        for number, each in enumerate(rows):
            yield number, each
        return
    if kind not in ("application/x-ndjson", "application/jsonl"):
        raise Problem(415, "Send application/x-ndjson, one send a line, or application/json, an array.")
    number = 0
    async for line in _lines(request):
        if line.strip():
            yield number, _json(line)
            number += 1


async def _lines(request: Request) -> AsyncIterator[bytes]:
    rest = b""
    async for part in request.stream():
        *lines, rest = (rest + part).split(b"\n")
        for line in lines:
            yield line
        if len(rest) > LINE:
            raise Problem(413, f"A line has more than {LINE:,} bytes: one send is one line.")
    yield rest


def _json(text: bytes) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None  # no object: refused with its row
