"""What came back: bounces, contacts' timelines, what happened to an address, and whether it may be written to."""

from collections.abc import Callable
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, Field

from worker import admin, decisions, everywhere
from worker.contract import EmailStatus, Entry, TrailEntry
from worker.keys import Scope
from worker.pipeline import Context
from worker.web.api.shared import (
    PAGE,
    PROBLEM,
    Address,
    After,
    Limit,
    May,
    Name,
    Page,
    Rows,
    Why,
    position,
    told,
)  # fmt: skip
from worker.web.callers import Caller

ADDRESSES: Final = 1_000
"""Addresses that one request may ask about."""


class EmailStatusRequest(BaseModel):
    """Addresses to ask about."""

    addresses: list[Address] = Field(max_length=ADDRESSES)


class Lift(BaseModel):
    """An address whose bounces a person lifts, and why."""

    address: Address
    why: Why


class Reasoned(BaseModel):
    """Why a person decides so; it stays in the trail."""

    why: Why


class Decision(BaseModel):
    """A decision that was made; it can be taken back by its id."""

    decision: str


def router(context: Callable[[], Context], may: May) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(tags=["bounces"], responses=PROBLEM)
    Reader = Annotated[Caller, Depends(may(Scope.READ))]  # noqa: N806 - a type
    Manager = Annotated[Caller, Depends(may(Scope.MANAGE))]  # noqa: N806 - a type

    @routes.get("/bounces")
    def bounces(caller: Reader, after: After = None, limit: Limit = PAGE) -> Page[Entry]:
        """All bounces, oldest record first."""
        with told(400):
            rows = admin.bounce_page(context(), caller.account, after=position(after), limit=limit + 1)
        return Page[Entry].of(rows, limit, admin.position_of)

    @routes.get("/bounces/{bounce_id}")
    def bounce(bounce_id: Name, caller: Reader) -> Entry:
        """One bounce, with its evidence."""
        with told(404):
            return Entry.model_validate(admin.bounce(context(), caller.account, bounce_id))

    @routes.post("/bounces/{bounce_id}/reject", status_code=201)
    def reject(bounce_id: Name, given: Reasoned, caller: Manager) -> Decision:
        """Say that a bounce is none: its report was read wrongly, or speaks of something else."""
        with told(404):
            made = decisions.reject(context(), caller.account, bounce_id, caller.person, given.why)
        return Decision(decision=made)

    @routes.get("/contacts/{contact_id:path}/timeline")  # a CRM's ids may hold slashes: gid://crm/Contact/7
    def timeline(contact_id: Name, caller: Reader, after: After = None, limit: Limit = PAGE) -> Page[Entry]:
        """The bounces on a contact's timeline, oldest record first; empty for a contact that nothing bounced of."""
        with told(400):
            rows = admin.bounce_page(context(), caller.account, contact_id, after=position(after), limit=limit + 1)
        return Page[Entry].of(rows, limit, admin.position_of)

    @routes.post("/email-status")
    def email_status(asked: EmailStatusRequest, caller: Reader) -> Rows[EmailStatus]:
        """May these addresses be written to? One answer for each, in the order asked."""
        return Rows[EmailStatus].of(everywhere.status(context(), caller.account, asked.addresses))

    @routes.post("/unbounces", status_code=201, responses={409: {"description": "Nothing to lift, or too many"}})
    def unbounce(given: Lift, caller: Manager) -> Decision:
        """Lift all bounces of an address that stand. A later bounce counts anew."""
        with told(409):
            made = decisions.unbounce(context(), caller.account, given.address, caller.person, given.why)
        return Decision(decision=made)

    @routes.post("/decisions/{decision}/undo", status_code=204)
    def undo(decision: Name, given: Reasoned, caller: Manager) -> None:
        """Take an un-bounce or a rejection back: all is as if it had never been made, but for the trail."""
        with told(404):
            decisions.undo(context(), caller.account, decision, caller.person, given.why)

    @routes.get("/trail")
    def trail(address: Annotated[Address, Query()], caller: Reader) -> Rows[TrailEntry]:
        """All that has happened to an address: reports, messages, decisions; when, by whom, and why."""
        return Rows[TrailEntry].of(decisions.trail(context(), caller.account, address))

    @routes.post("/global-lifts", status_code=204)
    def lift(given: Lift, caller: Annotated[Caller, Depends(may(Scope.OPERATE))]) -> None:
        """Lift an address for all accounts: what bounced until now counts no more. Only for the operator."""
        everywhere.lift(context(), given.address, caller.person, given.why)

    return routes
