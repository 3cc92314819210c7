"""`bounce-worker doctor`: what is wrong with a deployment, and what to do."""

from dataclasses import asdict

import typer

from worker.cli.shared import FAILED, AsJson, out, print_json, told

MARKS = {"ok": "✓", "warning": "!", "failed": "✗"}


def doctor(as_json: AsJson = False) -> None:
    """Look at all that this deployment rests on, changing nothing; exit 1 where something has failed.

    Example: bounce-worker doctor --json
    """
    from worker import config
    from worker.cli.shared import read_settings
    from worker.doctor import Check, State, examine

    checks: list[Check] = []

    def show(check: Check) -> None:
        checks.append(check)
        if as_json:
            print_json([{"schema": 1, **asdict(check)}])
            return
        out.print(f"{MARKS[check.state]} {check.name:<14} {check.said}", markup=False, soft_wrap=True)
        if check.to_do:
            out.print(f"  {'':<14} {check.to_do}", markup=False, soft_wrap=True)

    try:
        settings = read_settings()
    except config.ConfigProblem as problem:
        show(Check(name="configuration", state=State.FAILED, said=str(problem), to_do="Correct the environment."))
        raise typer.Exit(FAILED) from None
    show(Check(name="configuration", state=State.OK, said="The environment can be read."))
    with told():
        for check in examine(settings, lambda: config.existing_keys(settings)):
            show(check)
    if any(check.state is State.FAILED for check in checks):
        raise typer.Exit(FAILED)
