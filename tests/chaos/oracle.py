"""What must be true when the faults are over. Pure: what was to come and what was seen, in; sentences, out."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from tests.chaos.letters import Outcome
from worker.store.inboxes import Inbox, InboxState

SOON: Final = timedelta(minutes=10)
"""By the run's clock: an inbox that isn't due by then was forgotten."""
SHOWN: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """An event as it was kept in the outbox."""

    id: str
    account: str
    type: str
    payload: Mapping[str, Any]
    position: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """A call that a webhook's receiver took; `body` is the digest of what it was sent."""

    id: str
    account: str
    body: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """All that can be seen at the end."""

    now: datetime
    timeline: Sequence[Mapping[str, Any]]
    excluded: Collection[tuple[str, str]]
    notices: Mapping[str, int]
    inboxes: Sequence[Inbox]
    told: Sequence[Told]
    heard: Sequence[Heard]
    queued: Sequence[str]
    """Ids of the events in the CRM's own queue."""
    deliveries: Mapping[str, int]
    flags: Collection[str] = ("",)
    """What was done to messages in the mailboxes: nothing may be."""


def judge(outcomes: Sequence[Outcome], seen: Seen) -> list[str]:
    """Return a sentence for each thing that is wrong."""
    return [
        *_timelines(outcomes, seen),
        *_addresses(outcomes, seen),
        *_events(outcomes, seen),
        *_feed(seen),
        *_webhooks(seen),
        *_queue(seen),
        *_at_rest(seen),
    ]


def _timelines(outcomes: Sequence[Outcome], seen: Seen) -> Iterator[str]:
    wanted = {(each.account, each.send_id, each.address): each for each in outcomes}
    found: defaultdict[tuple[str, str, str], list[Mapping[str, Any]]] = defaultdict(list)
    for entry in seen.timeline:
        found[entry["account"], entry["send_id"], entry["address"]].append(entry)
    yield from _some("lost: nothing stands on the timeline of {}", wanted.keys() - found.keys())
    yield from _some("invented: nobody sent what stands on the timeline of {}", found.keys() - wanted.keys())
    for key in sorted(wanted.keys() & found.keys()):
        entries, outcome = found[key], wanted[key]
        if len(entries) > 1:
            yield f"doubled: {len(entries)} entries on the timeline of {key}"
        entry = entries[0]
        if set(entry["report_ids"]) != outcome.report_ids or len(entry["report_ids"]) != len(outcome.report_ids):
            yield f"reports: {key} stands on {entry['report_ids']} instead of {sorted(outcome.report_ids)}"
        if entry["type"] != outcome.type:
            yield f"verdict: {key} is {entry['type']} instead of {outcome.type}"
        if entry["contact_id"] != outcome.contact_id:
            yield f"contact: {key} is on the timeline of {entry['contact_id']}"


def _addresses(outcomes: Sequence[Outcome], seen: Seen) -> Iterator[str]:
    wanted = {(each.account, each.address) for each in outcomes if each.excludes}
    found = set(seen.excluded)
    yield from _some("not excluded, though it failed for good: {}", wanted - found)
    yield from _some("excluded, though nothing failed for good: {}", found - wanted)


def _events(outcomes: Sequence[Outcome], seen: Seen) -> Iterator[str]:
    yield from _some("two events of one id: {}", _repeated(each.id for each in seen.told))
    yield from _some("two ids for one happening: {}", _repeated(_happening(each) for each in seen.told))
    wanted: Counter[tuple[str, str, str]] = Counter()
    for each in outcomes:
        wanted["bounce.attached", each.send_id, each.address] += 1
        wanted["contact.excluded", each.send_id, each.address] += each.excludes
        wanted["sequence.unenroll", each.send_id, each.address] += each.ends_sequence
    about = [each for each in seen.told if "bounce" in each.payload and each.type != "bounce.updated"]
    found = Counter((each.type, each.payload["bounce"]["send_id"], each.payload["address"]) for each in about)
    yield from _some("never told: {}", (wanted - found).keys())
    yield from _some("told too often: {}", (found - wanted).keys())


def _happening(told: Told) -> tuple[str, ...]:
    if "incident" in told.payload:
        return told.type, told.payload["incident"]["id"]
    if "bounce" in told.payload:
        return told.type, told.payload["bounce"]["id"], *sorted(told.payload["bounce"]["report_ids"])
    return told.type, told.account, str(told.payload)


def _feed(seen: Seen) -> Iterator[str]:
    positions = sorted(each.position or 0 for each in seen.told)
    if positions != list(range(1, len(positions) + 1)):
        yield "the feed has gaps or repeats: its positions aren't 1, 2, 3…"


def _webhooks(seen: Seen) -> Iterator[str]:
    told = {(each.account, each.id) for each in seen.told}
    heard = {(each.account, each.id) for each in seen.heard}
    yield from _some("no webhook was ever called with {}", told - heard)
    yield from _some("a webhook was called with what never happened: {}", heard - told)
    bodies = {(each.id, each.body) for each in seen.heard}
    yield from _some("one id, two bodies: {}", _repeated(name for name, _ in bodies))
    yield from _order("webhooks", seen.told, [each.id for each in seen.heard])
    if left := {state: number for state, number in seen.deliveries.items() if state != "delivered" and number}:
        yield f"deliveries are left: {left}"


def _queue(seen: Seen) -> Iterator[str]:
    told = {each.id for each in seen.told}
    yield from _some("the CRM's queue never got {}", told - set(seen.queued))
    yield from _some("the CRM's queue got what never happened: {}", set(seen.queued) - told)


def _order(where: str, told: Sequence[Told], ids: Sequence[str]) -> Iterator[str]:
    """What is about one contact comes in the order in which it happened; of repeats the first counts."""
    by_id = {each.id: each for each in told}
    last: dict[tuple[str, str], int] = {}
    for event_id in dict.fromkeys(ids):
        event = by_id.get(event_id)
        contact = event.payload.get("contact_id") if event else None
        if event is None or contact is None:
            continue
        position = event.position or 0
        if position < last.get((event.account, contact), 0):
            yield f"out of order at {where}: {event.type} about {contact}"
        last[event.account, contact] = position


def _at_rest(seen: Seen) -> Iterator[str]:
    for state in ("pending", "quarantined", "gone", "review"):
        if number := seen.notices.get(state, 0):
            yield f"{number} notices are {state}"
    for inbox in seen.inboxes:
        name = f"{inbox.account}/{inbox.name}"
        if inbox.state is not InboxState.ACTIVE or inbox.failures or inbox.attention:
            yield f"{name} is {inbox.state} after {inbox.failures} failures: {inbox.attention}"
        if inbox.lease_until is not None and inbox.lease_until < seen.now:
            yield f"{name} is held by nobody: its lease was over at {inbox.lease_until}"
        if inbox.next_poll_at > seen.now + SOON:
            yield f"{name} is stuck: it isn't due before {inbox.next_poll_at}"
    if marks := {mark for mark in seen.flags if mark}:
        yield f"messages in the mailboxes were marked: {sorted(marks)}"


def _repeated(items: Iterable[Any]) -> list[Any]:
    return [item for item, number in Counter(items).items() if number > 1]


def _some(sentence: str, items: Iterable[Any]) -> Iterator[str]:
    found = sorted(map(str, items))
    yield from (sentence.format(item) for item in found[:SHOWN])
    if len(found) > SHOWN:
        yield sentence.format(f"{len(found) - SHOWN} more")
