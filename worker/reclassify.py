"""Judging stored notices again, after rules or readers have changed. What people decided stays as they decided it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from sqlalchemy.engine import Connection

from worker.attach import digest_id, reported
from worker.detect import detect
from worker.domain import Bounce, Fact, FactKind
from worker.judge import VERDICT_KINDS
from worker.pipeline import Context
from worker.store import accounts, bounces, facts, folding, inboxes, ledger, raw, reviews, sends
from worker.store.database import reading
from worker.store.notices import Notice

BATCH: Final = 50
RULES: Final = "rules"
"""By whom a report is rejected that the rules no longer take for one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What judging again does to one bounce; None where there was or is none. `contact_id` is whose it is."""

    account: str
    bounce_id: str
    contact_id: str | None
    address: str
    before: str | None
    after: str | None

    def as_json(self) -> dict[str, Any]:
        """Return it as people see it."""
        names = ("account", "bounce_id", "contact_id", "address", "before", "after")
        return {"schema": 1} | {name: getattr(self, name) for name in names}


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far it got, and what it has changed since the last word."""

    done: int
    total: int
    changes: tuple[Change, ...]


def reclassify(context: Context, account: str | None = None, *, dry_run: bool) -> Iterator[Progress]:
    """Judge all notices that are still kept again, a batch a transaction; with `dry_run`, each is rolled back."""
    with reading(context.engine) as connection:
        total = raw.count(connection, account)
    done, after = 0, ("", "")
    while True:
        with context.engine.connect() as connection, connection.begin() as transaction:
            batch = raw.page(connection, account, after, BATCH)
            changes: list[Change] = []
            for name in sorted({each.account for each in batch}):
                own = [each for each in batch if each.account == name]
                changes += _judge_again(context, connection, name, own)
            if dry_run:
                transaction.rollback()
        if not batch:
            return
        done += len(batch)
        after = (batch[-1].account, batch[-1].report_id)
        yield Progress(done=done, total=total, changes=tuple(changes))


def _judge_again(context: Context, connection: Connection, account: str, kept: Sequence[raw.RawNotice]) -> list[Change]:
    now = context.now()
    known = _by_report(facts.about(connection, account, [each.report_id for each in kept]))
    # A person's word about a report stands, whatever the rules think of it by now.
    declined = reviews.declined(connection, account, [each.report_id for each in kept])
    decided = declined | {report for report, own in known.items() if any(map(_is_a_persons, own))}
    settled = decided | _of_dropped_sends(connection, account, known)
    open_ones = [each for each in kept if each.report_id not in settled]
    read = [one for each in open_ones if (one := _read(context, connection, each)) is not None]
    chosen, policies = accounts.rules(connection, account), inboxes.policies(connection, account)
    new: list[Fact] = []
    for judged in ledger.judge_all(connection, account, read, context.rules, context.digest):
        found = [
            reported(each, ledger.ruled(chosen, policies, each.match.send.inbox), now)
            for each in judged.judgement.findings
        ]
        new += _differences(known.get(judged.notice.report_id, []), found, context.rules.version, now)
    touched = sorted({fact.bounce_id for fact in new if fact.bounce_id})
    before = {bounce.id: bounce for bounce in bounces.load(connection, account, touched)}
    folding.record(connection, account, new, context.digest, now)
    after = {bounce.id: bounce for bounce in bounces.load(connection, account, touched)}
    return [change for name in touched if (change := _change(before.get(name), after.get(name))) is not None]


def _by_report(found: Sequence[Fact]) -> dict[str, list[Fact]]:
    """Return facts by the report that they are about; what takes a decision back is about that decision's report."""
    reports = {fact.id: fact.about for fact in found}
    known: dict[str, list[Fact]] = {}
    for fact in found:
        report = reports.get(fact.about or "", fact.about)
        known.setdefault(report or "", []).append(fact)
    return known


def _of_dropped_sends(connection: Connection, account: str, known: Mapping[str, Sequence[Fact]]) -> set[str]:
    """Return the reports that were attached to sends which are gone: judged again, they would answer nothing."""
    named = {report: {fact.bounce.send_id for fact in own if fact.bounce is not None} for report, own in known.items()}
    there = sends.load(connection, account, set().union(*named.values())).keys()
    return {report for report, ids in named.items() if not ids <= there}


def _read(context: Context, connection: Connection, kept: raw.RawNotice) -> ledger.Read | None:
    inbox = inboxes.get(connection, kept.inbox_id)
    report = detect(kept.opened(context.ring))
    if inbox is None:
        return None
    notice = Notice(
        id=0,
        account=kept.account,
        inbox_id=kept.inbox_id,
        ref="",
        attempts=0,
        found_at=kept.found_at,
        received_at=kept.received_at,
        thread_id=kept.thread_id,
    )
    shown = report if report.kind in VERDICT_KINDS else replace(report, recipients=())
    return ledger.Read(notice=notice, inbox=inbox, read_by="reclassify", report=shown, digest=kept.digest)


def _differences(known: Sequence[Fact], found: Sequence[Fact], version: str, now: datetime) -> Iterator[Fact]:
    """Yield the facts that say what is judged otherwise now."""
    said = {fact.bounce_id: fact for fact in sorted(known, key=_newest) if fact.kind is FactKind.REPORTED}
    undone = {fact.about for fact in known if fact.kind is FactKind.UNDONE}
    dropped = {f.bounce_id: f for f in known if f.kind is FactKind.REJECTED and f.id not in undone}
    for fact in found:
        old = said.pop(fact.bounce_id, None)
        if fact.bounce_id in dropped:
            yield _decision(FactKind.UNDONE, dropped[fact.bounce_id], dropped[fact.bounce_id].id, version, now)
        if old is None or old.bounce is None or not _is_same(old.bounce, fact.bounce):
            name = digest_id(fact.id, version, now.isoformat())
            yield replace(fact, id=name if old else fact.id, by=f"{fact.by}, judged again")
    for old in said.values():
        if old.bounce_id not in dropped:
            yield _decision(FactKind.REJECTED, old, old.about, version, now)


def _decision(kind: FactKind, of: Fact, about: str | None, version: str, now: datetime) -> Fact:
    return Fact(
        id=digest_id("reclassify", kind, of.id, now.isoformat()),
        kind=kind,
        account=of.account,
        address=of.address,
        at=now,
        recorded_at=now,
        by=RULES,
        bounce_id=of.bounce_id,
        about=about,
        why=f"judged again by {version}",
    )


def _is_a_persons(fact: Fact) -> bool:
    return fact.by != RULES and not fact.by.startswith("report ")


def _newest(fact: Fact) -> tuple[datetime, str]:
    return fact.recorded_at, fact.id


def _is_same(old: Bounce, new: Bounce | None) -> bool:
    if new is None:
        return False
    fields = ("status", "smtp_code", "diagnostic", "matched_by", "forwarded_to")
    verdicts = [(b.verdict.type, b.verdict.reason, b.verdict.fault) for b in (old, new)]
    return verdicts[0] == verdicts[1] and all(getattr(old, name) == getattr(new, name) for name in fields)


def _change(before: Bounce | None, after: Bounce | None) -> Change | None:
    shown = after or before
    told = (_told(before), _told(after))
    if shown is None or told[0] == told[1]:
        return None
    return Change(
        account=shown.account,
        bounce_id=shown.id,
        contact_id=shown.contact_id,
        address=shown.address,
        before=told[0],
        after=told[1],
    )


def _told(bounce: Bounce | None) -> str | None:
    if bounce is None:
        return None
    verdict: Mapping[str, str] = {
        "type": bounce.verdict.type,
        "reason": bounce.verdict.reason,
        "fault": bounce.verdict.fault,
    }
    return " ".join(verdict.values()) + (f" (ended: {bounce.ended_by})" if bounce.ended_by else "")
