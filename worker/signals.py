"""What happens on the way of a message, as values: the pipeline tells them, logs print them, metrics count them. Pure.

No field holds an address, a subject, a name or a word of anybody's mail: what isn't here can't leak.

Each notice has a correlation id, made of the inbox and the reference that it lies under: whoever works on it, whenever,
and whatever the broker lost meanwhile, comes to the same one. It goes on into the events that the notice causes, and is
the id of the notice's trace. (128 bits in hex: W3C Trace Context, 3.2.2.3.)
"""

import hashlib
import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any, ClassVar, Protocol


def correlation_id(inbox_id: str, ref: str) -> str:
    """Return a notice's correlation id."""
    return hashlib.sha256(f"notice\0{inbox_id}\0{ref}".encode("utf-8", "surrogatepass")).hexdigest()[:32]


class PollOutcome(StrEnum):
    """How a poll ended."""

    OK = "ok"
    THROTTLED = "throttled"
    UNAVAILABLE = "unavailable"
    AUTH_REQUIRED = "auth_required"
    MISCONFIGURED = "misconfigured"
    STALE = "stale"  # somebody else holds the inbox by now
    ERROR = "error"  # a fault of ours


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """Something that happened. `event` is its name in logs, `level` how loudly it is logged."""

    event: ClassVar[str] = ""

    @property
    def level(self) -> int:
        """How loudly it is logged."""
        return logging.INFO

    def values(self) -> dict[str, Any]:
        """Return the fields that are set."""
        found = ((each.name, getattr(self, each.name)) for each in fields(self))
        return {name: value for name, value in found if value is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Polled(Signal):
    """An inbox was polled; `seconds` in all, `error` the name of what went wrong."""

    event: ClassVar[str] = "inbox.polled"
    inbox: str
    provider: str
    outcome: PollOutcome
    seconds: float
    messages: int
    found: int
    error: str | None = None

    @property
    def level(self) -> int:
        """A poll that finds nothing is no news."""
        if self.outcome is not PollOutcome.OK:
            return logging.WARNING
        return logging.INFO if self.found else logging.DEBUG


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseExpired(Signal):
    """Inboxes are due whose last poll never ended: its worker was killed, or its task lost."""

    event: ClassVar[str] = "inbox.lease_expired"
    inboxes: int

    @property
    def level(self) -> int:
        """See `Signal`."""
        return logging.WARNING


@dataclass(frozen=True, slots=True, kw_only=True)
class Found(Signal):
    """A message that may be a notice was found."""

    event: ClassVar[str] = "notice.found"
    inbox: str
    notice: int
    correlation_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended(Signal):
    """A notice was worked off. `kind` is what kind of message it is, where it could be read."""

    event: ClassVar[str] = "notice.ended"
    inbox: str
    notice: int
    correlation_id: str
    state: str
    kind: str | None = None
    detector: str | None = None
    report: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged(Signal):
    """A recipient's failure was tied to a sent email, and judged."""

    event: ClassVar[str] = "bounce.judged"
    correlation_id: str
    report: str
    type: str
    reason: str
    fault: str
    matched_by: str
    rule: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HandedOver(Signal):
    """An event was handed to the CRM's queue, or could not be."""

    event: ClassVar[str] = "event.handed_over"
    event_id: str
    type: str
    correlation_id: str | None
    error: str | None = None

    @property
    def level(self) -> int:
        """See `Signal`."""
        return logging.WARNING if self.error else logging.INFO


@dataclass(frozen=True, slots=True, kw_only=True)
class Called(Signal):
    """A webhook was called with an event; `outcome` is taken, failed or gone."""

    event: ClassVar[str] = "webhook.called"
    webhook: str
    event_id: str
    type: str
    correlation_id: str | None
    outcome: str
    attempt: int

    @property
    def level(self) -> int:
        """See `Signal`."""
        return logging.INFO if self.outcome == "taken" else logging.WARNING


Tell = Callable[[Signal], None]


class Span(Protocol):
    """Opens a span of a trace: of the notice's own where a correlation id is given, else of the task's."""

    def __call__(
        self, name: str, /, *, correlation_id: str | None = None, **attributes: str | int
    ) -> AbstractContextManager[None]: ...


def silent(_: Signal) -> None:
    """Tell nobody."""


@contextmanager
def untraced(
    _name: str,
    /,
    *,
    correlation_id: str | None = None,  # noqa: ARG001 - as a Span takes it
    **_attributes: str | int,
) -> Iterator[None]:
    """Draw nothing."""
    yield
