"""A run's figures, as a table for people and as JSON for programs."""

import json
from collections import Counter
from typing import Any

from tests.chaos.run import Result


def figures(result: Result) -> dict[str, Any]:
    """Return what a run came to; times are in seconds of the machine's own clock."""
    return {
        "schema": 1,
        "seed": result.seed,
        "wrong": result.wrong,
        "notices": result.notices,
        "bounces": result.bounces,
        "faults": len(result.journal),
        "faults_by_kind": dict(Counter(struck.kind for struck in result.journal).most_common()),
        "deaths_by_point": dict(sorted(result.killed_at.items())),
        "restarts": result.restarts,
        "events": result.events,
        "calls_taken": result.calls,
        "seconds": round(result.seconds, 1),
        "seconds_to_rest": round(result.quiet_after, 1),
        "recovery_p50": _percentile(result.recoveries, 50),
        "recovery_p99": _percentile(result.recoveries, 99),
        "recovery_longest": _percentile(result.recoveries, 100),
    }


def as_json(result: Result) -> str:
    return json.dumps(figures(result), ensure_ascii=False)


def table(result: Result) -> str:
    """Return the figures as they are read, what is wrong last."""
    said = figures(result)
    deaths = said["deaths_by_point"]
    least, most = min(deaths.values(), default=0), max(deaths.values(), default=0)
    recovery = ", ".join(f"{name} {said[f'recovery_{name}']} s" for name in ("p50", "p99", "longest"))
    lines = [
        f"Seed {said['seed']}: {said['faults']} faults, {said['notices']} notices, {said['bounces']} bounces.",
        *(f"{number:7,}  {kind}" for kind, number in said["faults_by_kind"].items()),
        f"Killed at {len(deaths)} fault points, {least} to {most} times at each; {said['restarts']} restarts.",
        f"{said['events']:,} events, {said['calls_taken']:,} calls taken by webhooks' receivers.",
        f"{said['seconds']:g} s in all; {said['seconds_to_rest']:g} s after the last fault everything was right.",
        f"From a fault to the next bounce on its timeline: {recovery}.",
        *(f"WRONG: {sentence}" for sentence in result.wrong),
    ]
    return "\n".join(lines)


def journal(result: Result) -> str:
    """Return all that was done, for whoever looks for the cause of what went wrong."""
    return "\n".join(f"{struck.at:7.1f} s  {struck.kind}: {struck.what}" for struck in result.journal)


def _percentile(ordered: list[float], percent: int) -> float | None:
    if not ordered:
        return None
    return round(ordered[min(len(ordered) * percent // 100, len(ordered) - 1)], 1)
