"""A mail server to try things on: the tests' own Postfix and Dovecot on loopback, until Ctrl-C. Needs root.

    python -m tests.examples.mail mail.env

writes what has to be known of it into a file that a shell reads (`. ./mail.env`). Whoever writes to customer.test finds
bob@, full@ (over quota), away@ (a vacation reply), refuse@ (rejects), and nobody else; see tests/live/mailstack.py.
"""

import shlex
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import pytest

from tests.live.mailstack import ALICE, MailStack


def variables(stack: MailStack) -> dict[str, str]:
    """Return what a CRM and an inbox need to know of the servers."""
    return {
        "SMTP_HOST": "127.0.0.1",
        "SMTP_PORT": str(stack.ports.smtp),
        "IMAP_HOST": stack.host,
        "IMAP_PORT": str(stack.ports.imaps),
        "IMAP_CA_FILE": stack.ca_file,
        "INBOX_ADDRESS": ALICE,
        "INBOX_PASSWORD": stack.password,
    }


def write(path: Path, known: Mapping[str, str]) -> None:
    """Write variables as a shell reads them."""
    path.write_text("".join(f"export {name}={shlex.quote(text)}\n" for name, text in known.items()))


def main(path: Path) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    with MailStack() as stack, suppress(KeyboardInterrupt):
        write(path, variables(stack))
        print(f"Postfix and Dovecot run on loopback until Ctrl-C; in another terminal: . ./{path}", flush=True)
        signal.pause()
    path.unlink()


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]))
    except (pytest.skip.Exception, pytest.fail.Exception) as missing:
        sys.exit(str(missing))
