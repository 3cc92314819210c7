"""`bounce-worker`: the command line. Each command imports what it needs when it is called."""

import typer

from worker.cli import crm, decide, doctor, inbox, keys, operate, people, run, scan, webhooks

# Plain help texts: laying them out by rich takes longer than all else that --help does.
app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


@app.callback()
def bounce_worker() -> None:
    """Find bounces in connected inboxes, prove what they answer, and put them on the contact's timeline."""


@app.command()
def explain(
    paths: list[str] = typer.Argument(..., metavar="PATH…", help="Messages, folders of messages, or - for a list."),
    json: bool = typer.Option(False, "--json", help="One JSON object a line."),
    language: str = typer.Option("en", help="Advice in en, it, nb or pl."),
) -> None:
    """Say what each message reports, offline: kind, recipients, codes, verdict and the evidence.

    Example: bounce-worker explain notice.eml --language it
    """
    from worker.cli.explain import explain as run

    try:
        raise typer.Exit(run(paths, as_json=json, language=language))
    except ValueError as problem:
        raise typer.BadParameter(str(problem)) from None


app.command()(scan.scan)
app.command()(run.run)
app.command()(run.worker)
app.command()(run.scheduler)
app.command()(run.intake)
app.command()(run.web)
app.command()(run.poll)
app.command()(crm.timeline)
app.command()(crm.apply)
app.command()(decide.incidents)
app.command()(decide.reclassify)
app.command()(operate.watch)
app.command()(operate.alive)
app.command()(doctor.doctor)
app.command()(operate.rekey)
for command in (decide.unbounce, decide.reject, decide.undo, decide.trail):
    crm.bounces.command()(command)
crm.review.command()(decide.accept)
crm.review.command("reject")(decide.reject_review)
app.add_typer(inbox.app, name="inbox")
app.add_typer(crm.sends, name="sends")
app.add_typer(crm.bounces, name="bounces")
app.add_typer(crm.review, name="review")
app.add_typer(people.app, name="contact")
app.add_typer(keys.app, name="keys")
app.add_typer(webhooks.app, name="webhooks")


def main() -> None:
    """Run the command line."""
    app()
