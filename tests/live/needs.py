"""What the live tests need of the machine: skipped with a sentence on a laptop, failed where CI promises it."""

import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import NoReturn

import pytest

PACKAGES = {
    "dovecot": "dovecot-imapd, dovecot-lmtpd and dovecot-sieve",
    "doveadm": "dovecot-imapd",
    "postfix": "postfix",
    "openssl": "openssl",
    "redis-server": "redis-server",
    "initdb": "postgresql",
    "postgres": "postgresql",
}


def missing(sentence: str) -> NoReturn:
    """Skip the test; fail it where the environment says that this is CI, which has to have everything."""
    if os.environ.get("CI"):
        pytest.fail(sentence, pytrace=False)
    pytest.skip(sentence)


def need_root(what: str) -> None:
    if os.geteuid() != 0:
        missing(f"{what} drop privileges: run this test as root.")


def binary(name: str, folders: Iterable[Path] = ()) -> str:
    """Return the path of a server's binary, looking into `folders` first and then where Debian and PATH keep it."""
    places = [*map(str, folders), "/usr/sbin", "/usr/lib/dovecot", *os.get_exec_path()]
    if found := shutil.which(name, path=os.pathsep.join(places)):
        return found
    missing(f"{name} isn't installed: install {PACKAGES[name]}.")
