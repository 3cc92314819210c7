"""README's walk through the example CRM, command by command as it is printed, in one shell."""

import re
import sys
from pathlib import Path

import pytest

from tests.examples import mail
from tests.live.deployment import ROOT
from tests.live.mailstack import MailStack
from tests.live.processes import free_ports, start, stop

pytestmark = [pytest.mark.live, pytest.mark.timeout(240)]


def chapter() -> str:
    text = (ROOT / "README.md").read_text()
    return text[text.index("## Connecting your CRM") : text.index("## What becomes of a bounce")]


def test_the_example_is_as_short_as_it_is_said():
    lines = (ROOT / "tests/examples/crm.py").read_text().splitlines()
    assert len(lines) < 150


def commands() -> str:
    """Return what a reader types after `make mail`, at other ports than theirs."""
    blocks = re.findall(r"^```sh\n(.*?)^```$", chapter(), re.DOTALL | re.MULTILINE)
    assert len(blocks) == 5
    api, hook = map(str, free_ports(2))
    script = "\n".join(blocks).replace(":8000", f":{api}").replace(":8001", f":{hook}")
    return (
        f"set -e -o pipefail; unset DATABASE_URL REDIS_URL BOUNCE_WORKER_KEYS\n"
        f"export PYTHONPATH={ROOT} BOUNCE_URL=http://127.0.0.1:{api} CRM_PORT={hook}\n"
        f"{script.replace('bounce-worker run', f'bounce-worker run --port {api}')}\n"
        "kill $(jobs -p); wait || true; echo; echo the end\n"
    )


def test_the_commands_of_the_chapter_do_what_it_says(tmp_path: Path, mail_stack: MailStack):
    (tmp_path / ".venv").symlink_to(sys.prefix)
    (tmp_path / "tests").symlink_to(ROOT / "tests")
    known = mail.variables(mail_stack) | {"INBOX_ADDRESS": mail_stack.fresh_inbox()}
    mail.write(tmp_path / "mail.env", known)
    log = tmp_path / "printed"
    shell = start(["bash", "-c", commands()], log)
    try:
        shell.wait(120)
    finally:
        stop(shell)
    printed = log.read_text()
    steps = [
        '{"status":"ok"}', "It took the test event.", "Sent to nobody@customer.test.",
        "bounce.attached  nobody@customer.test (hard, unknown_user, fault: address; ", "550 5.1.1", "contact.excluded",
        "nobody@customer.test gets no mail: previously_bounced_in_account (unknown_user).", "not sent",
        "Lifted by decision", "contact.unbounced", "Sent to nobody@customer.test.",
        '"registered":1', '"may_email":', '"reason":"unknown_user"', '"type":"bounce.attached"', "the end",
    ]  # fmt: skip
    place = 0
    for step in steps:
        assert step in printed[place:], f"after {steps[: steps.index(step)]}:\n{printed}"
        place = printed.index(step, place) + len(step)
