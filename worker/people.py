"""What a person may ask of us: what do you hold about me, and forget it (GDPR, articles 15 and 17)."""

from datetime import datetime
from typing import Any

from worker.admin import AdminProblem
from worker.domain import address_key
from worker.pipeline import Context
from worker.store import bounces, everywhere, people
from worker.store.database import reading, writing
from worker.store.people import EXCLUDED


def export(context: Context, account: str, address: str) -> dict[str, Any]:
    """Return all that is held about an address in an account, as one JSON object."""
    with reading(context.engine) as connection:
        held = people.held(connection, account, address)
        kept = people.is_kept_excluded(connection, account, _digest(context, account, address))
    rows = {name: [_plain(row) for row in found] for name, found in held.items() if found}
    return {"schema": 1, "account": account, "address": address_key(address), "excluded_by_hash": kept, "held": rows}


def forget(context: Context, account: str, address: str, *, keep_exclusion: bool) -> dict[str, int]:
    """Forget an address; return how many rows of which table. Raises `AdminProblem` where nothing is known of it.

    With `keep_exclusion`, an address that must not be written to stays so, by a keyed hash that nobody can turn back.
    """
    with writing(context.engine) as connection:
        states = bounces.hold_addresses(connection, account, [address], context.now()).states
        state = next(iter(states.values()))
        gone = people.forget(connection, account, address)
        everywhere.note(connection, account, everywhere.hashed(context.digest, address_key(address)), None)
        if gone.get("addresses") == 1 and len(gone) == 1 and state.excluded_by is None:
            gone = {}  # the row was made to hold it
        if keep_exclusion and state.excluded_by is not None:
            digest = _digest(context, account, address)
            people.keep_exclusion(connection, account, digest, state.excluded_by, context.now())
        elif not keep_exclusion and people.drop_exclusion(connection, account, _digest(context, account, address)):
            gone["exclusions"] = 1
    if not gone:
        raise AdminProblem(f"Nothing is known of {address} in account {account}.")
    return gone


def _digest(context: Context, account: str, address: str) -> bytes:
    return context.digest(account, EXCLUDED, address_key(address))


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in row.items()}
