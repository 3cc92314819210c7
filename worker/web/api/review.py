"""What waits for a person, and what they say of it."""

from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field

from worker import admin, decisions
from worker.contract import IncidentEntry, ReviewEntry
from worker.keys import Scope
from worker.pipeline import Context
from worker.store.incidents import as_json
from worker.web.api.shared import PAGE, PROBLEM, After, Limit, May, Name, Page, Rows, Why, position, told
from worker.web.callers import Caller


class Accepted(BaseModel):
    """Which email and contact are meant; what isn't named is the likeliest."""

    send_id: str | None = Field(default=None, max_length=255)
    contact_id: str | None = Field(default=None, max_length=255)
    why: Why | None = None


class Declined(BaseModel):
    """Why it is no bounce of ours."""

    why: Why


class Attached(BaseModel):
    """The bounce that was attached."""

    bounce_id: str


def router(context: Callable[[], Context], may: May) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(tags=["review"], responses=PROBLEM)
    Reader = Annotated[Caller, Depends(may(Scope.READ))]  # noqa: N806 - a type
    Manager = Annotated[Caller, Depends(may(Scope.MANAGE))]  # noqa: N806 - a type

    @routes.get("/review")
    def waiting(caller: Reader, after: After = None, limit: Limit = PAGE) -> Page[ReviewEntry]:
        """What waits for a person's decision, oldest first; nothing here has touched a contact."""
        with told(400):
            rows = admin.waiting(context(), caller.account, after=position(after), limit=limit + 1)
        return Page[ReviewEntry].of(rows, limit, admin.position_of)

    @routes.post("/review/{review_id}/accept", status_code=201)
    def accept(review_id: Name, given: Accepted, caller: Manager) -> Attached:
        """Attach what waits: it is a bounce of our email to this contact."""
        named = {"send": given.send_id, "contact": given.contact_id}
        with told(404):
            made = decisions.accept(context(), caller.account, review_id, caller.person, given.why, **named)
        return Attached(bounce_id=made)

    @routes.post("/review/{review_id}/reject", status_code=204)
    def reject(review_id: Name, given: Declined, caller: Manager) -> None:
        """Say that what waits is no bounce of our emails. It doesn't come back."""
        with told(404):
            decisions.decline(context(), caller.account, review_id, caller.person, given.why)

    @routes.get("/incidents", tags=["incidents"])
    def incidents(caller: Reader, *, closed: bool = False) -> Rows[IncidentEntry]:
        """Inboxes whose emails are refused for their sender's own fault, newest first."""
        found = admin.all_incidents(context(), caller.account, closed_too=closed)
        return Rows[IncidentEntry].of([as_json(incident) for incident, _ in found])

    return routes
