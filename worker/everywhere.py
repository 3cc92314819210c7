"""Global bounces: whether an address bounced for good in several accounts, and lifting that, as an operator may."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

from worker import pipeline
from worker.attach import refused
from worker.domain import SentEmail, address_key
from worker.pipeline import Context
from worker.store import accounts, bounces, everywhere, folding, people
from worker.store.database import reading, writing
from worker.store.everywhere import hashed
from worker.store.people import EXCLUDED

WINDOW: Final = timedelta(days=60)
"""For how long a bounce in one account counts for the others (HubSpot's product team named 60 days)."""

OK: Final = "ok"
BOUNCED: Final = "bounced"
"""A failure stands that excludes nobody: a soft one, or one that the account's policy doesn't count."""
IN_ACCOUNT: Final = "previously_bounced_in_account"
GLOBALLY: Final = "previously_bounced_globally"


def status(context: Context, account: str, addresses: Sequence[str]) -> list[dict[str, Any]]:
    """Return whether addresses may be written to, and why not; by what other accounts saw only of own recipients."""
    keys = [address_key(address) for address in addresses]
    with reading(context.engine) as connection:
        own = {state.address: state for state in bounces.states(connection, account, sorted(set(keys)))}
        kept = {
            key for key in keys if people.is_kept_excluded(connection, account, context.digest(account, EXCLUDED, key))
        }
        failed = bounces.with_failure(connection, account, set(keys))
        known = everywhere.wrote_to(connection, account, set(keys))
        takes_part = accounts.rules(connection, account).takes_part
        digests = {hashed(context.digest, key): key for key in known} if takes_part else {}
        found = everywhere.bounced(connection, digests, context.now(), WINDOW) if digests else set()
    globally = {digests[each] for each in found}
    rows = []
    for address, key in zip(addresses, keys, strict=True):
        state = own.get(key)
        is_excluded = key in kept or (state is not None and state.excluded_by is not None)
        word = GLOBALLY if key in globally else BOUNCED if key in failed else OK
        rows.append(
            {
                "schema": 1,
                "account": account,
                "address": address,
                "status": IN_ACCOUNT if is_excluded else word,
                "may_email": not is_excluded and key not in globally,
                "excluded_by": state.excluded_by if state else None,
                "email_hard_bounce_reason": state.hard_bounce_reason if state else None,
            }
        )
    return rows


def refuse(context: Context, send: SentEmail) -> list[str]:
    """Record that an email is not sent to those of its recipients that bounced globally; return their addresses.

    `email_hard_bounce_reason` stays what it is: this account's own email didn't bounce.
    """
    pipeline.register(context, [send])
    rows = status(context, send.account, [recipient.address for recipient in send.recipients])
    stopped = [one for one, row in zip(send.recipients, rows, strict=True) if row["status"] == GLOBALLY]
    now = context.now()
    with writing(context.engine) as connection:
        rules = accounts.rules(connection, send.account)
        new = [refused(send, recipient, rules, now) for recipient in stopped]
        folding.record(connection, send.account, new, context.digest, now)
    return [recipient.address for recipient in stopped]


def lift(context: Context, address: str, by: str, why: str) -> None:
    """Lift an address everywhere: only the operator may, as it concerns all accounts."""
    with writing(context.engine) as connection:
        everywhere.lift(connection, hashed(context.digest, address_key(address)), by, why, context.now())
