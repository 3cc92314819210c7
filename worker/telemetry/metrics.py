"""Counters of this process, counted where things happen; what stands in the database is asked of it (`gauges`).

Why not in a table: the attach path settles a thousand notices a second, and a row that all of them increment would be
the one that all of them wait for. Why Prometheus' multiprocess files: Celery's worker is several processes, and whoever
scrapes it meets only one. A counter that falls back to nothing at a restart is what `rate()` is made for.

No label holds an account, an inbox or an address: there may be a hundred thousand of them, and they are people's.
"""

from typing import Final

from prometheus_client import Counter, Histogram, disable_created_metrics

from worker import signals

disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series each, that nothing of ours reads
PREFIX: Final = "bounce_worker"
SECONDS: Final = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)

POLLS: Final = Counter(f"{PREFIX}_polls", "Polls of inboxes, by how they ended.", ["provider", "outcome"])
POLL_SECONDS: Final = Histogram(
    f"{PREFIX}_poll_duration_seconds", "How long polls took, from connecting to the end.", ["provider"], buckets=SECONDS
)
MESSAGES: Final = Counter(f"{PREFIX}_messages", "Messages whose header fields were looked at.", ["provider"])
LEASES: Final = Counter(f"{PREFIX}_lease_expiries", "Inboxes whose last poll never ended, as found when next due.")
NOTICES: Final = Counter(f"{PREFIX}_notices", "Notices worked off, by state and kind of message.", ["state", "kind"])
VERDICTS: Final = Counter(
    f"{PREFIX}_verdicts", "Verdicts about recipients of sent emails.", ["type", "reason", "fault", "matched_by"]
)
HANDOVERS: Final = Counter(f"{PREFIX}_events_handed_over", "Events for the CRM's own task queue.", ["type", "outcome"])
CALLS: Final = Counter(f"{PREFIX}_webhook_calls", "Calls of webhooks, by outcome.", ["outcome"])
TASKS: Final = Counter(f"{PREFIX}_tasks", "Celery tasks, by how they ended.", ["task", "outcome"])
TASK_SECONDS: Final = Histogram(
    f"{PREFIX}_task_duration_seconds", "How long Celery tasks took.", ["task"], buckets=SECONDS
)


def count(signal: signals.Signal) -> None:
    """Count a signal."""
    match signal:
        case signals.Polled():
            POLLS.labels(signal.provider, signal.outcome).inc()
            POLL_SECONDS.labels(signal.provider).observe(signal.seconds)
            MESSAGES.labels(signal.provider).inc(signal.messages)
        case signals.LeaseExpired():
            LEASES.inc(signal.inboxes)
        case signals.Ended():
            NOTICES.labels(signal.state, signal.kind or "unread").inc()
        case signals.Judged():
            VERDICTS.labels(signal.type, signal.reason, signal.fault, signal.matched_by).inc()
        case signals.HandedOver():
            HANDOVERS.labels(signal.type, "failed" if signal.error else "taken").inc()
        case signals.Called():
            CALLS.labels(signal.outcome).inc()
        case _:  # told in logs only
            pass
