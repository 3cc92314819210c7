"""`contact`: what is held about an address, and forgetting it."""

from typing import Annotated

import typer

from worker.cli.shared import AsJson, open_context, out, print_json, print_table, told

app = typer.Typer(no_args_is_help=True, help="What is held about a person, and forgetting it.")

InAccount = Annotated[str, typer.Option("--account", "-a", help="The account.")]


@app.command()
def export(address: str, account: InAccount) -> None:
    """Print all that is held about an address, as one JSON object.

    Example: bounce-worker contact export bob@customer.example -a acme > bob.json
    """
    from worker import people

    with told():
        print_json([people.export(open_context(), account, address)])


@app.command()
def status(
    addresses: Annotated[list[str], typer.Argument(help="Addresses that the account writes to.")],
    account: InAccount,
    as_json: AsJson = False,
) -> None:
    """Say whether addresses may be written to, and why not.

    Example: bounce-worker contact status bob@customer.example eve@customer.example -a acme
    """
    from worker import everywhere

    with told():
        rows = everywhere.status(open_context(), account, addresses)
    if as_json:
        print_json(rows)
        return
    cells = [(r["address"], r["status"], r["excluded_by"], r["email_hard_bounce_reason"]) for r in rows]
    print_table(None, ("Address", "Status", "By policy", "Reason of its own bounce"), cells, "")


@app.command("lift-everywhere")
def lift_everywhere(
    address: str,
    why: Annotated[str, typer.Option(help="The reason: it is kept.")],
    by: Annotated[str | None, typer.Option(help="Who decides. Default: this machine's user.")] = None,
) -> None:
    """Lift a global bounce: what other accounts saw until now counts no more. For the operator."""
    import getpass

    from worker import everywhere

    with told():
        everywhere.lift(open_context(), address, by or getpass.getuser(), why)
    out.print(f"What other accounts have seen of {address} until now counts no more.", markup=False)


@app.command()
def forget(
    address: str,
    account: InAccount,
    keep_exclusion: Annotated[
        bool,
        typer.Option(
            "--keep-exclusion/--forget-all",
            help="Remember by a keyed hash that an excluded address must not be written to, or not even that.",
        ),
    ] = True,
    as_json: AsJson = False,
) -> None:
    """Forget an address: sends, bounces, timeline, trail, review, events.

    Example: bounce-worker contact forget bob@customer.example -a acme
    """
    from worker import people

    with told():
        gone = people.forget(open_context(), account, address, keep_exclusion=keep_exclusion)
    if as_json:
        print_json([{"schema": 1, "forgotten": gone}])
        return
    rows = ", ".join(f"{number} {name.replace('_', ' ')}" for name, number in sorted(gone.items()))
    out.print(f"Forgotten: {rows}.", markup=False)
