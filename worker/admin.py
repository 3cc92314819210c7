"""What an operator does to inboxes and accounts, each in a transaction of its own."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from connectors import MaildirSettings, Settings, from_json, sign_in, to_json
from connectors.endpoint import endpoint
from connectors.settings import from_fields, provider_of
from worker.domain import Bounce, Policy, SentEmail, utc
from worker.entry import timeline_entry
from worker.incidents import Incident
from worker.pipeline import Context
from worker.store import (
    accounts,
    bounces,
    credentials,
    facts,
    inboxes,
    incidents,
    notices,
    people,
    raw,
    sends,
    sign_ins,
    webhooks,
)
from worker.store.database import reading, writing
from worker.store.inboxes import Inbox, InboxState
from worker.store.keyring import reseal_digester

NOTICES_AT_ONCE: Final = 500
CLOCK_SKEW: Final = timedelta(minutes=5)
"""How far a mail server's clock may be behind ours before mail of the first moments would be missed."""


class AdminProblem(Exception):
    """Something that was asked for can't be done; the text says why and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InboxRequest:
    """An inbox as a person describes it. `secret` is a password or a grant; `since` None means from now on.

    `trusted` says that the operator speaks, who may name any host; a tenant's hosts are reached through the guard.
    """

    account: str
    name: str
    address: str
    settings: Settings
    since: datetime | None = None
    secret: str | None = None
    trusted: bool = False
    policy: Policy | None = None


def add_inbox(context: Context, request: InboxRequest) -> Inbox:
    """Connect an inbox. Raises `AdminProblem` where the account has one of that name, or may not have such a one."""
    now = context.now()
    if isinstance(request.settings, MaildirSettings) and not request.trusted:
        raise AdminProblem("Only the operator may connect a folder of this machine, from the command line.")
    inbox = Inbox(
        id=uuid.uuid4().hex,
        account=request.account,
        name=request.name,
        address=request.address,
        provider=provider_of(request.settings),
        settings=to_json(request.settings),
        state=InboxState.ACTIVE,
        attention=None,
        cursor=None,
        since=request.since or now - CLOCK_SKEW,
        caught_up_at=None,
        last_poll_at=None,
        failures=0,
        next_poll_at=now,
        lease_until=None,
        lease_token=0,
        created_at=now,
        trusted=request.trusted,
        policy=request.policy,
        host=host_of(request.settings),
    )
    with writing(context.engine) as connection:
        if inboxes.find(connection, account=request.account, name=request.name):
            raise AdminProblem(f"Account {request.account} already has an inbox named {request.name}.")
        accounts.ensure(connection, request.account, now)
        inboxes.add(connection, inbox)
        if request.secret is not None:
            credentials.put(connection, context.ring, inbox.id, request.secret)
    return inbox


OPERATORS: Final = frozenset({"ca_file", "api", "connect_timeout", "read_timeout", "units_per_minute"})
"""Settings that only the operator may choose: files of this machine, and how much of it an inbox may take."""


def connect_inbox(
    context: Context,
    account: str,
    *,
    name: str,
    address: str,
    provider: str,
    settings: Mapping[str, Any],
    secret: str | None,
) -> Inbox:
    """Connect an inbox as a tenant asks for it, who may not name everything. Raises `AdminProblem`, `Misconfigured`."""
    if forbidden := sorted(OPERATORS & settings.keys()):
        raise AdminProblem(f"Only the operator may choose {', '.join(forbidden)}.")
    named = {"address": address} if provider in ("gmail", "office365", "exchange") else {}
    chosen = from_fields(provider, {**named, **settings})
    request = InboxRequest(account=account, name=name, address=address, settings=chosen, secret=secret)
    return add_inbox(context, request)


def host_of(settings: Settings) -> str | None:
    """Return the host that an inbox's limits are counted by; None where it lies on no server."""
    place = endpoint(settings)
    return place.host.lower() if place else None


def all_inboxes(context: Context, account: str | None = None) -> list[tuple[Inbox, Mapping[str, int]]]:
    """Return inboxes, each with how many of its notices stand in which state."""
    with reading(context.engine) as connection:
        return [(inbox, notices.counts(connection, inbox.id)) for inbox in inboxes.find(connection, account=account)]


def inbox_rows(context: Context, account: str | None = None, name: str | None = None) -> list[dict[str, Any]]:
    """Return inboxes and their health as JSON objects."""
    rows = all_inboxes(context, account)
    return [_inbox_row(inbox, counts) for inbox, counts in rows if name in (None, inbox.name)]


def _inbox_row(inbox: Inbox, counts: Mapping[str, int]) -> dict[str, Any]:
    names = ("account", "name", "address", "provider", "state", "attention", "failures")
    times = ("since", "last_poll_at", "caught_up_at", "next_poll_at", "sign_in_ends_at")
    moments = {key: getattr(inbox, key) for key in times}
    return {
        "schema": 1,
        **{key: getattr(inbox, key) for key in names},
        **{key: moment.isoformat() if moment else None for key, moment in moments.items()},
        "notices": dict(counts),
    }


def the_inbox(context: Context, name: str, account: str | None) -> Inbox:
    """Return the inbox of that name. Raises `AdminProblem` where there is none, or several accounts have one."""
    with reading(context.engine) as connection:
        found = inboxes.find(connection, account=account, name=name)
    if not found:
        raise AdminProblem(f"There is no inbox named {name}{f' in account {account}' if account else ''}.")
    if len(found) > 1:
        names = ", ".join(inbox.account for inbox in found)
        raise AdminProblem(f"Several accounts have an inbox named {name} ({names}): say which with --account.")
    return found[0]


def pause(context: Context, inbox: Inbox) -> None:
    """Stop reading an inbox until it is resumed."""
    with writing(context.engine) as connection:
        inboxes.change(connection, inbox.id, state=InboxState.PAUSED)


def resume(context: Context, inbox: Inbox, secret: str | None = None) -> None:
    """Read an inbox again, at once, from where reading stopped; with a new password where one is given."""
    now = context.now()
    with writing(context.engine) as connection:
        if secret is not None:
            credentials.put(connection, context.ring, inbox.id, secret)
        inboxes.change(
            connection,
            inbox.id,
            state=InboxState.ACTIVE,
            attention=None,
            failures=0,
            next_poll_at=now,
            lease_until=None,
        )


def client_of(context: Context, inbox: Inbox) -> Mapping[str, Any]:
    """Return the client by which somebody has signed in to an inbox. Raises `Misconfigured` and `AuthRequired`."""
    stored = credentials.DatabaseCredentials(context.engine, context.ring, inbox.id)
    return sign_in.read_client(stored.load()[0])


def begin_sign_in(context: Context, inbox: Inbox, redirect_uri: str, client: Mapping[str, Any]) -> str:
    """Return where a person signs in to an inbox anew.

    Their browser comes back to `redirect_uri`, which hands its parameters to `finish_sign_in`.
    """
    settings = from_json(inbox.provider, inbox.settings)
    begun = sign_in.begin(
        client,
        sign_in.resource_of(settings),
        redirect_uri,
        inbox.address,
        context.dial(inbox),
        ca_file=getattr(settings, "ca_file", None),
    )
    now = context.now()
    with writing(context.engine) as connection:
        sign_ins.put(connection, context.ring, inbox.id, begun.state, begun.flow, now, now + sign_in.TIME_TO_SIGN_IN)
    return begun.url


def finish_sign_in(context: Context, answer: Mapping[str, str]) -> Inbox:
    """Store the grant that a person's return brings, and read the inbox again. Raises what went wrong, once."""
    with writing(context.engine) as connection:
        taken = sign_ins.take(connection, context.ring, answer.get("state", ""), context.now())
        inbox = inboxes.get(connection, taken[0]) if taken else None
    if taken is None or inbox is None:
        raise AdminProblem("This sign-in is over or was never begun: begin again.")
    ca_file = getattr(from_json(inbox.provider, inbox.settings), "ca_file", None)
    grant = sign_in.finish(taken[1], answer, context.dial(inbox), ca_file=ca_file)
    resume(context, inbox, grant)
    return inbox


def rekey(context: Context) -> int:
    """Encrypt every secret at rest anew with the newest key; return how many. The older keys may be dropped then."""
    renewed = 0
    with reading(context.engine) as connection:
        ids = credentials.stored(connection)
    for inbox_id in ids:
        with writing(context.engine) as connection:
            renewed += credentials.reseal(connection, context.ring, inbox_id)
    with writing(context.engine) as connection:
        reseal_digester(connection, context.ring)
        renewed += webhooks.reseal(connection, context.ring)
    after = ("", "")
    while True:
        with writing(context.engine) as connection:
            kept = raw.page(connection, None, after, NOTICES_AT_ONCE)
            raw.reseal(connection, context.ring, kept)
        if not kept:
            return renewed
        renewed += len(kept)
        after = (kept[-1].account, kept[-1].report_id)


def remove(context: Context, inbox: Inbox, *, purge: bool = False) -> None:
    """Forget an inbox, its password and its open notices; with `purge` also the bounces of emails sent from it."""
    with writing(context.engine) as connection:
        inboxes.remove(connection, inbox.id)
        if purge:
            people.purge_inbox(connection, inbox.account, inbox.name, context.digest, context.now())


def bounce_page(
    context: Context, account: str, contact_id: str | None = None, *, after: str | None = None, limit: int
) -> list[dict[str, Any]]:
    """Return timeline entries behind a position, oldest record first. Raises `AdminProblem` for no position."""
    with reading(context.engine) as connection:
        found = bounces.timeline_page(connection, account, contact_id, _place(after), limit)
    return [timeline_entry(bounce, reports) for bounce, reports in found]


def position_of(row: Mapping[str, Any]) -> str:
    """Return where a page that ends with this entry goes on."""
    return f"{row['recorded_at']} {row['id']}"


def _place(after: str | None) -> tuple[datetime, str] | None:
    if after is None:
        return None
    moment, _, last = after.partition(" ")
    try:
        return utc(datetime.fromisoformat(moment)), last
    except (ValueError, OverflowError):
        raise AdminProblem("`after` is the `next` of an earlier answer, and nothing else.") from None


def bounce(context: Context, account: str, bounce_id: str) -> dict[str, Any]:
    """Return one bounce as a timeline entry. Raises `AdminProblem` where the account has none of that id."""
    with reading(context.engine) as connection:
        found = bounces.get(connection, account, bounce_id)
        reports = facts.reports_of(connection, account, [bounce_id])
    if found is None:
        raise AdminProblem(f"There is no bounce {bounce_id} in account {account}.")
    return timeline_entry(found, reports.get(found.id, []))


def timeline(context: Context, account: str | None, contact_id: str | None = None) -> list[dict[str, Any]]:
    """Return timeline entries as JSON objects, oldest first."""
    with reading(context.engine) as connection:
        found = bounces.timeline_entries(connection, account=account, contact_id=contact_id)
    return [timeline_entry(bounce, reports) for bounce, reports in found]


def the_bounce(context: Context, bounce_id: str, account: str | None) -> dict[str, Any]:
    """Return the bounce whose id begins so. Raises `AdminProblem` where there is none, or more than one."""
    found = [row for row in timeline(context, account) if row["id"].startswith(bounce_id)]
    if not found:
        raise AdminProblem(f"There is no bounce {bounce_id}.")
    if len(found) > 1:
        raise AdminProblem(f"{len(found)} bounces begin with {bounce_id}: give more of the id.")
    return found[0]


def waiting(
    context: Context, account: str | None, *, after: str | None = None, limit: int | None = None
) -> list[dict[str, Any]]:
    """Return what waits for review behind a position as JSON objects, oldest first."""
    with reading(context.engine) as connection:
        found = bounces.review_entries(connection, account, _place(after), limit)
    return [row | {"recorded_at": moment.isoformat()} for moment, row in found]


def all_incidents(
    context: Context, account: str | None, *, closed_too: bool = False
) -> list[tuple[Incident, Bounce | None]]:
    """Return incidents of inboxes, newest first, each with an example."""
    with reading(context.engine) as connection:
        return incidents.listed(connection, account, closed_too=closed_too)


def all_sends(context: Context, account: str | None) -> list[SentEmail]:
    """Return every registered send; for dry runs."""
    with reading(context.engine) as connection:
        return sends.load_all(connection, account)
