"""`bounce-worker inbox`: connect, look at, pause and remove inboxes."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from worker.cli import sign_in as signing
from worker.cli.shared import (
    FAILED,
    USAGE,
    Account,
    AsJson,
    fail,
    open_context,
    out,
    parse_date,
    print_json,
    print_table,
    told,
)

if TYPE_CHECKING:
    from worker.preflight import Step
    from worker.store.inboxes import Inbox

app = typer.Typer(no_args_is_help=True, help="Connect, check, pause, resume and remove inboxes.")

PasswordEnv = Annotated[
    str | None,
    typer.Option(help="Name of the environment variable that holds the password; never the password itself."),
]


Credentials = Annotated[
    Path | None,
    typer.Option(help="File that holds a grant or a service account's key as JSON; see the README. Delete it then."),
]

Client = Annotated[
    Path | None,
    typer.Option(help="File that holds your app's registration with Google or Microsoft: sign in by it now."),
]

DeviceCode = Annotated[
    bool, typer.Option("--device-code", help="Sign in by a code that is typed into any browser (Microsoft).")
]


@app.command()
def add(
    name: str,
    account: Annotated[str, typer.Option("--account", "-a", help="The CRM account that it belongs to.")],
    address: Annotated[str, typer.Option(help="The inbox's email address.")],
    provider: Annotated[str, typer.Option(help="gmail, office365, exchange, imap or maildir.")],
    folder: Annotated[
        list[str] | None, typer.Option(help="Folder to read; repeat it. Default: inbox, junk and, if any, archive.")
    ] = None,
    since: Annotated[str | None, typer.Option(help="How far back the first poll reads. Default: from now on.")] = None,
    path: Annotated[str | None, typer.Option(help="maildir: the folder that holds new and cur.")] = None,
    host: Annotated[str | None, typer.Option(help="imap: the server's name.")] = None,
    port: Annotated[int | None, typer.Option(help="imap: 993 for tls, 143 otherwise, unless given.")] = None,
    security: Annotated[str | None, typer.Option(help="imap: tls (default), starttls or none.")] = None,
    endpoint: Annotated[
        str | None, typer.Option(help="exchange: such as https://mail.acme.example/EWS/Exchange.asmx.")
    ] = None,
    username: Annotated[str | None, typer.Option(help="imap, exchange: default: the address.")] = None,
    sign_in: Annotated[
        str | None,
        typer.Option(help="imap: password (default), xoauth2, oauthbearer; exchange: ntlm (default), basic, oauth."),
    ] = None,
    access: Annotated[str | None, typer.Option(help="exchange: delegate (default) or impersonation.")] = None,
    cloud: Annotated[str | None, typer.Option(help="office365: global (default), us, us-dod or china.")] = None,
    prefilter: Annotated[
        bool, typer.Option("--prefilter", help="gmail: let Gmail's search choose: far less quota, fewer notices found.")
    ] = False,
    api: Annotated[str | None, typer.Option(help="gmail, office365: another address of the same API.")] = None,
    ca_file: Annotated[str | None, typer.Option(help="The certificate authority of a private server.")] = None,
    password_env: PasswordEnv = None,
    credentials: Credentials = None,
    client: Client = None,
    device_code: DeviceCode = False,
    authserv_id: Annotated[
        str | None, typer.Option(help="Name by which this provider signs Authentication-Results (RFC 8601).")
    ] = None,
) -> None:
    r"""Connect an inbox.

    Examples:

    bounce-worker inbox add gina -a acme --address gina@acme.example --provider gmail --client google-client.json

    bounce-worker inbox add olaf -a acme --address olaf@acme.example --provider office365 --client microsoft-client.json

    bounce-worker inbox add alice -a acme --address alice@acme.example --provider imap --host imap.acme.example
    --password-env ALICE_PASSWORD --since 2026-11-01

    bounce-worker inbox add carol -a acme --address carol@acme.example --provider exchange --endpoint
    https://mail.acme.example/EWS/Exchange.asmx --username 'ACME\carol' --password-env CAROL_PASSWORD

    bounce-worker inbox add dave -a acme --address dave@acme.example --provider imap --host outlook.office365.com
    --sign-in xoauth2 --credentials dave.json

    bounce-worker inbox add replay -a acme --address alice@acme.example --provider maildir --path /srv/mail/alice
    """
    from connectors.settings import from_fields
    from worker import admin

    given: dict[str, Any] = {
        "path": path,
        "host": host,
        "port": port,
        "security": security,
        "endpoint": endpoint,
        "sign_in": sign_in,
        "access": access,
        "ca_file": ca_file,
        "authserv_id": authserv_id,
        "username": username,
        "cloud": cloud,
        "api": api,
        "prefilter": prefilter or None,
        "folders": folder or None,
    }
    if provider == "imap":
        given |= {"username": username or address, "port": port or (993 if (security or "tls") == "tls" else 143)}
    if provider == "exchange":
        given |= {"username": username or address, "address": address}
    if provider in ("gmail", "office365"):
        given |= {"address": address}
    given = {key: value for key, value in given.items() if value is not None}
    moment = parse_date(since)
    with told():
        settings = from_fields(provider, given)
        secret = _secret(password_env, credentials)
        if client is not None:
            secret = signing.sign_in(settings, address, signing.read_client(client), device_code=device_code)
        if provider != "maildir" and secret is None:
            fail(NEEDS.get(provider, NEEDS["imap"]), USAGE)
        request = admin.InboxRequest(
            account=account,
            name=name,
            address=address,
            settings=settings,
            since=moment,
            secret=secret,
            trusted=True,  # the command line is the operator's own
        )
        inbox = admin.add_inbox(open_context(), request)
    out.print(f"Connected {account}/{name}; its first poll reads what came since {inbox.since:%Y-%m-%d %H:%M} UTC.")
    out.print(f"Next: bounce-worker inbox check {name} --account {account}")


NEEDS: Final = {
    "imap": "This inbox needs a password or a grant: name the environment variable that holds the password with"
    " --password-env, or the file that holds the grant with --credentials, or sign in with --client.",
    "gmail": "A gmail inbox needs a sign-in, with --client, or a service account's key, with --credentials.",
    "office365": "An office365 inbox needs a sign-in, with --client, or an app's own grant, with --credentials.",
}


@app.command("sign-in")
def sign_in_again(
    name: str,
    account: Account = None,
    client: Client = None,
    device_code: DeviceCode = False,
    redirect_uri: Annotated[
        str | None,
        typer.Option(help="Where the web process is reached: …/sign-in/callback. Prints whom to send there."),
    ] = None,
) -> None:
    """Sign in to an inbox anew, by this machine's browser, by a code, or by an address to send to the inbox's user.

    Examples:

    bounce-worker inbox sign-in gina -a acme

    bounce-worker inbox sign-in olaf -a acme --redirect-uri https://bounces.acme.example/sign-in/callback
    """
    from connectors import from_json
    from worker import admin

    with told():
        context = open_context()
        inbox = admin.the_inbox(context, name, account)
        chosen = signing.read_client(client) if client else admin.client_of(context, inbox)
        if redirect_uri:
            out.print("Send this address to the inbox's user; it holds for 15 minutes:")
            out.print(admin.begin_sign_in(context, inbox, redirect_uri, chosen), markup=False, soft_wrap=True)
            return
        settings = from_json(inbox.provider, inbox.settings)
        admin.resume(context, inbox, signing.sign_in(settings, inbox.address, chosen, device_code=device_code))
    out.print(f"Signed in to {inbox.account}/{inbox.name}; it is polled next.")


@app.command("list")
def list_(account: Account = None, as_json: AsJson = False) -> None:
    """Show inboxes and their health."""
    from worker import admin

    with told():
        rows = admin.inbox_rows(open_context(), account)
    if as_json:
        print_json(rows)
        return
    columns = ("Account", "Inbox", "Provider", "State", "Last poll (UTC)", "Next poll (UTC)", "Notices", "What to do")
    cells = [
        (
            row["account"],
            row["name"],
            row["provider"],
            row["state"],
            _minute(row["last_poll_at"]),
            _minute(row["next_poll_at"]),
            sum(row["notices"].values()),
            row["attention"],
        )
        for row in rows
    ]
    print_table(None, columns, cells, "No inbox is connected yet. Connect one with: bounce-worker inbox add --help")


def _minute(moment: str | None) -> str | None:
    return moment and moment[:16].replace("T", " ")


@app.command()
def check(
    name: Annotated[str | None, typer.Argument(help="Default: every inbox.")] = None,
    account: Account = None,
    as_json: AsJson = False,
) -> None:
    """Go from the network to the notices, step by step, writing nothing; say what is wrong and what to do.

    Example: bounce-worker inbox check alice --account acme
    """
    from worker import admin
    from worker.preflight import State, preflight

    with told():
        context = open_context()
        if name:
            chosen = [admin.the_inbox(context, name, account)]
        else:
            chosen = [inbox for inbox, _ in admin.all_inboxes(context, account)]
        failed = False
        for inbox in chosen:
            if not as_json:
                out.print(f"{inbox.account}/{inbox.name} ({inbox.provider}, {inbox.address})", markup=False)
            steps = []
            for step in preflight(context, inbox):
                steps.append(step)
                if not as_json:
                    out.print(f"  {MARKS[step.state]} {step.name:<10} {step.said}", markup=False)
            failed = failed or any(step.state is State.FAILED for step in steps)
            if as_json:
                print_json([_check_row(inbox, steps)])
    if failed:
        raise typer.Exit(FAILED)


MARKS = {"ok": "✓", "warning": "!", "failed": "✗"}


def _check_row(inbox: "Inbox", steps: "Sequence[Step]") -> dict[str, Any]:
    problem = next((step.said for step in steps if step.state == "failed"), None)
    return {
        "schema": 1,
        "account": inbox.account,
        "name": inbox.name,
        "ok": problem is None,
        "problem": problem,
        "messages": sum(step.messages for step in steps),
        "notices": sum(step.notices for step in steps),
        "steps": [{"step": step.name, "state": step.state, "said": step.said} for step in steps],
    }


@app.command()
def pause(name: str, account: Account = None) -> None:
    """Stop reading an inbox until it is resumed."""
    from worker import admin

    with told():
        context = open_context()
        inbox = admin.the_inbox(context, name, account)
        admin.pause(context, inbox)
    out.print(f"Paused {inbox.account}/{inbox.name}.")


@app.command()
def resume(
    name: str, account: Account = None, password_env: PasswordEnv = None, credentials: Credentials = None
) -> None:
    """Read an inbox again, from where reading stopped; give a new password or grant where the old one is refused."""
    from worker import admin

    with told():
        context = open_context()
        inbox = admin.the_inbox(context, name, account)
        admin.resume(context, inbox, _secret(password_env, credentials))
    out.print(f"Resumed {inbox.account}/{inbox.name}; it is polled next.")


@app.command()
def remove(
    name: str,
    account: Account = None,
    purge: Annotated[bool, typer.Option(help="Also forget the bounces of emails sent from it.")] = False,
) -> None:
    """Forget an inbox, its password and its open notices. What stands on timelines stays, unless --purge."""
    from worker import admin

    with told():
        context = open_context()
        inbox = admin.the_inbox(context, name, account)
        admin.remove(context, inbox, purge=purge)
    out.print(f"Removed {inbox.account}/{inbox.name}.")


def _secret(variable: str | None, file: Path | None = None) -> str | None:
    if file is not None:
        try:
            return file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            fail(f"{file} can't be read: {getattr(error, 'strerror', None) or 'it is not text'}.", USAGE)
    if variable is None:
        return None
    if variable not in os.environ:
        fail(f"The environment variable {variable} is not set.", USAGE)
    return os.environ[variable]
