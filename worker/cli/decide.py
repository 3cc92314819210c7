"""What people decide about bounces: `bounces unbounce|reject|undo|trail`, `review accept|reject`."""

import getpass
from typing import Annotated, Any

import typer

from worker.cli.shared import USAGE, Account, AsJson, err, fail, open_context, out, print_json, print_table, shown, told

InAccount = Annotated[str, typer.Option("--account", "-a", help="The account.")]
Why = Annotated[str, typer.Option(help="The reason: it stays in the trail.")]
By = Annotated[str | None, typer.Option(help="Who decides. Default: this machine's user.")]


def unbounce(
    address: Annotated[str, typer.Argument(help="The address that may be written to again.")],
    account: InAccount,
    why: Why,
    by: By = None,
    as_json: AsJson = False,
) -> None:
    """Lift all bounces of an address that stand. A later bounce counts anew; `bounces undo` takes the decision back.

    Example: bounce-worker bounces unbounce bob@customer.example -a acme --why "he called, his mailbox works"
    """
    from worker import decisions

    with told():
        decision = decisions.unbounce(open_context(), account, address, _person(by), why)
    _decided(decision, f"{address} may be written to again.", account, as_json=as_json)


def reject(
    bounce: Annotated[str, typer.Argument(help="A bounce's id, or its beginning.")],
    account: InAccount,
    why: Why,
    by: By = None,
    as_json: AsJson = False,
) -> None:
    """Say that a bounce is none: its report was read wrongly, or speaks of something else.

    Example: bounce-worker bounces reject 3f9a -a acme --why "this is a newsletter"
    """
    from worker import admin, decisions

    with told():
        context = open_context()
        found = admin.the_bounce(context, bounce, account)
        decision = decisions.reject(context, account, found["id"], _person(by), why)
    _decided(decision, f"The report about {found['address']} counts no more.", account, as_json=as_json)


def undo(
    decision: Annotated[str, typer.Argument(help="The decision's id, as it was printed, or from bounces trail.")],
    account: InAccount,
    why: Why,
    by: By = None,
    as_json: AsJson = False,
) -> None:
    """Take back an un-bounce or a rejection: all is as if it had never been made, but for the trail."""
    from worker import decisions

    with told():
        decisions.undo(open_context(), account, decision, _person(by), why)
    _done({"undone": decision}, "Taken back.", as_json=as_json)


def trail(
    address: str,
    account: InAccount,
    as_json: AsJson = False,
) -> None:
    """Show all that has happened to an address: reports, messages, decisions; when, by whom, and why."""
    from worker import decisions

    with told():
        rows = decisions.trail(open_context(), account, address)
    if as_json:
        print_json(rows)
        return
    columns = ("When (UTC)", "What", "By", "Why", "Decision")
    cells = [(_minute(r["at"]), _happened(r), r["by"], r["why"], r["id"] if r["why"] else None) for r in rows]
    print_table(None, columns, cells, f"Nothing is known of {address}.")


def _happened(row: dict[str, Any]) -> str:
    return f"{row['kind']}: {row['type']}, {row['reason']}" if row["type"] else str(row["kind"])


def _minute(moment: str) -> str:
    return moment[:16].replace("T", " ")


def _person(by: str | None) -> str:
    return by or getpass.getuser()


def _done(row: dict[str, Any], said: str, *, as_json: bool) -> None:
    if as_json:
        print_json([{"schema": 1} | row])
    else:
        out.print(said, markup=False)


def _decided(decision: str, said: str, account: str, *, as_json: bool) -> None:
    if as_json:
        print_json([{"schema": 1, "decision": decision}])
        return
    out.print(f"{said} To take this back: bounce-worker bounces undo {decision} -a {account} --why …", markup=False)


def accept(
    entry: Annotated[str, typer.Argument(metavar="REVIEW", help="Its id in review list, or its beginning.")],
    account: InAccount,
    send: Annotated[str | None, typer.Option(help="The email that is meant. Default: the likeliest.")] = None,
    contact: Annotated[str | None, typer.Option(help="The contact that is meant. Default: the likeliest.")] = None,
    why: Annotated[str | None, typer.Option(help="A reason, for the trail.")] = None,
    by: By = None,
    as_json: AsJson = False,
) -> None:
    """Attach what waits: it is a bounce of our email to this contact.

    Example: bounce-worker review accept 51c0 -a acme --contact c-7
    """
    from worker import decisions

    with told():
        bounce = decisions.accept(open_context(), account, entry, _person(by), why, send=send, contact=contact)
    if as_json:
        print_json([{"schema": 1, "bounce_id": bounce}])
        return
    out.print(f"Attached. See it: bounce-worker bounces show {bounce[:8]} -a {account}", markup=False)


def reject_review(
    entry: Annotated[str, typer.Argument(metavar="REVIEW", help="Its id in review list, or its beginning.")],
    account: InAccount,
    why: Why,
    by: By = None,
    as_json: AsJson = False,
) -> None:
    """Say that what waits is no bounce of our emails. It doesn't come back.

    Example: bounce-worker review reject 51c0 -a acme --why "not our email"
    """
    from worker import decisions

    with told():
        decisions.decline(open_context(), account, entry, _person(by), why)
    _done({"rejected": entry}, "Rejected; nothing was attached.", as_json=as_json)


def incidents(
    account: Account = None,
    closed: Annotated[bool, typer.Option("--closed", help="Those that are over as well.")] = False,
    language: Annotated[str, typer.Option(help="Advice in en, it, nb or pl.")] = "en",
    as_json: AsJson = False,
) -> None:
    """Show inboxes whose emails are refused for their sender's own fault, and what their owner can do.

    Example: bounce-worker incidents --account acme --language it
    """
    from worker import admin
    from worker.classify.advice import LANGUAGES, advise, load_advice
    from worker.store.incidents import as_json as row

    if language not in LANGUAGES:
        fail(f"There is no advice in {language}: use one of {', '.join(LANGUAGES)}.", USAGE)
    with told():
        found = admin.all_incidents(open_context(), account, closed_too=closed)
    if as_json:
        print_json(row(incident) for incident, _ in found)
        return
    for incident, bounce in found:
        state = f"closed on {incident.closed_at:%Y-%m-%d}" if incident.closed_at else "open"
        head = f"{incident.account}/{incident.inbox}: {incident.failures} emails refused ({incident.kind}), {state}"
        out.print(f"{head}; since {incident.opened_at:%Y-%m-%d %H:%M} UTC.", markup=False)
        if bounce is not None:
            verdict = bounce.verdict
            out.print(f"  {advise(load_advice(language), verdict.type, verdict.reason, verdict.fault)}", markup=False)
            words = shown(bounce.diagnostic or "no words")
            out.print(f"  For example: {words} (bounces show {bounce.id[:8]})", markup=False)
    if not found:
        out.print("No incident is open.")


def reclassify(
    account: Account = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would change, and change nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Judge the notices that are still kept again, after rules or readers have changed. What people decided stays.

    Example: bounce-worker reclassify --dry-run
    """
    from worker.reclassify import Change
    from worker.reclassify import reclassify as judge_again

    changes: list[Change] = []
    done = 0
    with told():
        for progress in judge_again(open_context(), account, dry_run=dry_run):
            changes += progress.changes
            done = progress.done
            err.print(f"{done} of {progress.total} notices judged again, {len(changes)} bounces change…")
    if as_json:
        print_json(change.as_json() for change in changes)
        return
    cells = [(c.account, c.contact_id, c.address, c.before or "no bounce", c.after or "no bounce") for c in changes]
    print_table(
        None, ("Account", "Contact", "Address", "Was", "Would be" if dry_run else "Is"), cells, "Nothing changes."
    )
    people = len({(c.account, c.contact_id or c.address) for c in changes})
    out.print(
        f"{done} notices judged again: {len(changes)} bounces of {people} contacts {'would ' if dry_run else ''}change."
    )
