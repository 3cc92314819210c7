"""What the routes share: the makers of their dependencies, pages, and how a problem of ours becomes one of theirs."""

import base64
import binascii
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Annotated, Any, Final, Generic, Self, TypeVar

from fastapi import Path, Query
from pydantic import Field

from connectors import ConnectorError
from worker.admin import AdminProblem
from worker.contract import Model, Schema
from worker.keys import Scope
from worker.web.callers import Caller
from worker.web.problems import Problem, ProblemDetails

May = Callable[[Scope], Callable[..., Caller]]

PAGE: Final = 100
MOST: Final = 1_000

Limit = Annotated[int, Query(ge=1, le=MOST, description="How many entries at most.")]
After = Annotated[str | None, Query(max_length=500, description="The `next` of the page before.")]
Name = Annotated[str, Path(min_length=1, max_length=255)]
Address = Annotated[str, Field(max_length=320, examples=["bob@customer.example"])]
Why = Annotated[str, Field(min_length=1, max_length=1_000)]

PROBLEM: Final[dict[int | str, dict[str, Any]]] = {
    status: {
        "description": what,
        "model": ProblemDetails,
        "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/ProblemDetails"}}},
    }
    for status, what in {
        400: "It can't be read",
        401: "No valid key",
        403: "The key lacks the scope",
        404: "Not there",
        413: "Too large",
        422: "Not right",
        429: "Too many requests",
    }.items()
}
"""The problems (RFC 9457) that any route may answer with."""

T = TypeVar("T", bound=Model)


class Rows(Model, Generic[T]):
    """All that there is."""

    schema_: Schema = 1
    data: list[T]

    @classmethod
    def of(cls, rows: Iterable[Mapping[str, Any]]) -> Self:
        """Return rows as an answer."""
        return cls.model_validate({"data": list(rows)})


class Page(Model, Generic[T]):
    """A page; `next` goes into `after` for the following one, and is null on the last."""

    schema_: Schema = 1
    data: list[T]
    next: str | None

    @classmethod
    def of(cls, rows: Sequence[Mapping[str, Any]], limit: int, key: Callable[[Mapping[str, Any]], str]) -> Self:
        """Return one page; the caller asked for one row more than `limit`, which tells whether there is another."""
        shown = list(rows[:limit])
        return cls.model_validate({"data": shown, "next": cursor(key(shown[-1])) if len(rows) > limit else None})


@contextmanager
def told(status: int = 422) -> Iterator[None]:
    """Turn a problem that a person can solve into its answer."""
    try:
        yield
    except (AdminProblem, ConnectorError) as problem:
        raise Problem(status, str(problem)) from None


def cursor(position: str) -> str:
    """Return a position as callers carry it: opaque, so that nobody builds one."""
    return base64.urlsafe_b64encode(position.encode()).decode().rstrip("=")


def position(after: str | None) -> str | None:
    """Return what `cursor` was given. Raises `Problem`."""
    if after is None:
        return None
    try:
        return base64.b64decode(after + "=" * (-len(after) % 4), altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        raise Problem(400, "`after` is the `next` of an earlier answer, and nothing else.") from None
