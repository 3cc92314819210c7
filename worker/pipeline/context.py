"""What the path needs from outside, and how long it waits for it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, Final

from sqlalchemy.engine import Engine

from connectors import Connector, Dial, Doorbell, Subscriber, dial
from worker import signals
from worker.classify import Rules
from worker.schedule import Interval, Limits
from worker.store.inboxes import Inbox
from worker.store.keyring import Digester, KeyRing

TURN: Final = timedelta(minutes=5)
"""How long a queued notice or event may take before the sweep queues it again."""
LONG_ENOUGH: Final = timedelta(seconds=60)
"""How long a task reads from a slow server before it leaves the rest to the next one: with the last call, which the
connectors end after two minutes, it stays below the time that a task has (see `worker.app`)."""
BATCH: Final = 20
"""Notices a transaction: what a transaction costs by itself weighs little among so many; with 50 it is a tenth faster,
and more is done again where a worker dies."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What the path needs from outside: a database, keys, rules, a clock, mailboxes and the CRM."""

    engine: Engine
    ring: KeyRing
    digest: Digester
    rules: Rules
    connect: Callable[[Inbox], Connector]
    dial: Callable[[Inbox], Dial] = lambda _: dial
    doorbell: Callable[[Inbox], Doorbell | None] = lambda _: None
    subscriber: Callable[[Inbox], Subscriber | None] = lambda _: None
    call_us_at: Mapping[str, str] = field(default_factory=dict)
    """By provider: what it is to call when mail comes."""
    webhook_dial: Callable[[bool], Dial] = lambda _: dial
    """By whether the operator named the host."""
    webhook_ca: str | None = None
    """The certificate authority of a private CRM, besides the public ones."""
    deliver: Callable[[str, Mapping[str, Any]], None] | None = None
    poll_every: timedelta = timedelta(minutes=2)
    """How often an inbox is polled through which something was sent of late."""
    poll_longest: timedelta = timedelta(minutes=15)
    """And one through which nothing was sent for weeks."""
    limits: Limits = field(default_factory=Limits)
    keep_raw: timedelta | None = timedelta(days=30)
    """For how long matched notices are kept, encrypted, to be judged again; None for not at all."""
    keep_sends: timedelta | None = timedelta(days=400)
    """For how long sends are kept, from when they were sent; None for ever."""
    now: Callable[[], datetime] = field(default=lambda: datetime.now(UTC))
    chance: Random = field(default_factory=Random)
    tell: signals.Tell = signals.silent
    """Who hears what happens: logs and metrics."""
    span: signals.Span = signals.untraced

    @property
    def interval(self) -> Interval:
        """How often an inbox is polled, by how long it has been quiet."""
        return Interval(shortest=self.poll_every, longest=max(self.poll_every, self.poll_longest))


def batches(ids: Sequence[int]) -> list[list[int]]:
    """Cut ids into batches of `BATCH`."""
    return [list(ids[start : start + BATCH]) for start in range(0, len(ids), BATCH)]
