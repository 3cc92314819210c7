"""`contact`: what is held about an address, and forgetting it."""

from typing import Annotated

import typer

from worker.cli.shared import AsJson, open_context, out, print_json, told

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
