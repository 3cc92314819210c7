"""What all commands share: opening the context, printing tables or JSON, and telling problems in one sentence."""

import json
import logging
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Final, NoReturn

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from worker.config import Settings
    from worker.pipeline import Context

Account = Annotated[str | None, typer.Option("--account", "-a", help="The account; needed where a name is ambiguous.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object a line instead of a table.")]

FAILED: Final = 1
USAGE: Final = 2


class Printer:
    """A console that is made when something is printed: a help text needs none, and should come at once."""

    def __init__(self, *, stderr: bool = False) -> None:
        self._stderr = stderr

    @cached_property
    def console(self) -> "Console":
        """The console itself."""
        from rich.console import Console

        return Console(stderr=self._stderr, highlight=False)

    def print(self, *objects: object, **how: Any) -> None:  # noqa: ANN401 - as Console.print takes it
        """Print as rich's console does."""
        self.console.print(*objects, **how)


out = Printer()
err = Printer(stderr=True)


@contextmanager
def told() -> Iterator[None]:
    """Turn a problem that a person can solve into its sentence and exit code 1."""
    from connectors import ConnectorError
    from worker.admin import AdminProblem
    from worker.classify import RuleError
    from worker.config import ConfigProblem
    from worker.store.database import DatabaseProblem, words_of
    from worker.store.keyring import KeyProblem

    try:
        yield
    except (AdminProblem, ConfigProblem, KeyProblem, RuleError, ConnectorError) as problem:
        fail(str(problem))
    except DatabaseProblem as problem:
        fail(f"The database can't be used just now ({words_of(problem)}): mend that, and run the command again.")


def fail(sentence: str, code: int = FAILED) -> NoReturn:
    """Print a sentence to standard error and leave."""
    err.print(sentence, markup=False)
    raise typer.Exit(code)


def read_settings() -> "Settings":
    """Read the environment."""
    from worker import config
    from worker.telemetry import logs

    settings = config.read()
    logs.configure("command", as_json=settings.log_as_json, level=max(settings.log_level, logging.WARNING))
    return settings


def open_context() -> "Context":
    """Read the environment and open the database."""
    from worker.wiring import make_context

    return make_context(read_settings())


def print_json(rows: Iterable[Mapping[str, Any]]) -> None:
    """Print one JSON object a line."""
    from worker.domain import visible

    for row in rows:
        sys.stdout.write(visible(json.dumps(row, ensure_ascii=False)) + "\n")


def print_table(title: str | None, columns: Sequence[str], rows: Iterable[Sequence[object]], empty: str) -> None:
    """Print a table, or the sentence `empty` where there are no rows. Cells are data: no markup is read in them."""
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, title_justify="left", header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(shown(cell)) for cell in row))
    if table.row_count:
        out.print(table)
    else:
        out.print(empty, markup=False)


def shown(cell: object) -> str:
    """Return a cell as a person reads it; control characters, which could steer a terminal, are made visible."""
    if cell is None:
        return "–"
    if isinstance(cell, datetime):
        return cell.astimezone(UTC).strftime("%Y-%m-%d %H:%M")
    from worker.domain import visible

    return visible(str(cell))


def parse_date(text: str | None) -> datetime | None:
    """Read --since: a date or an ISO 8601 time; without a zone it is this machine's own."""
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no date; use for example 2026-11-01 or 2026-11-01T08:00Z.") from None
    return (moment if moment.tzinfo else moment.astimezone()).astimezone(UTC)
