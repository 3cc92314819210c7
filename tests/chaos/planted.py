"""Faults planted in the product, to see that the oracle finds them: each loses or doubles something in its own way."""

import importlib
from typing import Any

from worker.store import notices, outbox


def notice_forgotten() -> None:
    """A poll keeps its cursor, and forgets the first notice of each page."""
    add = notices.add

    def forgetful(connection: Any, account: str, inbox_id: str, found: Any, *more: Any) -> Any:
        return add(connection, account, inbox_id, list(found)[1:], *more)

    notices.add = forgetful


def event_told_twice() -> None:
    """What happens is told under two ids."""
    add = outbox.add

    def twice(connection: Any, events: Any, now: Any) -> None:
        told = list(events)
        add(connection, [*told, *(_again(*event) for event in told)], now)

    outbox.add = twice


def _again(event_id: str, account: str, kind: str, payload: dict[str, Any]) -> tuple[str, str, str, dict[str, Any]]:
    return f"{event_id}-again", account, kind, payload | {"id": f"{event_id}-again"}


def call_not_made() -> None:
    """A webhook's calls are said to have been taken, and every fifth was never made."""
    webhooks = importlib.import_module("worker.pipeline.webhooks")
    call = webhooks.call
    made = iter(range(1, 1_000_000))

    def lazy(*args: Any, **more: Any) -> Any:
        if next(made) % 5 == 0:
            return webhooks.Result(outcome=webhooks.Outcome.TAKEN)
        return call(*args, **more)

    webhooks.call = lazy


PLANTS = {
    "notice-forgotten": notice_forgotten,
    "event-told-twice": event_told_twice,
    "call-not-made": call_not_made,
}
