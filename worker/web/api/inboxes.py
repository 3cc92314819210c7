"""Inboxes of the key's account: their health, and what a person does to them."""

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field

from worker import admin
from worker.keys import Scope
from worker.pipeline import Context
from worker.web.api.shared import PROBLEM, May, told
from worker.web.callers import Caller


class NewInbox(BaseModel):
    """An inbox to connect. `settings` are those of the provider; `secret` is a password or a grant."""

    name: str = Field(min_length=1, max_length=200)
    address: str = Field(max_length=320, pattern=r"^[^@\s]+@[^@\s]+$")
    provider: str
    settings: dict[str, Any] = {}
    secret: str | None = Field(default=None, max_length=20_000)


def router(context: Callable[[], Context], may: May) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(tags=["inboxes"], responses=PROBLEM)

    @routes.get("/inboxes")
    def listed(caller: Annotated[Caller, Depends(may(Scope.READ))]) -> dict[str, Any]:
        """All inboxes with their health."""
        return {"schema": 1, "data": admin.inbox_rows(context(), caller.account), "next": None}

    @routes.post("/inboxes", status_code=201)
    def connect(given: NewInbox, caller: Annotated[Caller, Depends(may(Scope.MANAGE))]) -> dict[str, Any]:
        """Connect an inbox; its host is reached through the guard, so it can't lead into the operator's network."""
        with told():
            return admin.connect_inbox(context(), caller.account, **given.model_dump())

    @routes.post("/inboxes/{name}/pause", status_code=204)
    def pause(name: str, caller: Annotated[Caller, Depends(may(Scope.MANAGE))]) -> None:
        """Stop reading an inbox until it is resumed."""
        with told(404):
            admin.pause(context(), admin.the_inbox(context(), name, caller.account))

    @routes.post("/inboxes/{name}/resume", status_code=204)
    def resume(name: str, caller: Annotated[Caller, Depends(may(Scope.MANAGE))]) -> None:
        """Read an inbox again."""
        with told(404):
            admin.resume(context(), admin.the_inbox(context(), name, caller.account))

    return routes
