"""`bounce-worker webhooks`: where events are sent."""

from typing import Annotated

import typer

from worker.cli.shared import FAILED, Account, AsJson, err, fail, open_context, out, print_json, print_table, told

app = typer.Typer(no_args_is_help=True, help="Webhooks: add, list, test, replay, rotate, remove.")

Which = Annotated[str, typer.Argument(metavar="WEBHOOK", help="Its id, the beginning of it, or its address.")]


@app.command()
def add(
    url: Annotated[str, typer.Argument(help="What to call; https, or http inside your own network.")],
    account: Annotated[str, typer.Option("--account", "-a", help="The account whose events it gets.")],
    type_: Annotated[list[str] | None, typer.Option("--type", help="An event; repeat it. Default: all.")] = None,
    as_json: AsJson = False,
) -> None:
    """Have an account's events sent to an address, from now on; prints the secret that they are signed with, once.

    Example: bounce-worker webhooks add https://crm.example/bounces --account acme --type bounce.attached
    """
    from worker import hooks

    with told():
        added = hooks.add(open_context(), account, url, type_ or (), trusted=True)
    if as_json:
        print_json([{"schema": 1, "id": added.webhook.id, "account": account, "secret": added.secret}])
        return
    out.print(added.secret, markup=False, soft_wrap=True)
    said = f"Webhook {added.webhook.id[:8]}. Keep its secret now, it can't be shown again: the receiver verifies by it."
    err.print(said, markup=False, soft_wrap=True)


@app.command("list")
def list_(account: Account = None, as_json: AsJson = False) -> None:
    """Show webhooks, what waits for each, and what went wrong last."""
    from worker import hooks

    with told():
        rows = hooks.listed(open_context(), account)
    if as_json:
        print_json(rows)
        return
    columns = ("Webhook", "Account", "Address", "Events", "State", "Waiting", "Given up", "Problem")
    cells = [
        (
            row["id"][:8],
            row["account"],
            row["url"],
            ", ".join(row["types"]) or "all",
            row["state"],
            row["deliveries"].get("waiting", 0),
            row["deliveries"].get("dead", 0),
            row["problem"],
        )
        for row in rows
    ]
    print_table(None, columns, cells, "There is no webhook yet. Add one with: bounce-worker webhooks add --help")


@app.command("test")
def call(webhook: Which, account: Account = None) -> None:
    """Call a webhook now, with an event of the type test; exit code 1 where it doesn't take it."""
    from worker import hooks

    with told():
        problem = hooks.test(open_context(), account, webhook)
    if problem:
        fail(problem, FAILED)
    out.print("It took the test event.")


@app.command()
def replay(
    webhook: Which,
    event: Annotated[str | None, typer.Option(help="Only this event, also if it was taken before.")] = None,
    show: Annotated[bool, typer.Option("--show", help="Only show what was given up, and why.")] = False,
    account: Account = None,
    as_json: AsJson = False,
) -> None:
    """Send again what was given up after three days of trying; enables a webhook that was disabled.

    Example: bounce-worker webhooks replay 3f9a --show
    """
    from worker import hooks

    with told():
        if show:
            rows = hooks.dead(open_context(), account, webhook)
        else:
            again = hooks.replay(open_context(), account, webhook, event)
    if not show:
        out.print(f"{again} events are sent again.")
        return
    if as_json:
        print_json(rows)
        return
    cells = [(r["event_id"], r["type"], r["attempts"], r["given_up_at"], r["problem"]) for r in rows]
    print_table(None, ("Event", "Type", "Attempts", "Given up (UTC)", "Why"), cells, "Nothing was given up.")


@app.command()
def rotate(webhook: Which, account: Account = None, as_json: AsJson = False) -> None:
    """Make a new secret; calls are signed by the old one as well, until the next rotation."""
    from worker import hooks

    with told():
        added = hooks.rotate(open_context(), account, webhook)
    if as_json:
        print_json([{"schema": 1, "id": added.webhook.id, "account": added.webhook.account, "secret": added.secret}])
        return
    out.print(added.secret, markup=False, soft_wrap=True)
    err.print("Give it to the receiver now: it can't be shown again. Calls carry the old signature as well.")


@app.command()
def remove(webhook: Which, account: Account = None) -> None:
    """Forget a webhook, and what was still to be sent to it."""
    from worker import hooks

    with told():
        hooks.remove(open_context(), account, webhook)
    out.print("Removed.")
