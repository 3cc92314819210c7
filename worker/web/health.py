"""Whether this process can serve: for a load balancer, without a key, and without telling anything else."""

from collections.abc import Callable
from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel

from worker.pipeline import Context
from worker.store.database import is_reachable
from worker.web.problems import Problem, ProblemDetails


class Health(BaseModel):
    """All is well; where it isn't, the answer is 503."""

    status: Literal["ok"] = "ok"


def router(context: Callable[[], Context]) -> APIRouter:
    """Return the route."""
    routes = APIRouter(tags=["health"])

    @routes.get("/v1/health", responses={503: {"description": "No database", "model": ProblemDetails}})
    def health() -> Health:
        """Whether the database answers."""
        if not is_reachable(context().engine):
            raise Problem(503, "The database can't be reached.")
        return Health()

    return routes
