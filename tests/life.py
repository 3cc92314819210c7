"""Every state of a bounce × everything that can happen to it, worked out by the fold: docs/life.md is printed here.

python -m tests.life > docs/life.md
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from tests.fakes.notices import NOW
from tests.fakes.sends import SENT_AT, sent
from worker.attach import PATIENCE, reported, standing
from worker.domain import (
    AccountRules,
    Bounce,
    BounceType,
    Fact,
    FactKind,
    Fault,
    Finding,
    Match,
    Reason,
    RecipientReport,
    Rung,
    Verdict,
    address_key,
)

RULES = AccountRules(account="acme")
ADDRESS = "bob@customer.example"
BEGAN = SENT_AT
THEN = BEGAN + timedelta(hours=10)
"""When a state was reached; what happens late is dated before it."""

PENDING = BounceType.PENDING, Reason.TEMPORARY, Fault.NETWORK
SOFT = BounceType.SOFT, Reason.TEMPORARY, Fault.RECIPIENT_SERVER
HARD = BounceType.HARD, Reason.UNKNOWN_USER, Fault.ADDRESS
FULL = BounceType.HARD, Reason.MAILBOX_FULL, Fault.ADDRESS


def report(kind: tuple[BounceType, Reason, Fault], at: datetime, name: str, number: int = 1, **send) -> Fact:
    """Return the fact that a report said so; `number` is the send that it is about."""
    email = sent(number, **send)
    type_, reason, fault = kind
    finding = Finding(
        report_id=name,
        match=Match(
            send=email, recipient=email.recipients[0], rung=Rung.ORIGINAL_MESSAGE_ID, confidence=0.99, evidence=()
        ),
        recipient=RecipientReport(final_recipient=ADDRESS),
        verdict=Verdict(type=type_, reason=reason, fault=fault, rule="r", rules_version="1"),
        occurred_at=at,
        evidence=(),
    )
    return reported(finding, RULES, NOW)


def fact(kind: FactKind, at: datetime, name: str | None = None, about: str | None = None) -> Fact:
    """Return a fact about the address, or a decision about another fact."""
    return Fact(
        id=name or f"{kind}-{at.isoformat()}",
        kind=kind,
        account="acme",
        address=address_key(ADDRESS),
        at=at,
        recorded_at=NOW,
        by="somebody",
        about=about,
    )


def minutes(number: int) -> datetime:
    return THEN + timedelta(minutes=number)


UNBOUNCED = fact(FactKind.UNBOUNCED, minutes(2), "decision")

STATES: dict[str, Sequence[Fact]] = {
    "nothing known": (),
    "pending": (report(PENDING, THEN, "r-1"),),
    "soft": (report(SOFT, THEN, "r-1"),),
    "hard": (report(HARD, THEN, "r-1"),),
    "hard, mailbox full": (report(FULL, THEN, "r-1"),),
    "ended by a delivery": (report(PENDING, THEN, "r-1"), fact(FactKind.DELIVERED, minutes(2))),
    "ended by a message": (report(SOFT, THEN, "r-1"), fact(FactKind.WROTE, minutes(2))),
    "ended by a person": (report(HARD, THEN, "r-1"), UNBOUNCED),
}


@dataclass(frozen=True)
class Happening:
    """Facts that are added, or time that passes."""

    facts: tuple[Fact, ...] = ()
    passes: timedelta = timedelta(0)


EVENTS: dict[str, Happening] = {
    "the same report again": Happening((report(HARD, THEN, "r-1"),)),
    "a delay": Happening((report(PENDING, minutes(5), "r-2"),)),
    "a delay, late": Happening((report(PENDING, minutes(-5), "r-2"),)),
    "a soft failure": Happening((report(SOFT, minutes(5), "r-2"),)),
    "a soft failure, late": Happening((report(SOFT, minutes(-5), "r-2"),)),
    "a hard failure": Happening((report(HARD, minutes(5), "r-2"),)),
    "a hard failure, late": Happening((report(HARD, minutes(-5), "r-2"),)),
    "a delivery": Happening((fact(FactKind.DELIVERED, minutes(5)),)),
    "a delivery, late": Happening((fact(FactKind.DELIVERED, minutes(-5)),)),
    "a message from the address": Happening((fact(FactKind.WROTE, minutes(5)),)),
    "an older message from it": Happening((fact(FactKind.WROTE, minutes(-5)),)),
    "72 hours after the send": Happening(passes=PATIENCE),
    "an un-bounce": Happening((fact(FactKind.UNBOUNCED, minutes(5), "another decision"),)),
    "an un-bounce is undone": Happening((fact(FactKind.UNDONE, minutes(5), about="decision"),)),
    "its report is rejected": Happening((fact(FactKind.REJECTED, minutes(5), about="r-1"),)),
}


def after(state: str, event: str) -> str:
    """Return in words how a bounce stands after a state and an event."""
    known, happened = list(STATES[state]), EVENTS[event]
    if event == "the same report again" and known:
        happened = replace(happened, facts=(known[0],))
    return shown(standing([*known, *happened.facts], BEGAN, RULES, minutes(10) + happened.passes))


def shown(bounce: Bounce | None) -> str:
    if bounce is None:
        return "–"
    return bounce.verdict.type if bounce.stands else f"({bounce.verdict.type})"


def lines() -> Iterator[str]:
    yield "# The life of a bounce"
    yield ""
    yield "What stands after an event (row) in a state (column); in parentheses what has ended, – for no bounce."
    yield "A late event is dated before what is known. The order in which facts become known never matters."
    yield "This page is printed by `python -m tests.life`, from the code that decides."
    yield ""
    yield "| | " + " | ".join(STATES) + " |"
    yield "| --- |" + " --- |" * len(STATES)
    for event in EVENTS:
        yield f"| **{event}** | " + " | ".join(after(state, event) for state in STATES) + " |"


if __name__ == "__main__":
    print("\n".join(lines()))
