"""`explain` for a person: what the notice says, on which line, what it comes to, and the words that decided it."""

from collections.abc import Mapping, Sequence
from typing import Final

from rich.console import Console
from rich.markup import escape

from worker.classify.advice import advise
from worker.cli.shared import shown
from worker.domain import DeliveryReport, RecipientReport, Verdict

COLOURS: Final = {"hard": "red", "soft": "yellow", "pending": "cyan"}
DIAGNOSTIC_CHARACTERS: Final = 300
ENOUGH: Final = 24
"""Characters of a text that must stand on one line for that line to be its place: the rest may be folded."""


class Page:
    """A message's raw lines, in which evidence is looked up as a person would."""

    def __init__(self, raw: bytes) -> None:
        self._lines = [" ".join(line.split()).casefold() for line in raw.decode("utf-8", "replace").splitlines()]

    def line(self, words: str | None, near: str = "") -> str:
        """Return ``line N`` of the line that holds `words` or begins to, and `near`; empty where none does."""
        wanted = " ".join((words or "").split()).casefold()[:ENOUGH]
        if not wanted:
            return ""
        for number, line in enumerate(self._lines, 1):
            if wanted in line and near in line:
                return f"line {number}"
        return self.line(words) if near else ""


def show(
    path: str,
    page: Page,
    report: DeliveryReport,
    verdicts: Sequence[Verdict | None],
    advice: Mapping[str, str],
    error: str | None,
) -> None:
    """Print the evidence of one message."""
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"[bold]{safe(path)}[/bold]")
    if error:
        console.print(f"  [red]can't be read: {safe(error)}[/red]")
        return
    by = f", reported by {safe(report.reporting_mta)}" if report.reporting_mta else ""
    console.print(f"  {report.kind.value}, read by {report.detector}{by}")
    for recipient, verdict in zip(report.recipients, verdicts, strict=True):
        _show_recipient(console, page, recipient)
        if verdict:
            _show_verdict(console, page, verdict, advice)
    original = report.original
    if original.message_id:
        place = _at(page.line(original.message_id))
        console.print(f"  about <{safe(original.message_id)}>  {safe(original.subject or '')}{place}")
    for warning in report.warnings:
        console.print(f"  [yellow]note: {safe(warning)}[/yellow]")


def _show_recipient(console: Console, page: Page, recipient: RecipientReport) -> None:
    codes = " ".join(str(code) for code in (recipient.smtp_code, recipient.status) if code)
    place = _at(page.line(recipient.final_recipient, near="final-recipient"))
    console.print(f"  {safe(recipient.final_recipient)}: {recipient.action.value} {codes}".rstrip() + place)
    if recipient.original_recipient and recipient.original_recipient != recipient.final_recipient:
        console.print(f"    written to as {safe(recipient.original_recipient)}")
    if recipient.diagnostic_code:
        place = _at(page.line(recipient.diagnostic_code, near="diagnostic-code"))
        console.print(f"    “{safe(recipient.diagnostic_code[:DIAGNOSTIC_CHARACTERS])}”{place}")


def _show_verdict(console: Console, page: Page, verdict: Verdict, advice: Mapping[str, str]) -> None:
    colour = COLOURS[verdict.type.value]
    console.print(f"    [{colour}]{verdict.type}: {verdict.reason}[/{colour}], fault: {verdict.fault}")
    words = (
        f", because of “{safe(verdict.matched_text)}”{_at(page.line(verdict.matched_text))}"
        if verdict.matched_text
        else ""
    )
    console.print(f"    rule {safe(verdict.rule)}{words}")
    console.print(f"    → {advise(advice, verdict.type, verdict.reason, verdict.fault)}")


def _at(place: str) -> str:
    return f"  [dim]({place})[/dim]" if place else ""


def safe(text: str) -> str:
    """Return text from mail as data: no markup, no control characters."""
    return escape(shown(text))
