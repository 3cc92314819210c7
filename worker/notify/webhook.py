"""One call of a webhook, signed as Standard Webhooks wants it (https://www.standardwebhooks.com, specification 1.0).

At least once: the receiver drops repeats by webhook-id, which is the event's own id and the same in every attempt.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum, auto
from random import Random
from typing import Any, Final

from standardwebhooks import Webhook as Signer

from connectors import ConnectorError
from connectors._http import Http
from connectors.network import Dial

RETRIES: Final = tuple(
    timedelta(seconds=seconds) for seconds in (5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)
)
"""How long after each failed attempt the next one is made: three days in all."""
JITTER: Final = 0.2
CALL_LIMIT: Final = 15.0
"""Seconds that a receiver may take from the connection to the last byte."""
ANSWER_LIMIT: Final = 4_096
"""Bytes of an answer that are read: only its status counts."""


class Outcome(Enum):
    """What a call came to."""

    TAKEN = auto()
    FAILED = auto()
    GONE = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A call's outcome, and why it failed, in a sentence for a person."""

    outcome: Outcome
    problem: str | None = None


def body_of(payload: Mapping[str, Any]) -> str:
    """Return an event as it is sent and signed."""
    return json.dumps(payload, ensure_ascii=False, separators=(",", ":"))


def headers_of(event_id: str, body: str, secrets: Sequence[str], now: datetime) -> dict[str, str]:
    """Return the headers of one attempt: with each secret a signature, so that secrets can be changed in peace."""
    signatures = " ".join(Signer(secret).sign(event_id, now, body) for secret in secrets)
    return {
        "content-type": "application/json",
        "user-agent": "bounce-worker",
        "webhook-id": event_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": signatures,
    }


def call(
    url: str, headers: Mapping[str, str], body: str, dial: Dial, *, plain: bool = False, ca_file: str | None = None
) -> Result:
    """Post an event. No redirect is followed; `plain` says that http will do."""
    try:
        http = Http(dial, ca_file, call_limit=CALL_LIMIT, plain=plain)
    except ConnectorError as error:
        return Result(outcome=Outcome.FAILED, problem=str(error))
    try:
        answer = http.ask("POST", url, headers, body.encode(), limit=ANSWER_LIMIT, cut=True)
    except ConnectorError as error:
        return Result(outcome=Outcome.FAILED, problem=str(error))
    except (OSError, ValueError) as error:
        return Result(outcome=Outcome.FAILED, problem=f"It can't be called ({type(error).__name__}).")
    finally:
        http.close()
    if 200 <= answer.status_code < 300:
        return Result(outcome=Outcome.TAKEN)
    if answer.status_code == 410:
        return Result(outcome=Outcome.GONE, problem="Its receiver answered 410 Gone: it wants no events any more.")
    return Result(outcome=Outcome.FAILED, problem=f"Its receiver answered {answer.status_code}.")


def next_attempt(attempts: int, now: datetime, chance: Random) -> datetime | None:
    """Return when to try again after so many attempts; None where that was the last."""
    if attempts > len(RETRIES):
        return None
    return now + RETRIES[attempts - 1] * chance.uniform(1, 1 + JITTER)
