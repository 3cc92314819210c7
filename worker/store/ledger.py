"""Settling a batch of notices: everything that they change, read and written on one connection."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy.engine import Connection

from connectors.settings import from_json
from worker import entry
from worker.attach import PATIENCE, delivered, digest_id, reported, wrote
from worker.classify import Rules
from worker.domain import AccountRules, Bounce, DeliveryReport, Kind, Policy, SentEmail
from worker.judge import Judgement, judge, occurred
from worker.judge import Notice as JudgedNotice
from worker.match import WINDOW, keys, needs_scoring
from worker.store import accounts, bounces, folding, inboxes, lookups, notices, raw, sends
from worker.store.inboxes import Inbox
from worker.store.keyring import Digester
from worker.store.notices import Notice, NoticeState


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """A notice that was fetched. `report` is None where there is nothing to judge; then `state` says how it ended.

    `author` is who provably wrote a message that is no notice.
    """

    notice: Notice
    inbox: Inbox
    read_by: str
    report: DeliveryReport | None = None
    digest: str = ""
    hashes: tuple[tuple[str, bytes], ...] = ()
    state: NoticeState | None = None
    reason: str | None = None
    author: str | None = None
    sealed: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A report that was read, and what it comes to."""

    read: Read
    notice: JudgedNotice
    judgement: Judgement


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """What a batch came to: how each notice ended, and what was judged of those that nobody had seen yet."""

    ended: Sequence[notices.Ended] = ()
    judged: Sequence[Judged] = ()

    @property
    def counts(self) -> dict[NoticeState, int]:
        """How many notices ended in which state."""
        return dict(Counter(each.state for each in self.ended))


def settle(
    connection: Connection,
    account: str,
    read: Sequence[Read],
    rules: Rules,
    digest: Digester,
    now: datetime,
    keep_until: datetime | None = None,
) -> Settled:
    """Write what a batch of one account's notices comes to.

    A notice that another worker holds or has settled meanwhile is left alone. Where two workers keep the same report
    or bounce at once, the later one's insert raises IntegrityError and nothing of its batch is kept.
    """
    held = {notice.id for notice in notices.lock_pending(connection, [item.notice.id for item in read])}
    mine = [item for item in read if item.notice.id in held]
    ended: list[notices.Ended] = []

    def end(item: Read, state: NoticeState, reason: str | None = None, report_id: str | None = None) -> None:
        ended.append(notices.Ended(notice_id=item.notice.id, state=state, reason=reason, report_id=report_id))

    for item in mine:
        if item.state is not None:
            end(item, item.state, item.reason)
    _heal_all(connection, account, [item for item in mine if item.author], digest, now)
    fresh, repeated = _told_apart(connection, account, [item for item in mine if item.report])
    for item in repeated:
        end(item, NoticeState.DUPLICATE, report_id=_report_id(account, item))
    judged = judge_all(connection, account, fresh, rules, digest)
    matched = [one for one in judged if one.judgement.findings or one.judgement.doubts]
    others = [one for one in judged if not (one.judgement.findings or one.judgement.doubts)]
    unmatched = [one.read for one in others if one.notice.report.kind is not Kind.DELIVERED]
    for one in matched:
        state = NoticeState.ATTACHED if one.judgement.findings else NoticeState.REVIEW
        end(one.read, state, report_id=one.notice.report_id)
    for one in others:
        if one.notice.report.kind is Kind.DELIVERED:
            end(one.read, NoticeState.NOT_A_BOUNCE, Kind.DELIVERED)
    for item in unmatched:
        notices.remember_unmatched(connection, item.notice, item.hashes, now)
        end(item, NoticeState.UNMATCHED)
    # What names an id that isn't ours may mean an email of ours that left under another id.
    lookups.want(connection, _around(connection, account, [item for item in unmatched if not _scored(item)]), now)
    raw.keep(connection, [row for one in matched if (row := _raw_row(account, one, keep_until))])
    bounces.add_reports(connection, [(one.notice.report_id, account, one.notice.report) for one in matched], now)
    _attach_all(connection, account, judged, digest, now)
    _review_all(connection, matched, now)
    notices.settle(connection, ended)
    return Settled(ended=ended, judged=judged)


def _raw_row(account: str, one: Judged, keep_until: datetime | None) -> dict[str, object] | None:
    if one.read.sealed is None or keep_until is None:
        return None
    return {
        "account": account,
        "report_id": one.notice.report_id,
        "inbox_id": one.read.inbox.id,
        "digest": one.read.digest,
        "thread_id": one.read.notice.thread_id,
        "received_at": one.read.notice.received_at,
        "found_at": one.read.notice.found_at,
        "sealed": one.read.sealed,
        "expires_at": keep_until,
    }


def _told_apart(connection: Connection, account: str, read: Sequence[Read]) -> tuple[list[Read], list[Read]]:
    """Return reports that nobody has seen yet, each once, and repeats of others."""
    fresh: list[Read] = []
    repeated: list[Read] = []
    known = bounces.known_reports(connection, {_report_id(account, item) for item in read})
    for item in read:
        report_id = _report_id(account, item)
        (repeated if report_id in known else fresh).append(item)
        known.add(report_id)
    return fresh, repeated


def give_up_overdue(connection: Connection, digest: Digester, now: datetime, limit: int) -> int:
    """Turn bounces soft that were pending for too long, end those whose time the account limits; return how many."""
    by_account: defaultdict[str, list[Bounce]] = defaultdict(list)
    for bounce in bounces.overdue(connection, PATIENCE, now, limit):
        by_account[bounce.account].append(bounce)
    for account, life in accounts.giving_full_mailboxes_time(connection).items():
        by_account[account] += bounces.of_full_mailboxes(connection, account, now - life, limit)
    return sum(folding.refold(connection, account, due, digest, now) for account, due in sorted(by_account.items()))


def _report_id(account: str, item: Read) -> str:
    return digest_id("report", account, item.digest)


def judge_all(
    connection: Connection, account: str, read: Sequence[Read], rules: Rules, digest: Digester
) -> list[Judged]:
    """Match and classify reports, with one look-up for all of them."""
    wanted = {proof.key for item in read if item.report for proof in keys(item.report, item.notice.thread_id)}
    found = sends.find(connection, account, wanted, digest)
    around = _around(connection, account, [item for item in read if _scored(item)])
    judged = []
    for item in read:
        if item.report is None:
            continue
        notice = JudgedNotice(
            report_id=_report_id(account, item),
            report=item.report,
            inbox=item.inbox.name,
            inbox_address=item.inbox.address,
            thread_id=item.notice.thread_id,
            authserv_id=from_json(item.inbox.provider, item.inbox.settings).authserv_id,
            received_at=item.notice.received_at,
            found_at=item.notice.found_at,
            read_by=item.read_by,
        )
        judged.append(Judged(read=item, notice=notice, judgement=judge(notice, found, rules, around)))
    return judged


def _scored(item: Read) -> bool:
    return item.report is not None and item.report.kind is not Kind.DELIVERED and needs_scoring(item.report)


def _around(connection: Connection, account: str, read: Sequence[Read]) -> list[SentEmail]:
    """Return the sends to the recipients of notices, within the window before they came."""
    people: set[str] = set()
    times: list[datetime] = []
    for item in read:
        if item.report is not None:
            named = ((r.final_recipient, r.original_recipient) for r in item.report.recipients)
            people |= {address for pair in named for address in pair if address}
            times.append(item.notice.received_at or item.notice.found_at)
    if not people:
        return []
    return sends.around(connection, account, people, min(times) - WINDOW, max(times) + notices.CLOCK_SKEW)


def _attach_all(
    connection: Connection, account: str, judged: Sequence[Judged], digest: Digester, now: datetime
) -> None:
    """Keep what all reports say, and fold what that touches: bounces, timeline, addresses, outbox."""
    findings = [finding for one in judged for finding in one.judgement.findings]
    served = [
        delivered(match, one.notice.report_id, occurred(one.notice), now)
        for one in judged
        for match in one.judgement.deliveries
    ]
    if findings or served:
        rules, own = accounts.rules(connection, account), inboxes.policies(connection, account)
        new = [reported(each, ruled(rules, own, each.match.send.inbox), now) for each in findings]
        matches = [*(each.match for each in findings), *(m for one in judged for m in one.judgement.deliveries)]
        emails = {match.send.id: match.send for match in matches}
        followed = {one.notice.report_id: one.read.notice.correlation_id for one in judged}
        folding.record(connection, account, [*new, *served], digest, now, emails=emails, followed=followed)


def ruled(rules: AccountRules, own: Mapping[str, Policy], inbox: str) -> AccountRules:
    """Return the rules for emails of an inbox: its own policy goes before its account's."""
    return replace(rules, policy=own.get(inbox, rules.policy))


def _heal_all(connection: Connection, account: str, read: Sequence[Read], digest: Digester, now: datetime) -> None:
    """Note down who wrote, if a bounce of theirs stands: of other people's mail nothing is kept."""
    authors = {item.author: item for item in read if item.author}
    stands = bounces.with_standing(connection, account, authors)
    new = [wrote(account, name, _when(item), now) for name, item in authors.items() if name in stands]
    folding.record(connection, account, new, digest, now)


def _when(item: Read) -> datetime:
    return item.notice.received_at or item.notice.found_at


def _review_all(connection: Connection, judged: Sequence[Judged], now: datetime) -> None:
    rows = []
    for one in judged:
        for doubt in one.judgement.doubts:
            waiting = entry.review_entry(one.notice, doubt)
            rows.append(
                {
                    "id": waiting["id"],
                    "account": waiting["account"],
                    "report_id": one.notice.report_id,
                    "state": "waiting",
                    "why": doubt.outcome.why,
                    "entry": waiting,
                    "recorded_at": now,
                }
            )
    bounces.add_review(connection, rows)
