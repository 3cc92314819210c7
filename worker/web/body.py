"""Bodies of requests, bounded."""

from fastapi import Request
from starlette.requests import ClientDisconnect


async def body_of(request: Request, limit: int) -> bytes | None:
    """Return the body, or None where it has more than `limit` bytes, or nobody waits for an answer any more."""
    body = b""
    try:
        async for part in request.stream():
            body += part
            if len(body) > limit:
                return None
    except ClientDisconnect:
        return None
    return body
