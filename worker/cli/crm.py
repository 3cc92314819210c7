"""What the CRM's side looks at: `sends import`, `timeline`, `bounces`, `review`, `apply`."""

import os
import sys
import tomllib
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer

from worker.cli.shared import FAILED, Account, AsJson, err, fail, open_context, out, print_json, print_table, told

sends = typer.Typer(no_args_is_help=True, help="Register what the CRM has sent.")
bounces = typer.Typer(no_args_is_help=True, help="Look at bounces and their evidence.")
review = typer.Typer(no_args_is_help=True, help="What waits for a person's decision.")

SENDS_A_TRANSACTION = 1_000
WHAT = {"hard": "failed", "soft": "failed for now", "pending": "delayed"}


@sends.command("import")
def import_(file: Annotated[Path, typer.Argument(help="JSON Lines, one send a line; - for standard input.")]) -> None:
    """Register sends from a file; a repeat of the same id changes nothing.

    Example line: {"id": "s-1", "account": "acme", "inbox": "alice", "kind": "one_to_one", "sent_at":
    "2026-11-22T10:00:00Z", "message_id": "<1@acme.example>", "recipients": [{"address": "bob@customer.example",
    "contact_id": "c-1"}]}
    """
    from worker import pipeline

    done = pipeline.Registered()
    with told():
        context = open_context()
        for rows in _chunks(read_lines(file)):
            part = pipeline.take(context, rows)
            done += part
            for refused in part.refused:
                err.print(f"line {refused.row}: {refused.why}", markup=False)
            if len(rows) == SENDS_A_TRANSACTION:
                err.print(f"{done.kept} sends registered…", markup=False)
    out.print(f"{done.kept} sends registered, {len(done.refused)} refused.")
    if done.unknown_inboxes:
        out.print(f"No inbox is connected as {', '.join(sorted(done.unknown_inboxes))} (yet?).", markup=False)
    if done.requeued:
        out.print(f"{done.requeued} notices that came before their sends are looked at again.")
    if done.refused:
        raise typer.Exit(FAILED)


def _chunks(lines: Iterable[str]) -> Iterator[list[tuple[int, object]]]:
    from worker.intake import read_line

    rows = ((number, read_line(line)) for number, line in enumerate(lines, 1) if line.strip())
    while chunk := list(islice(rows, SENDS_A_TRANSACTION)):
        yield chunk


def read_lines(file: Path) -> Iterator[str]:
    """Yield a file's lines; - is standard input."""
    if str(file) == "-":
        yield from sys.stdin
        return
    try:
        with file.open(encoding="utf-8", errors="replace") as handle:
            yield from handle
    except OSError as error:
        fail(f"{file} can't be read: {error.strerror}.")


def timeline(
    contact: Annotated[str | None, typer.Argument(help="The CRM's id of a contact.")] = None,
    everyone: Annotated[bool, typer.Option("--all", help="All contacts.")] = False,
    account: Account = None,
    as_json: AsJson = False,
) -> None:
    """Show the bounces on a contact's timeline, oldest first.

    Example: bounce-worker timeline c-1 --account acme
    """
    if (contact is None) != everyone:
        fail("Name a contact, or give --all.", 2)
    from worker import admin

    with told():
        rows = admin.timeline(open_context(), account, contact)
    if as_json:
        print_json(rows)
        return
    columns = ("When (UTC)", "Contact", "Address", "What happened", "Whose fault", "Bounce")
    cells = [
        (
            row["occurred_at"][:16].replace("T", " "),
            row["contact_id"] if account else f"{row['account']}/{row['contact_id'] or '–'}",
            row["address"],
            f"{WHAT[row['type']]}: {row['reason'].replace('_', ' ')}",
            row["fault"].replace("_", " "),
            row["id"][:8],
        )
        for row in rows
    ]
    print_table(None, columns, cells, "No bounce is on this timeline.")
    if rows:
        out.print("Why? bounce-worker bounces show BOUNCE")


@bounces.command("list")
def list_bounces(account: Account = None, as_json: AsJson = False) -> None:
    """Show all bounces, oldest first."""
    timeline(None, everyone=True, account=account, as_json=as_json)


@bounces.command("show")
def show(
    bounce: Annotated[str, typer.Argument(help="A bounce's id, or its beginning.")],
    account: Account = None,
    language: Annotated[str, typer.Option(help="Advice in en, it, nb or pl.")] = "en",
    as_json: AsJson = False,
) -> None:
    """Show one bounce with its evidence, and what to do about it.

    Example: bounce-worker bounces show 3f9a --language pl
    """
    from worker import admin
    from worker.classify.advice import LANGUAGES, advise, load_advice

    if language not in LANGUAGES:
        fail(f"There is no advice in {language}: use one of {', '.join(LANGUAGES)}.", 2)
    with told():
        row = admin.the_bounce(open_context(), bounce, account)
    if as_json:
        print_json([row])
        return
    out.print(f"Bounce {row['id']} ({row['type']}, {row['reason']}; fault: {row['fault']})", style="bold")
    facts = (
        ("Contact", f"{row['contact_id'] or '–'} of account {row['account']}"),
        ("Address", row["address"]),
        ("Email", f"{row['send_id']}, Message-ID {row['message_id'] or '–'}"),
        ("Matched by", f"{row['matched_by']} (confidence {row['confidence']:.2f})"),
        ("Codes", f"SMTP {row['smtp_code'] or '–'}, enhanced status {row['status'] or '–'}"),
        ("Policy", row["policy"]),
        ("Stands", "yes" if row["ended_by"] is None else f"no: {row['ended_by']} on {row['ended_at'][:10]}"),
        ("Reports", ", ".join(row["report_ids"])),
    )
    print_table(None, ("", ""), facts, "")
    out.print(advise(load_advice(language), row["type"], row["reason"], row["fault"]), markup=False)
    print_table("Evidence", ("Kind", "What"), [(item["kind"], item["text"]) for item in row["evidence"]], "")


@review.command("list")
def list_review(account: Account = None, as_json: AsJson = False) -> None:
    """Show what waits for a person's decision; nothing here has touched a contact."""
    from worker import admin

    with told():
        rows = admin.waiting(open_context(), account)
    if as_json:
        print_json(rows)
        return
    cells = [(r["account"], r["send_id"], r["address"], r["why"], r["diagnostic"], r["id"][:8]) for r in rows]
    columns = ("Account", "Email", "The notice names", "Why it waits", "The server's words", "Review")
    print_table(None, columns, cells, "Nothing waits for review.")


def apply(file: Annotated[Path, typer.Argument(help="TOML with [[account]] and [[inbox]] tables.")]) -> None:
    """Make accounts and inboxes as declared in a file; running it twice changes nothing.

    Example file: [[inbox]] account = "acme", name = "alice", address = "alice@acme.example", provider = "imap",
    password_env = "ALICE_PASSWORD", settings = {host = "imap.acme.example", username = "alice"}
    """
    from worker import declare

    try:
        declared = tomllib.loads(file.read_text())
    except OSError as error:
        fail(f"{file} can't be read: {error.strerror}.")
    except tomllib.TOMLDecodeError as error:
        fail(f"{file} is not TOML: {error}.")
    with told():
        changes = declare.apply(open_context(), declared, os.environ)
    for change in changes:
        out.print(change, markup=False)
    out.print(f"{len(changes)} changes." if changes else "Nothing to change.")
