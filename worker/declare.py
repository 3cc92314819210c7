"""Accounts and inboxes as a file declares them, made so. Running it twice changes nothing."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from connectors import to_json
from connectors.settings import from_fields, provider_of
from worker import admin
from worker.admin import AdminProblem
from worker.domain import AccountRules, BounceType, Policy, SoftThreshold
from worker.pipeline import Context
from worker.store import accounts, doorbells, inboxes
from worker.store.database import reading, writing


def apply(context: Context, declared: Mapping[str, Any], secrets: Mapping[str, str]) -> list[str]:
    """Make accounts and inboxes as declared; return a sentence for each change. Running it twice changes nothing.

    `secrets` are the environment's variables that ``password_env`` may name. Raises `AdminProblem`.
    """
    changes: list[str] = []
    for account in _tables(declared, "account"):
        changes += _apply_account(context, account)
    for item in _tables(declared, "inbox"):
        changes += _apply_inbox(context, item, secrets)
    return changes


def _tables(declared: Mapping[str, Any], name: str) -> Sequence[Mapping[str, Any]]:
    found = declared.get(name, [])
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
        raise AdminProblem(f"Write each {name} as a table of its own, under [[{name}]].")
    return found


def _apply_account(context: Context, item: Mapping[str, Any]) -> list[str]:
    chosen = _rules(item)
    with writing(context.engine) as connection:
        known = accounts.exists(connection, chosen.account)
        accounts.ensure(connection, chosen.account, context.now())
        if known and accounts.rules(connection, chosen.account) == chosen:
            return []
        accounts.configure(connection, chosen)
    return [f"account {chosen.account}: policy {chosen.policy}"]


def _rules(item: Mapping[str, Any]) -> AccountRules:
    """Read what an account has chosen. Raises `AdminProblem`."""
    name = _needed(item, "account", "name")
    soft, full = item.get("soft_threshold"), item.get("mailbox_full_days")
    try:
        threshold = SoftThreshold(bounces=soft["bounces"], within=timedelta(days=soft["days"])) if soft else None
        return AccountRules(
            account=name,
            policy=Policy(item.get("policy", Policy.HUBSPOT)),
            unenroll_on=frozenset(BounceType(value) for value in item.get("unenroll_on", ["hard", "soft"])),
            soft_threshold=threshold,
            mailbox_full_expires=timedelta(days=full) if full else None,
            trusted=item.get("trusted") is True,
            global_opt_out=item.get("global_opt_out") is True,
        )
    except (ValueError, TypeError, LookupError) as error:
        raise AdminProblem(
            f"Account {name}: {error}. Policies: hubspot, careful; types: hard, soft; soft_threshold = {{bounces = 5,"
            " days = 30}; mailbox_full_days = 14."
        ) from None


def _apply_inbox(context: Context, item: Mapping[str, Any], secrets: Mapping[str, str]) -> list[str]:
    account, name = _needed(item, "inbox", "account"), _needed(item, "inbox", "name")
    settings = from_fields(_needed(item, name, "provider"), dict(item.get("settings", {})))
    request = admin.InboxRequest(
        account=account,
        name=name,
        address=_needed(item, name, "address"),
        settings=settings,
        since=_since(name, item.get("since")),
        secret=_secret(name, item.get("password_env") or item.get("credentials_env"), secrets),
        trusted=True,
        policy=_policy(name, item.get("policy")),
    )
    with reading(context.engine) as connection:
        found = inboxes.find(connection, account=account, name=name)
    if not found:
        admin.add_inbox(context, request)
        return [f"inbox {name} of {account}: connected"]
    changes: list[str] = []
    if found[0].policy != request.policy:
        with writing(context.engine) as connection:
            inboxes.change(connection, found[0].id, policy=request.policy)
        changes.append(f"inbox {name} of {account}: policy {request.policy or 'of its account'}")
    wanted = {"settings": to_json(settings), "provider": provider_of(settings), "address": request.address}
    if all(getattr(found[0], field) == value for field, value in wanted.items()):
        return changes
    with writing(context.engine) as connection:
        afresh = {"host": admin.host_of(settings), "cursor": None, "next_poll_at": context.now()}
        inboxes.change(connection, found[0].id, **wanted, **afresh)
        doorbells.forget(connection, found[0].id)
    return [*changes, f"inbox {name} of {account}: changed"]


def _policy(name: str, given: object) -> Policy | None:
    try:
        return None if given is None else Policy(str(given))
    except ValueError:
        raise AdminProblem(f"Inbox {name}: there is no policy {given!r}; use hubspot or careful.") from None


def _needed(item: Mapping[str, Any], what: str, field: str) -> str:
    value = item.get(field)
    if not isinstance(value, str) or not value:
        raise AdminProblem(f"{what}: {field} is missing.")
    return value


def _since(name: str, value: object) -> datetime | None:
    if value is None:
        return None
    try:
        moment = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    except ValueError:
        raise AdminProblem(f"Inbox {name}: since must be a date, such as 2026-11-01.") from None
    return moment if moment.tzinfo else moment.astimezone()


def _secret(name: str, variable: object, secrets: Mapping[str, str]) -> str | None:
    if variable is None:
        return None
    if str(variable) not in secrets:
        raise AdminProblem(f"Inbox {name}: the environment variable {variable} is not set.")
    return secrets[str(variable)]
