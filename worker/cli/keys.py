"""`bounce-worker keys`: who may use the HTTP API."""

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli.shared import USAGE, Account, AsJson, err, fail, open_context, out, print_json, print_table, told

if TYPE_CHECKING:
    from worker.access import Created

app = typer.Typer(no_args_is_help=True, help="Keys of the HTTP API: create, list, rotate, revoke.")


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="What uses it, such as crm: for people.")],
    account: Annotated[str | None, typer.Option("--account", "-a", help="The account that it speaks for.")] = None,
    scope: Annotated[
        list[str] | None, typer.Option(help="send, read or manage; repeat it. Default: send and read.")
    ] = None,
    operator: Annotated[
        bool, typer.Option("--operator", help="A key of no account, which names one with each request.")
    ] = False,
    days: Annotated[int | None, typer.Option(min=1, help="For how many days. Default: until it is revoked.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make a key and print it, once.

    Example: bounce-worker keys create crm --account acme --scope send --scope read
    """
    from worker import access
    from worker.keys import Scope

    if (account is None) != operator:
        fail("Name an --account, or give --operator for a key of no account.", USAGE)
    chosen = scope or ["send", "read"]
    if unknown := [each for each in chosen if each not in list(Scope)]:
        fail(f"There is no scope {', '.join(unknown)}: use {', '.join(Scope)}.", USAGE)
    with told():
        life = timedelta(days=days) if days else None
        made = access.create(open_context(), account, name, [Scope(each) for each in chosen], life)
    _show(made, as_json=as_json)


@app.command()
def rotate(
    key: Annotated[str, typer.Argument(help="A key's id, as keys list shows it.")],
    hours: Annotated[int, typer.Option(min=0, help="How long the old key still works.")] = 24,
    as_json: AsJson = False,
) -> None:
    """Make a key that may do the same, and print it, once; the old one ends after a while.

    Example: bounce-worker keys rotate 8c1d0f5e2b7a9463 --hours 48
    """
    from worker import access

    with told():
        made = access.rotate(open_context(), key, timedelta(hours=hours))
    _show(made, as_json=as_json)
    err.print(f"The old key works for {hours} hours more.")


def _show(made: "Created", *, as_json: bool) -> None:
    if as_json:
        print_json([{"schema": 1, "id": made.key.id, "account": made.key.account, "key": made.text}])
        return
    out.print(made.text, markup=False, soft_wrap=True)
    err.print("Keep it now: it can't be shown again. Send it as 'Authorization: Bearer …'.")


@app.command("list")
def list_(account: Account = None, as_json: AsJson = False) -> None:
    """Show keys: what they may do, and when they were last used."""
    from worker import access

    with told():
        rows = access.listed(open_context(), account)
    if as_json:
        print_json(rows)
        return
    columns = ("Key", "Account", "Name", "May", "State", "Ends (UTC)", "Last used (UTC)")
    cells = [
        (
            row["id"],
            row["account"] or "(operator)",
            row["name"],
            ", ".join(row["scopes"]),
            row["state"],
            _minute(row["expires_at"]),
            _minute(row["last_used_at"]),
        )
        for row in rows
    ]
    print_table(None, columns, cells, "There is no key yet. Make one with: bounce-worker keys create --help")


@app.command()
def revoke(key: Annotated[str, typer.Argument(help="A key's id, as keys list shows it.")]) -> None:
    """End a key at once."""
    from worker import access

    with told():
        ended = access.revoke(open_context(), key)
    out.print(f"The key {ended.name} ({ended.id}) works no more.", markup=False)


def _minute(moment: str | None) -> str | None:
    return moment and moment[:16].replace("T", " ")
