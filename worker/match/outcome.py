"""What the ladder can say besides a match."""

from dataclasses import dataclass

from worker.domain import Match, Rung, SentEmail


@dataclass(frozen=True, slots=True)
class Unmatched:
    """No email of this account is named: nobody is touched."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubtful:
    """An email of this account may be meant, but it isn't proven: a person decides.

    `candidates` are the matches that could be, the likeliest first; empty where the report names a recipient to whom
    `send` was not written.
    """

    send: SentEmail
    rung: Rung
    why: str
    confidence: float = 0.0
    candidates: tuple[Match, ...] = ()


Outcome = Match | Doubtful | Unmatched
