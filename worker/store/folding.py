"""Facts in, bounces out: what is recorded is kept, all that it touches is folded anew, and the CRM is told.

Whoever records facts about an address holds the address until the commit, so that no two workers fold the same bounce
without each other's facts.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from types import MappingProxyType

from sqlalchemy.engine import Connection

from worker import entry
from worker.attach import address_events, address_state, digest_id, events, standing
from worker.domain import AccountRules, AddressState, Bounce, Event, Fact, SentEmail
from worker.incidents import is_senders
from worker.store import accounts, bounces, everywhere, facts, incidents, outbox, sends
from worker.store.keyring import Digester


def record(
    connection: Connection,
    account: str,
    new: Sequence[Fact],
    digest: Digester,
    now: datetime,
    *,
    emails: Mapping[str, SentEmail] = MappingProxyType({}),
    followed: Mapping[str, str] = MappingProxyType({}),
) -> int:
    """Keep facts of one account and fold what they touch; return how many bounces changed.

    `emails` are those, by id, that the caller has loaded already; `followed` has the correlation ids of reports.
    """
    if not new:
        return 0
    keys = {fact.address for fact in new}
    held = bounces.hold_addresses(connection, account, keys, now)
    facts.add(connection, new)
    rows = bounces.of_addresses(connection, account, keys - held.new)
    causes = _causes(new, rows)
    # Of an address that is new nothing else can be known: most that bounce never did before.
    fresh = {fact.id: fact for fact in reversed(new) if fact.address in held.new}.values()
    older = causes.keys() - {fact.bounce_id for fact in fresh}
    told = [*fresh, *facts.of_bounces(connection, account, older, keys - held.new)]
    return _fold(connection, account, rows, held.states, causes, told, emails, followed, digest, now)


def refold(connection: Connection, account: str, due: Iterable[Bounce], digest: Digester, now: datetime) -> int:
    """Fold bounces anew for which time alone has changed something; return how many changed."""
    waiting = list(due)
    keys = {bounces.key_of(bounce) for bounce in waiting}
    held = bounces.hold_addresses(connection, account, keys, now)
    rows = bounces.of_addresses(connection, account, keys)
    causes = {bounce.id: "time" for bounce in waiting}
    told = facts.of_bounces(connection, account, causes, held.states)
    return _fold(connection, account, rows, held.states, causes, told, {}, {}, digest, now)


def _causes(new: Sequence[Fact], rows: Mapping[str, Bounce]) -> dict[str, str]:
    """Return the bounces that facts touch, each with a name for all that touches it now."""
    by_bounce: dict[str, list[str]] = {}
    for fact in new:
        named = (
            [fact.bounce_id] if fact.bounce_id else [b.id for b in rows.values() if bounces.key_of(b) == fact.address]
        )
        for name in named:
            by_bounce.setdefault(name, []).append(fact.id)
    return {name: digest_id(*sorted(ids)) for name, ids in by_bounce.items()}


def _fold(
    connection: Connection,
    account: str,
    rows: dict[str, Bounce],
    before: Mapping[str, AddressState],
    causes: Mapping[str, str],
    told: Iterable[Fact],
    loaded: Mapping[str, SentEmail],
    followed: Mapping[str, str],
    digest: Digester,
    now: datetime,
) -> int:
    rules = accounts.rules(connection, account)
    known: dict[str | None, list[Fact]] = {}
    for fact in told:
        known.setdefault(fact.bounce_id, []).append(fact)
    emails = dict(loaded) | sends.load(connection, account, _emails(known, rows, causes) - loaded.keys())
    changed: dict[str, Bounce] = {}
    happened: list[Event] = []
    for name, cause in sorted(causes.items()):
        own = known.get(name, [])
        old = rows.get(name)
        send_id = old.send_id if old else next((fact.bounce.send_id for fact in own if fact.bounce), "")
        email = emails.get(send_id)
        key = bounces.key_of(old) if old else next((fact.address for fact in own), "")
        shared = [fact for fact in known.get(None, []) if fact.address == key]
        new = standing([*own, *shared], email.sent_at if email else None, rules, now)
        if new is None or _is_same(old, new):
            continue
        changed[name] = replace(new, recorded_at=old.recorded_at if old else new.recorded_at, updated_at=now)
        happened += events(old, changed[name], email, rules, cause)
    bounces.save(connection, changed.values(), rows)
    happened += _addresses(connection, account, rows | changed, changed, before, rules, causes, now)
    if rules.takes_part:
        _tell_everywhere(connection, account, rows | changed, changed, digest)
    incidents.look(connection, account, {b.inbox for b in changed.values() if is_senders(b)}, now)
    payloads = [
        (each, entry.event(each, [each.bounce.report_id], followed.get(each.bounce.report_id))) for each in happened
    ]
    outbox.add(connection, [(each.id, account, str(each.type), payload) for each, payload in payloads], now)
    return len(changed)


def _addresses(
    connection: Connection,
    account: str,
    rows: Mapping[str, Bounce],
    changed: Mapping[str, Bounce],
    before: Mapping[str, AddressState],
    rules: AccountRules,
    causes: Mapping[str, str],
    now: datetime,
) -> list[Event]:
    """Work out what the addresses are now, write those that changed, and return what the CRM is told."""
    happened: list[Event] = []
    states = []
    for key, old in before.items():
        latest = next((b for b in reversed(list(changed.values())) if bounces.key_of(b) == key), None)
        if latest is None:
            continue
        new = address_state(account, key, [b for b in rows.values() if bounces.key_of(b) == key], rules)
        if new != old:
            states.append(new)
            happened += address_events(old, new, latest, causes[latest.id])
    bounces.save_addresses(connection, states, now)
    return happened


def _tell_everywhere(
    connection: Connection, account: str, rows: Mapping[str, Bounce], changed: Mapping[str, Bounce], digest: Digester
) -> None:
    """Keep what counts for other accounts up with what stands in this one."""
    for key in {bounces.key_of(bounce) for bounce in changed.values()}:
        own = [bounce for bounce in rows.values() if bounces.key_of(bounce) == key]
        everywhere.note(connection, account, everywhere.hashed(digest, key), everywhere.proof(own))


def _emails(
    known: Mapping[str | None, Sequence[Fact]], rows: Mapping[str, Bounce], causes: Mapping[str, str]
) -> set[str]:
    told = {fact.bounce.send_id for own in known.values() for fact in own if fact.bounce}
    return told | {rows[name].send_id for name in causes if name in rows}


def _is_same(old: Bounce | None, new: Bounce) -> bool:
    return old is not None and replace(new, recorded_at=old.recorded_at, updated_at=old.updated_at) == old
