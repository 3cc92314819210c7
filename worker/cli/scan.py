"""`bounce-worker scan`: a dry run over a mailbox or a folder; nothing is written."""

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from worker.cli.shared import (
    USAGE,
    Account,
    AsJson,
    err,
    fail,
    open_context,
    out,
    parse_date,
    print_json,
    print_table,
    told,
)

if TYPE_CHECKING:
    from worker.classify import Rules
    from worker.dryrun import Sends

MESSAGE_BYTES = 256 * 1024
FIRST_LOOK = timedelta(days=30)


def scan(
    path: Annotated[Path | None, typer.Argument(help="A Maildir, an mbox file, or a folder of .eml files.")] = None,
    inbox: Annotated[str | None, typer.Option(help="A connected inbox instead of a path.")] = None,
    sends: Annotated[
        Path | None, typer.Option(help="What the CRM sent (JSON Lines); default: what is registered.")
    ] = None,
    since: Annotated[str | None, typer.Option(help="Only what came since (--inbox; default: 30 days).")] = None,
    report: Annotated[Path | None, typer.Option(help="Also write the result as an HTML page for a manager.")] = None,
    account: Account = None,
    as_json: AsJson = False,
) -> None:
    """Show what the worker would do with the mail in a folder or an inbox. Nothing is written.

    Examples:

    bounce-worker scan ~/Maildir --sends sends.jsonl

    bounce-worker scan --inbox alice --since 2026-11-01 --report bounces.html
    """
    from worker.classify import default_rule_paths, load_rules
    from worker.cli.page import page
    from worker.cli.shared import read_settings

    if (path is None) == (inbox is None):
        fail("Name a path, or an inbox with --inbox.", USAGE)
    with told():
        settings = read_settings()
        rules = load_rules((*settings.rule_files, *default_rule_paths()))
        messages = _from_inbox(inbox, account, parse_date(since)) if inbox else _from_path(path or Path())
        rows = list(_rows(messages, _sends(sends, account, registered=inbox is not None), rules))
    if report is not None:
        report.write_text(page(rows, inbox or str(path), datetime.now(UTC)), encoding="utf-8")
        err.print(f"Report written to {report}.", markup=False)
    if as_json:
        print_json(rows)
    else:
        _print(rows)


def _rows(messages: Iterable[tuple[str, bytes]], sends: "Sends", rules: "Rules") -> Iterator[dict[str, Any]]:
    from worker import dryrun

    now = datetime.now(UTC)
    for source, raw in messages:
        yield from dryrun.would(raw, source, sends, rules, now)


def _sends(file: Path | None, account: str | None, *, registered: bool) -> "Sends":
    from worker import admin, dryrun
    from worker.cli.crm import read_lines
    from worker.intake import InvalidSend, parse_line

    if file is None:
        return dryrun.Sends.of(admin.all_sends(open_context(), account) if registered else ())
    found = []
    for number, line in enumerate(read_lines(file), 1):
        try:
            found.append(parse_line(line))
        except InvalidSend as problem:
            err.print(f"line {number} {problem}", markup=False)
    return dryrun.Sends.of(send for send in found if account in (None, send.account))


def _from_path(path: Path) -> Iterator[tuple[str, bytes]]:
    if (path / "cur").is_dir() or (path / "new").is_dir():
        files = [file for folder in ("new", "cur") for file in sorted((path / folder).glob("*")) if file.is_file()]
    elif path.is_dir():
        files = sorted(path.rglob("*.eml"))
    elif path.is_file():
        yield from _from_mbox(path) if path.suffix != ".eml" else [_read(path)]
        return
    else:
        fail(f"{path} does not exist.", USAGE)
    from rich.progress import track

    for file in track(files, "Reading", console=err.console, transient=True):
        yield _read(file)


def _read(file: Path) -> tuple[str, bytes]:
    with file.open("rb") as handle:
        return str(file), handle.read(MESSAGE_BYTES)


def _from_mbox(path: Path) -> Iterator[tuple[str, bytes]]:
    import mailbox

    from rich.progress import track

    box = mailbox.mbox(path, create=False)
    for key in track(box.keys(), "Reading", console=err.console, transient=True):
        yield f"{path}:{key}", box.get_bytes(key)[:MESSAGE_BYTES]


def _from_inbox(name: str, account: str | None, since: datetime | None) -> Iterator[tuple[str, bytes]]:
    from connectors import MessageGone
    from worker import admin
    from worker.screen import screen

    context = open_context()
    chosen = admin.the_inbox(context, name, account)
    connector = context.connect(chosen)
    try:
        looked = 0
        page = connector.poll(since or context.now() - FIRST_LOOK)
        while True:
            looked += len(page.envelopes)
            for envelope in page.envelopes:
                if page.prefiltered or screen(envelope):
                    try:
                        yield envelope.ref, connector.fetch(envelope.ref, MESSAGE_BYTES).raw
                    except MessageGone:
                        continue
            err.print(f"{looked} messages looked at…", markup=False)
            if not page.has_more:
                return
            page = connector.poll(page.cursor)
    finally:
        connector.close()


COLUMNS = ("Message", "Kind", "Would", "Contact", "Address", "Verdict", "The server's words")


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    entry = row["entry"] or {}
    verdict = f"{entry['type']}: {entry['reason']}" if entry else ""
    contact = entry.get("contact_id") or ""
    words = (entry.get("diagnostic") or "")[:120]
    name = row["source"].rsplit("/", 1)[-1]
    return (name, row["kind"], row["would"], contact, entry.get("address") or "", verdict, words)


def _print(rows: list[dict[str, Any]]) -> None:
    told_of = [row for row in rows if row["kind"] != "none"]
    print_table(None, COLUMNS, [_cells(row) for row in told_of], "No delivery report was found.")
    counts = Counter(row["would"] for row in rows)
    out.print(
        "Would: " + ", ".join(f"{what} {number}" for what, number in counts.most_common()) + ". Nothing was written."
    )
