"""Errors as problem details (RFC 9457): what happened, and what to do, in one shape for every route."""

from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

MOST_TOLD: Final = 20

TITLES: Final = {
    400: "The request can't be read",
    401: "No valid key",
    403: "This key may not do that",
    404: "There is no such thing",
    405: "Not with this method",
    409: "That contradicts what is known",
    413: "Too large",
    415: "Not in this format",
    422: "The request isn't right",
    429: "Too many requests",
    503: "Not now",
}


class ProblemDetails(BaseModel):
    """What went wrong (RFC 9457): `detail` is a sentence for a person. Further members may follow."""

    type: str
    title: str
    status: int
    detail: str


class Problem(Exception):
    """A request that can't be served; `detail` is a sentence for a person, `more` further members of the answer."""

    def __init__(self, status: int, detail: str, headers: dict[str, str] | None = None, **more: Any) -> None:  # noqa: ANN401 - JSON
        super().__init__(detail)
        self.status, self.detail, self.headers, self.more = status, detail, headers, more


def tell_problems(app: FastAPI) -> None:
    """Have the application answer in this shape, whoever raised the error."""

    @app.exception_handler(Problem)
    async def problem(_: Request, error: Problem) -> JSONResponse:
        return answer(error.status, error.detail, error.headers, **error.more)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        found = error.errors()
        if any(each["type"] == "json_invalid" for each in found):
            return answer(400, "The body is no JSON.")
        errors = [{"where": ".".join(map(str, each["loc"])), "why": each["msg"]} for each in found[:MOST_TOLD]]
        where = errors[0]["where"] if errors else "the request"
        return answer(422, f"{where}: {errors[0]['why'] if errors else 'not right'}.", errors=errors)

    @app.exception_handler(HTTPException)
    async def http(_: Request, error: HTTPException) -> JSONResponse:
        headers = dict(error.headers) if error.headers else None
        return answer(error.status_code, TITLES.get(error.status_code, str(error.detail)) + ".", headers)


def answer(status: int, detail: str, headers: dict[str, str] | None = None, **more: Any) -> JSONResponse:  # noqa: ANN401
    """Return a problem's answer; its type is the status (RFC 9457, 4.2.1)."""
    body = {"type": "about:blank", "title": TITLES.get(status, "Error"), "status": status, "detail": detail, **more}
    return JSONResponse(body, status, headers, media_type="application/problem+json")
