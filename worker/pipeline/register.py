"""What the CRM sent, and what no queue knows of any more."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from worker import entry, schedule
from worker.domain import SentEmail, storable
from worker.intake import NAME, InvalidSend, parse_send
from worker.pipeline.context import TURN, Context, batches
from worker.store import (
    inboxes,
    incidents,
    leases,
    ledger,
    lookups,
    notices,
    outbox,
    raw,
    retention,
    sends,
    webhooks,
)
from worker.store.database import reading, retried, writing

SENDS_AT_ONCE = 1_000
"""Sends that one transaction registers."""
WORTH = timedelta(minutes=10)
"""An inbox's last send isn't written anew for less: busy ones would be written at each send."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A send that isn't registered: its place in what was handed in (from 0), its id where it has one, and why."""

    row: int
    id: str | None
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Registered:
    """What registering came to. `requeued` counts notices that are looked at again because their sends are known now.

    `unknown_inboxes` are names that sends give and that the account has no inbox of: they may be connected later.
    """

    kept: int = 0
    refused: tuple[Refused, ...] = ()
    requeued: int = 0
    unknown_inboxes: frozenset[str] = frozenset()

    def __add__(self, other: "Registered") -> "Registered":
        return Registered(
            kept=self.kept + other.kept,
            refused=(*self.refused, *other.refused),
            requeued=self.requeued + other.requeued,
            unknown_inboxes=self.unknown_inboxes | other.unknown_inboxes,
        )


def take(context: Context, rows: Iterable[tuple[int, object]], account: str | None = None) -> Registered:
    """Register what is right of (row number, what was handed in), and say of the others why not.

    `account` is the one that the caller speaks for; None lets each row name its own, as an operator's file does.
    """
    good: list[tuple[int, SentEmail]] = []
    refused: list[Refused] = []
    for row, given in rows:
        try:
            good.append((row, _read(context, given, account)))
        except InvalidSend as problem:
            name = given.get("id") if isinstance(given, Mapping) else None
            refused.append(Refused(row=row, id=name if isinstance(name, str) else None, why=f"It {problem}."))
    done = register(context, [send for _, send in good])
    placed = [Refused(row=good[each.row][0], id=each.id, why=each.why) for each in done.refused]
    return Registered(
        kept=done.kept,
        refused=tuple(sorted((*refused, *placed), key=lambda each: each.row)),
        requeued=done.requeued,
        unknown_inboxes=done.unknown_inboxes,
    )


def _read(context: Context, given: object, account: str | None) -> SentEmail:
    if isinstance(given, InvalidSend):
        raise given
    if not isinstance(given, Mapping):
        raise InvalidSend("must be a JSON object")
    data: Mapping[str, Any] = given
    if account is not None:
        if data.get("account") not in (None, account):
            raise InvalidSend(f"names the account {data['account']!r}, and the key is of {account!r}"[:500])
        data = {**data, "account": account}
    return parse_send(data, context.now())


def register(context: Context, batch: Sequence[SentEmail]) -> Registered:
    """Keep what the CRM has sent. A repeat adds what was missing; what contradicts it or is too old is refused."""
    done = Registered()
    for start in range(0, len(batch), SENDS_AT_ONCE):
        part = batch[start : start + SENDS_AT_ONCE]
        done += _register(context, part, start)
        _look_sooner(context, part)
    return done


@retried
def _look_sooner(context: Context, batch: Sequence[SentEmail]) -> None:
    """Have the inboxes polled sooner through which something was sent: one write an inbox, and that only now and then.

    In a transaction of its own: registering waits for no poll, and were this lost, an inbox would be polled later.
    """
    now = context.now()
    latest: dict[tuple[str, str], datetime] = {}
    for send in batch:
        key = send.account, send.inbox
        latest[key] = max(latest.get(key, send.sent_at), min(send.sent_at, now))
    with writing(context.engine) as connection:
        for (account, name), sent_at in sorted(latest.items()):
            due_at = now + context.interval.after(now - sent_at)
            inboxes.sent_through(connection, account, name, sent_at, due_at, WORTH)


@retried
def _register(context: Context, batch: Sequence[SentEmail], first_row: int) -> Registered:
    now = context.now()
    with writing(context.engine) as connection:
        kept, refused = _told_apart(sends.known(connection, batch), batch, first_row, now, context.keep_sends)
        sends.register(connection, kept, context.digest, now)
        lookups.want(connection, [send for send in kept if send.message_id is None], now)
        requeued = notices.requeue_for(connection, kept, context.digest, now)
        unknown = inboxes.unknown(connection, {(send.account, send.inbox) for send in kept})
    return Registered(
        kept=len(kept),
        refused=tuple(refused),
        requeued=requeued,
        unknown_inboxes=frozenset(name for _, name in unknown),
    )


def _told_apart(
    known: Mapping[tuple[str, str], SentEmail],
    batch: Sequence[SentEmail],
    first_row: int,
    now: datetime,
    keep: timedelta | None,
) -> tuple[list[SentEmail], list[Refused]]:
    """Return what can be registered, and of the others why not."""
    seen = dict(known)
    kept: list[SentEmail] = []
    refused: list[Refused] = []
    for row, send in enumerate(batch, first_row):
        before = seen.get((send.account, send.id))
        if why := _too_old(send, now, keep) or _contradiction(send, before):
            refused.append(Refused(row=row, id=send.id, why=why))
            continue
        seen[send.account, send.id] = send if before is None else before.completed_by(send)
        kept.append(send)
    return kept, refused


def _too_old(send: SentEmail, now: datetime, keep: timedelta | None) -> str | None:
    """Say so of a send that the next sweep would drop: to take it in silence would promise what can't be kept."""
    if keep is None or send.sent_at >= now - keep:
        return None
    return (
        f"It was sent on {send.sent_at:%Y-%m-%d}, and sends are kept for {keep.days} days (BOUNCE_WORKER_SENDS_DAYS)."
    )


def _contradiction(send: SentEmail, before: SentEmail | None) -> str | None:
    fields = before.contradicted_by(send) if before else []
    if not fields:
        return None
    return f"It was registered before with another {', '.join(fields)}: an id stands for one email."


def take_message(context: Context, rows: Sequence[object], message_id: str) -> Registered:
    """Register sends that came by the CRM's queue; what is refused is told as an event, for nobody waits for an answer.

    Each row names its account; of one that names none, only the log tells. A message that is delivered again tells the
    same event again, under the same id.
    """
    done = take(context, list(enumerate(rows)))
    by_account: dict[str, list[dict[str, Any]]] = {}
    for each in done.refused:
        if account := _account_of(rows[each.row]):
            by_account.setdefault(account, []).append(asdict(each))
    told = [entry.refused_sends_event(account, told, message_id) for account, told in sorted(by_account.items())]
    with writing(context.engine) as connection:
        rows_told = [(event["id"], event["account"], event["type"], event) for event in told]
        outbox.add(connection, rows_told, context.now())
    return done


def _account_of(given: object) -> str | None:
    """Return whom to tell of a send that was refused; nobody need have heard of that account before."""
    account = given.get("account") if isinstance(given, Mapping) else None
    return storable(account) if isinstance(account, str) and len(account) <= NAME else None


@retried
def sweep(context: Context, limit: int = 1_000) -> dict[str, list[list[int]]]:
    """Find what no queue knows of any more; return batches of notice ids by inbox."""
    now = context.now()
    with writing(context.engine) as connection:
        furthest = now + context.interval.furthest
        inboxes.mend_times(connection, now, furthest, schedule.CLOCK_SKEW)
        leases.forget_over(connection, now, schedule.latest_lease(now))
        notices.mend_times(connection, now, schedule.CLOCK_SKEW)
        notices.forget_expired(connection, now)
        lookups.forget_expired(connection, now)
        raw.forget_expired(connection, now)
        retention.drop_old(connection, now)
        ledger.give_up_overdue(connection, context.digest, now, limit)
        incidents.close_those_over(connection, now)
        notices.requeue_known(connection, now)
        due = notices.take_due(connection, now, now + TURN, limit)
    by_inbox: dict[str, list[int]] = {}
    for inbox_id, notice_id in sorted(due):
        by_inbox.setdefault(inbox_id, []).append(notice_id)
    return {inbox_id: batches(ids) for inbox_id, ids in by_inbox.items()}


def idle(context: Context) -> bool:
    """Whether nothing is due: no inbox to poll, no notice to work off, no event to hand over."""
    now = context.now()
    with reading(context.engine) as connection:
        return not (
            inboxes.any_due(connection, now)
            or notices.any_pending(connection)
            or outbox.any_due(connection)
            or webhooks.any_due(connection, now)
        )
