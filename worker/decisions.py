"""What people decide about bounces: each decision is a fact with a name and a reason, and can be taken back."""

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy.engine import Connection

from worker.admin import AdminProblem
from worker.attach import bounce_id, digest_id
from worker.domain import (
    Bounce,
    BounceType,
    Evidence,
    Fact,
    FactKind,
    Fault,
    Policy,
    Reason,
    Recipient,
    Rung,
    SentEmail,
    Verdict,
    address_key,
)
from worker.pipeline import Context
from worker.store import accounts, bounces, facts, folding, reviews, sends
from worker.store.database import reading, writing
from worker.store.keyring import Digester

UNBOUNCES: Final = 50
"""Un-bounces that one account may make in an hour: whoever lifts more has not looked at each."""
HOUR: Final = timedelta(hours=1)
UNDOABLE: Final = frozenset({FactKind.UNBOUNCED, FactKind.REJECTED})


def unbounce(context: Context, account: str, address: str, by: str, why: str) -> str:
    """Lift all bounces of an address that stand; return the decision's id. A later bounce counts anew."""
    now = context.now()
    with writing(context.engine) as connection:
        known = bounces.of_addresses(connection, account, [address_key(address)])
        if not any(bounce.stands for bounce in known.values()):
            raise AdminProblem(f"No bounce of {address} stands in account {account}: there is nothing to lift.")
        if facts.count_since(connection, account, FactKind.UNBOUNCED, now - HOUR) >= UNBOUNCES:
            raise AdminProblem(
                f"Account {account} has lifted {UNBOUNCES} addresses within the hour: look at each, and go on later."
            )
        return _decide(connection, context.digest, account, FactKind.UNBOUNCED, address, by, why, now)


def reject(context: Context, account: str, bounce: str, by: str, why: str) -> str:
    """Say that the report which speaks for a bounce is none, or of something else; return the decision's id."""
    with writing(context.engine) as connection:
        found = _bounce(connection, account, bounce)
        now = context.now()
        return _decide(
            connection,
            context.digest,
            account,
            FactKind.REJECTED,
            found.address,
            by,
            why,
            now,
            about=found.report_id,
            bounce=found.id,
        )


def undo(context: Context, account: str, decision: str, by: str, why: str) -> None:
    """Take a decision back: all is as if it had never been made, but for the trail."""
    with writing(context.engine) as connection:
        fact = facts.get(connection, account, decision)
        if fact is None or fact.kind not in UNDOABLE:
            raise AdminProblem(f"There is no decision {decision} in account {account} that can be taken back.")
        now = context.now()
        _decide(
            connection,
            context.digest,
            account,
            FactKind.UNDONE,
            fact.address,
            by,
            why,
            now,
            about=fact.id,
            bounce=fact.bounce_id,
        )


def trail(context: Context, account: str, address: str) -> list[dict[str, Any]]:
    """Return all that is known to have happened to an address, in the order in which it became known."""
    with reading(context.engine) as connection:
        found = facts.of_address(connection, account, address)
    return [
        {
            "schema": 1,
            "id": fact.id,
            "kind": fact.kind,
            "account": fact.account,
            "address": fact.address,
            "bounce_id": fact.bounce_id,
            "at": fact.at.isoformat(),
            "recorded_at": fact.recorded_at.isoformat(),
            "by": fact.by,
            "why": fact.why,
            "about": fact.about,
            "type": fact.bounce.verdict.type if fact.bounce else None,
            "reason": fact.bounce.verdict.reason if fact.bounce else None,
        }
        for fact in found
    ]


def accept(
    context: Context,
    account: str,
    review: str,
    by: str,
    why: str | None,
    *,
    send: str | None = None,
    contact: str | None = None,
) -> str:
    """Attach what waited for a person, to the likeliest email and recipient or those named; return the bounce's id."""
    now = context.now()
    with writing(context.engine) as connection:
        entry = _waiting(connection, account, review)
        email, recipient = _meant(connection, account, entry, send, contact)
        fact = _accepted(entry, email, recipient, accounts.rules(connection, account).policy, by, why, now)
        reviews.decide(connection, account, entry["id"], "accepted", by, why, now)
        folding.record(connection, account, [fact], context.digest, now)
    return str(fact.bounce_id)


def decline(context: Context, account: str, review: str, by: str, why: str) -> None:
    """Say that what waited is no bounce of any of our emails. It is remembered, and doesn't come back."""
    with writing(context.engine) as connection:
        entry = _waiting(connection, account, review)
        reviews.decide(connection, account, entry["id"], "rejected", by, why, context.now())


def _decide(
    connection: Connection,
    digest: Digester,
    account: str,
    kind: FactKind,
    address: str,
    by: str,
    why: str,
    now: datetime,
    about: str | None = None,
    bounce: str | None = None,
) -> str:
    fact = Fact(
        id=uuid.uuid4().hex,
        kind=kind,
        account=account,
        address=address_key(address),
        at=now,
        recorded_at=now,
        by=by,
        bounce_id=bounce,
        about=about,
        why=why,
    )
    folding.record(connection, account, [fact], digest, now)
    return fact.id


def _bounce(connection: Connection, account: str, bounce: str) -> Bounce:
    found = bounces.get(connection, account, bounce)
    if found is None:
        raise AdminProblem(f"There is no bounce {bounce} in account {account}.")
    return found


def _waiting(connection: Connection, account: str, review: str) -> Mapping[str, Any]:
    found = reviews.waiting(connection, account, review)
    if len(found) != 1:
        what = "Several entries begin" if found else "Nothing that waits for review begins"
        raise AdminProblem(f"{what} with {review} in account {account}: see review list.")
    return found[0]


def _meant(
    connection: Connection, account: str, entry: Mapping[str, Any], send: str | None, contact: str | None
) -> tuple[SentEmail, Recipient]:
    """Return the email and the recipient that a person means; what they don't name is the likeliest."""
    candidates: Sequence[Mapping[str, Any]] = entry.get("candidates") or [{"send_id": entry["send_id"]}]
    if send is not None:
        candidates = [each for each in candidates if each["send_id"] == send] or [{"send_id": send}]
    emails = sends.load(connection, account, {each["send_id"] for each in candidates})
    if not emails:
        raise AdminProblem("The emails that may be meant are not known any more: decline the entry, or name another.")
    wanted = contact or candidates[0].get("contact_id")
    for each in candidates:
        email = emails.get(each["send_id"])
        if email is None:
            continue
        chosen = [one for one in email.recipients if one.contact_id == wanted]
        if not chosen and contact is None and len(email.recipients) == 1:
            chosen = list(email.recipients)
        if chosen:
            return email, chosen[0]
    raise AdminProblem("No email that may be meant went to one known contact: name them with --send and --contact.")


def _accepted(
    entry: Mapping[str, Any],
    email: SentEmail,
    recipient: Recipient,
    policy: Policy,
    by: str,
    why: str | None,
    now: datetime,
) -> Fact:
    said = Evidence(kind="person", text=f"Accepted by {by}{f': {why}' if why else ''}.")
    report_id = entry["report_ids"][0]
    name = bounce_id(email.account, email.id, recipient.address)
    at = datetime.fromisoformat(entry["occurred_at"])
    bounce = Bounce(
        id=name,
        account=email.account,
        inbox=email.inbox,
        send_id=email.id,
        message_id=email.message_id,
        address=recipient.address,
        contact_id=recipient.contact_id,
        verdict=Verdict(
            type=BounceType(entry["type"]),
            reason=Reason(entry["reason"]),
            fault=Fault(entry["fault"]),
            rule=entry["rule"],
            rules_version=entry.get("rules_version") or "",
        ),
        status=entry["status"],
        smtp_code=entry["smtp_code"],
        diagnostic=entry["diagnostic"],
        matched_by=Rung(entry["matched_by"]),
        confidence=entry["confidence"],
        forwarded_to=None,
        policy=policy,
        evidence=(*(Evidence(**line) for line in entry["evidence"]), said),
        report_id=report_id,
        occurred_at=at,
        recorded_at=now,
        updated_at=now,
    )
    return Fact(
        id=digest_id("fact", name, report_id),
        kind=FactKind.REPORTED,
        account=email.account,
        address=address_key(recipient.address),
        at=at,
        recorded_at=now,
        by=by,
        bounce_id=name,
        about=report_id,
        why=why,
        bounce=bounce,
    )
