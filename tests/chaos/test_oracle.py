"""The oracle finds each kind of wrong, planted in what a good run has left."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.chaos.letters import Outcome
from tests.chaos.oracle import Heard, Seen, Told, judge
from worker.store.inboxes import Inbox, InboxState

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
WANTED = [
    Outcome(
        account="acme",
        send_id=f"s-{number}",
        address=f"p{number}@d.example",
        contact_id=f"c-{number}",
        type="hard",
        report_ids=frozenset({f"r-{number}"}),
        ends_sequence=True,
    )
    for number in range(2)
]


def told(position: int, kind: str, number: int) -> Told:
    bounce = {"id": f"b-{number}", "send_id": f"s-{number}", "report_ids": [f"r-{number}"]}
    about = {"contact_id": f"c-{number}", "address": f"p{number}@d.example", "bounce": bounce}
    return Told(id=f"e-{position}", account="acme", type=kind, payload=about, position=position)


KINDS = ("bounce.attached", "contact.excluded", "sequence.unenroll")
TOLD = [told(3 * number + place, kind, number) for number in range(2) for place, kind in enumerate(KINDS, 1)]
INBOX = Inbox(
    id="i",
    account="acme",
    name="alice",
    address="alice@acme.example",
    provider="imap",
    settings="{}",
    state=InboxState.ACTIVE,
    attention=None,
    cursor=None,
    since=NOW,
    caught_up_at=NOW,
    last_poll_at=NOW,
    failures=0,
    next_poll_at=NOW,
    lease_until=None,
    lease_token=1,
    created_at=NOW,
    trusted=True,
)
GOOD = Seen(
    now=NOW,
    timeline=[
        {
            "account": "acme",
            "send_id": each.send_id,
            "address": each.address,
            "contact_id": each.contact_id,
            "type": "hard",
            "report_ids": sorted(each.report_ids),
        }
        for each in WANTED
    ],
    excluded=[("acme", each.address) for each in WANTED],
    notices={"attached": 2, "duplicate": 1},
    inboxes=[INBOX],
    told=TOLD,
    heard=[Heard(id=each.id, account="acme", body="same") for each in [*TOLD, TOLD[0]]],
    queued=[each.id for each in [*TOLD, TOLD[3]]],
    deliveries={"delivered": 6},
)


def entry(**change: object) -> Callable[[Seen], dict[str, Any]]:
    return lambda seen: {"timeline": [seen.timeline[0] | change, *seen.timeline[1:]]}


def event(**change: object) -> Callable[[Seen], dict[str, Any]]:
    return lambda seen: {"told": [replace(seen.told[0], **change), *seen.told[1:]]}


def inbox(**change: object) -> Callable[[Seen], dict[str, Any]]:
    return lambda _: {"inboxes": [replace(INBOX, **change)]}


PLANTED: dict[str, tuple[Callable[[Seen], dict[str, Any]], str]] = {
    "an entry is lost": (lambda seen: {"timeline": seen.timeline[1:]}, "lost"),
    "an entry is there twice": (lambda seen: {"timeline": [*seen.timeline, seen.timeline[0]]}, "doubled"),
    "an entry is of nobody's email": (entry(send_id="s-9"), "invented"),
    "a report counts twice": (entry(report_ids=["r-0", "r-0"]), "reports"),
    "a report is forgotten": (entry(report_ids=[]), "reports"),
    "a verdict is another": (entry(type="soft"), "verdict"),
    "an entry is on another's timeline": (entry(contact_id="c-1"), "contact"),
    "an address isn't excluded": (lambda seen: {"excluded": seen.excluded[1:]}, "not excluded"),
    "an address is excluded for nothing": (lambda _: {"excluded": [("acme", "x@d.example")]}, "excluded, though"),
    "an event was never told": (lambda seen: {"told": seen.told[1:]}, "never told"),
    "an event has two ids": (lambda seen: {"told": [*seen.told, replace(seen.told[0], id="e-7")]}, "two ids"),
    "an event is of another type": (event(type="bounce.healed"), "told too often"),
    "the feed has a gap": (event(position=9), "gaps"),
    "a call was never made": (lambda seen: {"heard": seen.heard[1:-1]}, "no webhook was ever called"),
    "a call tells what never happened": (
        lambda seen: {"heard": [*seen.heard, Heard(id="x", account="acme", body="")]},
        "what never happened",
    ),
    "a repeat says something else": (
        lambda seen: {"heard": [*seen.heard, replace(seen.heard[0], body="other")]},
        "two bodies",
    ),
    "calls are out of order": (lambda seen: {"heard": seen.heard[::-1][1:]}, "out of order"),
    "a call waits": (lambda _: {"deliveries": {"delivered": 5, "waiting": 1}}, "deliveries are left"),
    "a call was given up": (lambda _: {"deliveries": {"delivered": 5, "dead": 1}}, "deliveries are left"),
    "the CRM's queue lacks one": (lambda seen: {"queued": seen.queued[1:]}, "queue never got"),
    "the CRM's queue got too much": (lambda seen: {"queued": [*seen.queued, "x"]}, "queue got what"),
    "a notice waits": (lambda _: {"notices": {"pending": 1}}, "1 notices are pending"),
    "a notice was given up": (lambda _: {"notices": {"quarantined": 1}}, "quarantined"),
    "an inbox failed": (inbox(failures=1, attention="It fails."), "after 1 failures"),
    "an inbox was stopped": (inbox(state=InboxState.NEEDS_ATTENTION), "needs_attention"),
    "a lease is over": (inbox(lease_until=NOW - timedelta(seconds=1)), "held by nobody"),
    "an inbox is stuck": (inbox(next_poll_at=NOW + timedelta(hours=1)), "stuck"),
    "a message was marked": (lambda _: {"flags": ["", "\\Seen"]}, "marked"),
}


def test_nothing_is_wrong_with_a_good_run():
    assert judge(WANTED, GOOD) == []


@pytest.mark.parametrize("name", PLANTED)
def test_what_is_planted_is_found(name: str):
    plant, sentence = PLANTED[name]
    found = judge(WANTED, replace(GOOD, **plant(GOOD)))
    assert any(sentence in each for each in found), found
