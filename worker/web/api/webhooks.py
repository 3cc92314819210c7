"""Where the account's events are sent, signed as Standard Webhooks asks for."""

from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field

from worker import hooks
from worker.contract import DeadLetter, Webhook
from worker.keys import Scope
from worker.pipeline import Context
from worker.web.api.shared import PROBLEM, May, Name, Rows, told
from worker.web.callers import Caller


class NewWebhook(BaseModel):
    """Where to send events; without `types`, all of them."""

    url: str = Field(max_length=2_000, examples=["https://crm.example/bounces"])
    types: list[Annotated[str, Field(max_length=100)]] = Field(default=[], max_length=50)


class WithSecret(BaseModel):
    """A webhook's id, and the secret that calls are verified by: it is shown only here."""

    id: str
    secret: str


class Tested(BaseModel):
    """What a test call came to: `problem` is null where the receiver took it."""

    problem: str | None


class Again(BaseModel):
    """Which event to send again; without, all that were given up."""

    event_id: str | None = Field(default=None, max_length=255)


class Replayed(BaseModel):
    """How many deliveries are made again."""

    replayed: int


def router(context: Callable[[], Context], may: May) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(tags=["webhooks"], responses=PROBLEM)
    Manager = Annotated[Caller, Depends(may(Scope.MANAGE))]  # noqa: N806 - a type

    @routes.get("/webhooks")
    def listed(caller: Manager) -> Rows[Webhook]:
        """All webhooks, each with how many deliveries stand how."""
        return Rows[Webhook].of(hooks.listed(context(), caller.account))

    @routes.post("/webhooks", status_code=201)
    def add(given: NewWebhook, caller: Manager) -> WithSecret:
        """Have events sent to an https address; it is reached through the guard. From now on, not those before."""
        with told(422):
            added = hooks.add(context(), caller.account, given.url, given.types)
        return WithSecret(id=added.webhook.id, secret=added.secret)

    @routes.delete("/webhooks/{webhook_id}", status_code=204)
    def remove(webhook_id: Name, caller: Manager) -> None:
        """Forget a webhook, and what was still to be sent to it."""
        with told(404):
            hooks.remove(context(), caller.account, webhook_id)

    @routes.post("/webhooks/{webhook_id}/test")
    def test(webhook_id: Name, caller: Manager) -> Tested:
        """Call it now, with an event of the type test."""
        with told(404):
            return Tested(problem=hooks.test(context(), caller.account, webhook_id))

    @routes.get("/webhooks/{webhook_id}/dead")
    def dead(webhook_id: Name, caller: Manager) -> Rows[DeadLetter]:
        """The oldest hundred deliveries that were given up, and why."""
        with told(404):
            return Rows[DeadLetter].of(hooks.dead(context(), caller.account, webhook_id))

    @routes.post("/webhooks/{webhook_id}/replay")
    def replay(webhook_id: Name, given: Again, caller: Manager) -> Replayed:
        """Send again what was given up, or one event whatever came of it. Enables a webhook that was disabled."""
        with told(404):
            return Replayed(replayed=hooks.replay(context(), caller.account, webhook_id, given.event_id))

    @routes.post("/webhooks/{webhook_id}/rotate", status_code=201)
    def rotate(webhook_id: Name, caller: Manager) -> WithSecret:
        """Make a new secret; calls are signed by the old one as well, until the next rotation."""
        with told(404):
            added = hooks.rotate(context(), caller.account, webhook_id)
        return WithSecret(id=added.webhook.id, secret=added.secret)

    return routes
