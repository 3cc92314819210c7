"""What came back: bounces, contacts' timelines, and whether an address may be written to."""

from collections.abc import Callable
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field

from worker import admin
from worker.keys import Scope
from worker.pipeline import Context
from worker.web.api.shared import PAGE, PROBLEM, After, Limit, May, page, position, told
from worker.web.callers import Caller

ADDRESSES: Final = 1_000
"""Addresses that one request may ask about."""


class EmailStatusRequest(BaseModel):
    """Addresses to ask about."""

    addresses: list[Annotated[str, Field(max_length=320)]] = Field(max_length=ADDRESSES)


def router(context: Callable[[], Context], may: May) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(tags=["bounces"], responses=PROBLEM)

    @routes.get("/bounces")
    def bounces(
        caller: Annotated[Caller, Depends(may(Scope.READ))], after: After = None, limit: Limit = PAGE
    ) -> dict[str, Any]:
        """All bounces, oldest record first."""
        rows = admin.bounce_page(context(), caller.account, after=position(after), limit=limit + 1)
        return page(rows, limit, admin.bounce_position)

    @routes.get("/bounces/{bounce_id}")
    def bounce(bounce_id: str, caller: Annotated[Caller, Depends(may(Scope.READ))]) -> dict[str, Any]:
        """One bounce, with its evidence."""
        with told(404):
            return admin.bounce(context(), caller.account, bounce_id)

    @routes.get("/contacts/{contact_id}/timeline")
    def timeline(
        contact_id: str,
        caller: Annotated[Caller, Depends(may(Scope.READ))],
        after: After = None,
        limit: Limit = PAGE,
    ) -> dict[str, Any]:
        """The bounces on a contact's timeline, oldest record first; empty for a contact that nothing bounced of."""
        rows = admin.bounce_page(context(), caller.account, contact_id, after=position(after), limit=limit + 1)
        return page(rows, limit, admin.bounce_position)

    @routes.post("/email-status")
    def email_status(asked: EmailStatusRequest, caller: Annotated[Caller, Depends(may(Scope.READ))]) -> dict[str, Any]:
        """May these addresses be written to? One answer for each, in the order asked."""
        return {"schema": 1, "data": admin.email_status(context(), caller.account, asked.addresses)}

    return routes
