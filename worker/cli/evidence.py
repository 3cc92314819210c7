"""`explain` for a person: what the notice says, what it comes to, and the words that decided it."""

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape

from worker.domain import DeliveryReport, RecipientReport, Verdict

COLOURS = {"hard": "red", "soft": "yellow", "pending": "cyan"}


def show(path: str, report: DeliveryReport, verdicts: Sequence[Verdict | None], error: str | None) -> None:
    """Print the evidence of one message."""
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"[bold]{escape(path)}[/bold]")
    if error:
        console.print(f"  [red]can't be read: {escape(error)}[/red]")
        return
    console.print(f"  {report.kind.value}, read by {report.detector}{_by(report)}")
    for recipient, verdict in zip(report.recipients, verdicts, strict=True):
        _show_recipient(console, recipient, verdict)
    original = report.original
    if original.message_id:
        console.print(f"  about <{escape(original.message_id)}>  {escape(original.subject or '')}")
    for warning in report.warnings:
        console.print(f"  [yellow]note: {escape(warning)}[/yellow]")


def _by(report: DeliveryReport) -> str:
    return f", reported by {escape(report.reporting_mta)}" if report.reporting_mta else ""


def _show_recipient(console: Console, recipient: RecipientReport, verdict: Verdict | None) -> None:
    codes = " ".join(str(code) for code in (recipient.smtp_code, recipient.status) if code)
    console.print(f"  {escape(recipient.final_recipient)}: {recipient.action.value} {codes}".rstrip())
    if recipient.original_recipient and recipient.original_recipient != recipient.final_recipient:
        console.print(f"    written to as {escape(recipient.original_recipient)}")
    if recipient.diagnostic_code:
        console.print(f"    “{escape(recipient.diagnostic_code[:300])}”")
    if verdict:
        colour = COLOURS[verdict.type.value]
        console.print(
            f"    [{colour}]{verdict.type.value}: {verdict.reason.value}[/{colour}], fault: {verdict.fault.value}"
        )
        because = f", because of “{escape(verdict.matched_text)}”" if verdict.matched_text else ""
        console.print(f"    rule {escape(verdict.rule)}{because}")
