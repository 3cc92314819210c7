"""Inboxes of the key's account: their health, and what a person does to them."""

from collections.abc import Callable
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field

from worker import admin
from worker.contract import InboxEntry
from worker.keys import Scope
from worker.pipeline import Context
from worker.web.api.shared import PROBLEM, May, Name, Rows, told
from worker.web.callers import Caller


class NewInbox(BaseModel):
    """An inbox to connect. `settings` are those of the provider; `secret` is a password or a grant."""

    name: str = Field(min_length=1, max_length=200)
    address: str = Field(max_length=320, pattern=r"^[^@\s]+@[^@\s]+$")
    provider: Literal["gmail", "office365", "exchange", "imap", "maildir"]
    settings: dict[str, Any] = {}
    secret: str | None = Field(default=None, max_length=20_000)


def router(context: Callable[[], Context], may: May) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(tags=["inboxes"], responses=PROBLEM)
    Reader = Annotated[Caller, Depends(may(Scope.READ))]  # noqa: N806 - a type
    Manager = Annotated[Caller, Depends(may(Scope.MANAGE))]  # noqa: N806 - a type

    @routes.get("/inboxes")
    def listed(caller: Reader) -> Rows[InboxEntry]:
        """All inboxes with their health."""
        return Rows[InboxEntry].of(admin.inbox_rows(context(), caller.account))

    @routes.get("/inboxes/{name}")
    def shown(name: Name, caller: Reader) -> InboxEntry:
        """One inbox and its health."""
        with told(404):
            inbox = admin.the_inbox(context(), name, caller.account)
        (row,) = admin.inbox_rows(context(), caller.account, inbox.name)
        return InboxEntry.model_validate(row)

    @routes.post("/inboxes", status_code=201)
    def connect(given: NewInbox, caller: Manager) -> InboxEntry:
        """Connect an inbox; its host is reached through the guard, so it can't lead into the operator's network."""
        with told(422):
            admin.connect_inbox(context(), caller.account, **given.model_dump())
        (row,) = admin.inbox_rows(context(), caller.account, given.name)
        return InboxEntry.model_validate(row)

    @routes.post("/inboxes/{name}/pause", status_code=204)
    def pause(name: Name, caller: Manager) -> None:
        """Stop reading an inbox until it is resumed."""
        with told(404):
            admin.pause(context(), admin.the_inbox(context(), name, caller.account))

    @routes.post("/inboxes/{name}/resume", status_code=204)
    def resume(name: Name, caller: Manager) -> None:
        """Read an inbox again, from where reading stopped."""
        with told(404):
            admin.resume(context(), admin.the_inbox(context(), name, caller.account))

    @routes.delete("/inboxes/{name}", status_code=204)
    def remove(name: Name, caller: Manager, *, purge: bool = False) -> None:
        """Forget an inbox and its password; with `purge` also the bounces of emails sent from it."""
        with told(404):
            admin.remove(context(), admin.the_inbox(context(), name, caller.account), purge=purge)

    return routes
