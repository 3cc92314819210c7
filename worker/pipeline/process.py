"""fetch → detect → match → classify → attach: notices worked off in batches, each in one transaction."""

import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

from sqlalchemy.exc import DBAPIError, IntegrityError

from connectors import AuthRequired, Connector, ConnectorError, MessageGone, MessageRef, Throttled, from_json
from worker import schedule, signals
from worker.detect import detect
from worker.domain import DeliveryReport, Kind, address_key
from worker.heal import author
from worker.identity import report_digest
from worker.judge import VERDICT_KINDS
from worker.match import keys
from worker.pipeline.context import LONG_ENOUGH, TURN, Context
from worker.store import attention, inboxes, ledger, notices, raw
from worker.store.database import reading, retried, writing
from worker.store.inboxes import Inbox, InboxState
from worker.store.notices import Notice, NoticeState

log = logging.getLogger(__name__)

FETCH_BYTES: Final = 256 * 1024
"""How much of a notice is downloaded; `detect` needs no more."""
ATTEMPTS: Final = 5
"""How often a notice is tried before it is quarantined."""


def process(context: Context, inbox_id: str, notice_ids: Iterable[int], read_by: str) -> dict[NoticeState, int]:
    """Work off pending notices of one inbox; return how many ended in which state.

    `read_by` names the task for the evidence. A batch that fails is tried again notice by notice, so that one bad
    notice holds up no other.
    """
    with reading(context.engine) as connection:
        inbox = inboxes.get(connection, inbox_id)
        waiting = notices.pending(connection, notice_ids) if inbox else []
    if inbox is None or not waiting:
        return {}
    read = _read(context, inbox, waiting, read_by)
    try:
        return _settle(context, inbox, read)
    except IntegrityError:  # another worker has just kept the same report, bounce or address
        log.info("batch.collided", extra={"inbox": inbox.id})
    except DBAPIError:
        raise
    except Exception:
        log.exception("batch.failed", extra={"inbox": inbox.id})
    counts: Counter[NoticeState] = Counter()
    for item in read:
        counts.update(_settle_alone(context, inbox, item))
    return dict(counts)


def _read(context: Context, inbox: Inbox, waiting: Sequence[Notice], read_by: str) -> list[ledger.Read]:
    """Fetch and detect, outside of any transaction. What can't be fetched now is put off."""
    read: list[ledger.Read] = []
    try:
        connector = context.connect(inbox)
        try:
            leave_at = context.now() + LONG_ENOUGH
            for notice in waiting:
                if context.now() > leave_at:
                    break  # the sweep brings the rest back
                read.append(_read_one(context, connector, inbox, notice, read_by))
        finally:
            connector.close()
    except ConnectorError as error:
        done = {item.notice.id for item in read}
        _wait_for_inbox(context, inbox, [notice.id for notice in waiting if notice.id not in done], error)
    return read


@retried
def _wait_for_inbox(context: Context, inbox: Inbox, ids: Sequence[int], error: ConnectorError) -> None:
    """Put notices off because their inbox can't be read now: that is not their fault and doesn't count as a try."""
    now = context.now()
    wait = max(TURN, error.retry_after) if isinstance(error, Throttled) else TURN
    with writing(context.engine) as connection:
        notices.wait(connection, ids, str(error), now + wait)
        if isinstance(error, Throttled):  # whoever asks for patience isn't polled meanwhile either
            until = schedule.after_failure(now, inbox.failures, error, context.chance)
            inboxes.put_off(connection, inbox.id, until, str(error))
        if isinstance(error, AuthRequired) and inboxes.stop(connection, inbox.id, str(error)):
            attention.tell(connection, inbox, InboxState.NEEDS_ATTENTION, str(error), now)


def _read_one(context: Context, connector: Connector, inbox: Inbox, notice: Notice, read_by: str) -> ledger.Read:
    try:
        with context.span("fetch", correlation_id=notice.correlation_id, notice=notice.id):
            fetched = connector.fetch(MessageRef(notice.ref), FETCH_BYTES)
    except MessageGone as gone:
        return ledger.Read(notice=notice, inbox=inbox, read_by=read_by, state=NoticeState.GONE, reason=str(gone))
    except ConnectorError:
        raise
    try:
        with context.span("detect", correlation_id=notice.correlation_id, notice=notice.id):
            report = detect(fetched.raw)
    except Exception as error:  # a notice that breaks the reader must not stop the inbox
        reason = f"could not be read: {type(error).__name__}"
        names = {"inbox": inbox.id, "notice": notice.id, "correlation_id": notice.correlation_id}
        log.exception("notice.unreadable", extra=names)
        return ledger.Read(notice=notice, inbox=inbox, read_by=read_by, state=NoticeState.QUARANTINED, reason=reason)
    if report.kind not in VERDICT_KINDS and report.kind is not Kind.DELIVERED:
        return ledger.Read(
            notice=notice,
            inbox=inbox,
            read_by=read_by,
            state=NoticeState.NOT_A_BOUNCE,
            reason=report.kind,
            author=author(report, _authserv_id(inbox)),
        )
    digest = report_digest(fetched.raw)
    return ledger.Read(
        notice=notice,
        inbox=inbox,
        read_by=read_by,
        report=report,
        digest=digest,
        sealed=raw.sealed(context.ring, inbox.account, digest, fetched.raw) if context.keep_raw else None,
        hashes=_hashes(context, inbox.account, report),
    )


def _authserv_id(inbox: Inbox) -> str | None:
    return from_json(inbox.provider, inbox.settings).authserv_id


def _hashes(context: Context, account: str, report: DeliveryReport) -> tuple[tuple[str, bytes], ...]:
    """Return the keyed hashes of all that a report names."""
    named = [(proof.key.name, proof.key.value) for proof in keys(report)]
    for recipient in report.recipients:
        people = (recipient.final_recipient, recipient.original_recipient)
        named += [("recipient", address_key(address)) for address in people if address]
    return tuple((name, context.digest(account, name, value)) for name, value in dict.fromkeys(named))


@retried
def _settle(context: Context, inbox: Inbox, read: Sequence[ledger.Read]) -> dict[NoticeState, int]:
    """Match, classify and attach: bounces, timeline, addresses, outbox and "done" in one transaction."""
    with context.span("settle", inbox=inbox.id, notices=len(read)), writing(context.engine) as connection:
        now = context.now()
        keep_until = now + context.keep_raw if context.keep_raw else None
        settled = ledger.settle(connection, inbox.account, read, context.rules, context.digest, now, keep_until)
    _tell(context, inbox, read, settled)
    return settled.counts


def _tell(context: Context, inbox: Inbox, read: Sequence[ledger.Read], settled: ledger.Settled) -> None:
    """Say what became of a batch, once it is committed."""
    by_id = {item.notice.id: item for item in read}
    for one in settled.judged:
        for finding in one.judgement.findings:
            context.tell(
                signals.Judged(
                    correlation_id=one.read.notice.correlation_id,
                    report=one.notice.report_id,
                    type=finding.verdict.type,
                    reason=finding.verdict.reason,
                    fault=finding.verdict.fault,
                    matched_by=finding.match.rung,
                    rule=finding.verdict.rule,
                )
            )
    for ended in settled.ended:
        item = by_id[ended.notice_id]
        is_other = ended.state is NoticeState.NOT_A_BOUNCE  # then the reason is the kind of message that it is
        context.tell(
            signals.Ended(
                inbox=inbox.id,
                notice=ended.notice_id,
                correlation_id=item.notice.correlation_id,
                state=ended.state,
                kind=item.report.kind if item.report else ended.reason if is_other else None,
                detector=item.report.detector if item.report else None,
                report=ended.report_id,
            )
        )


def _settle_alone(context: Context, inbox: Inbox, item: ledger.Read) -> dict[NoticeState, int]:
    try:
        return _settle(context, inbox, [item])
    except IntegrityError:
        return _settle(context, inbox, [item])  # now it sees what the other worker has kept
    except DBAPIError:
        raise
    except Exception as error:  # noqa: BLE001 - as above: this one waits or is quarantined, the others go on
        return _try_again_later(context, inbox, item, f"could not be worked off: {type(error).__name__}: {error}")


@retried
def _try_again_later(context: Context, inbox: Inbox, item: ledger.Read, reason: str) -> dict[NoticeState, int]:
    notice = item.notice
    ended = notices.Ended(notice_id=notice.id, state=NoticeState.QUARANTINED, reason=reason)
    with writing(context.engine) as connection:
        if notice.attempts + 1 < ATTEMPTS:
            notices.wait(connection, [notice.id], reason, context.now() + TURN, tried=True)
            return {}
        notices.settle(connection, [ended])
    _tell(context, inbox, [item], ledger.Settled(ended=[ended]))
    return {NoticeState.QUARANTINED: 1}
