"""Every pattern takes linear time: a text twice as long takes at most about twice as long, whatever it is made of."""

import importlib
import pkgutil
import re
import time

import pytest

import worker
from worker.classify import default_rule_paths, load_rules
from worker.phrases import Wordings

LENGTH = 2_000
TIMES = 8  # how much longer the long text is
TOLERANCE = 3.0  # a busy machine, and branches that only long texts reach; quadratic would be TIMES again
FLOOR = 0.002  # seconds: what is faster isn't measured
PIECES = (
    *"a -.<>@=0(\";:5[*'é不",
    *("\n", "\t", " \n", "\n ", "\n\n", "a@", "a.", "a@b.", "5.1.", "550 ", "<a@b.test> ", "a: ", "a:\n ", "=?"),
    *("=?utf-8?q?", "<style>", "</style", "&#", '; a="', "--b\n", "x-a: b\n ", "from: <", "to: ", "rfc822;", "\\x{e9"),
    *(
        "delivery ",
        "deliver was ",
        "following ",
        "recipients ",
        "click here ",
        "confirm you are ",
        "message ",
        "said: ",
    ),
    *("mail ", "1 Jan "),
)


def patterns():
    """Every compiled pattern of the modules that read mail, and of the rules."""
    for module in ("worker.signs", "worker.words", "worker.domain", "worker.phrases", *rooms()):
        for name, value in vars(importlib.import_module(module)).items():
            pattern = value._pattern if isinstance(value, Wordings) else value
            if isinstance(pattern, re.Pattern):
                yield pytest.param(pattern, id=f"{module}.{name}")
    for rule in load_rules(default_rule_paths()).rules:
        for what in ("text", "status", "smtp_code"):
            if pattern := getattr(rule, what):
                yield pytest.param(pattern, id=f"{rule.name}.{what}")


def rooms():
    for room in ("detect", "classify"):
        yield from (f"worker.{room}.{module.name}" for module in pkgutil.iter_modules([f"{worker.__path__[0]}/{room}"]))


def seconds(pattern, text):
    started = time.perf_counter()
    for _ in pattern.finditer(text):
        pass
    pattern.match(text)
    return time.perf_counter() - started


@pytest.mark.parametrize("pattern", [*patterns()])
def test_a_longer_text_takes_no_more_than_its_share(pattern):
    for piece in PIECES:
        text = piece * (LENGTH // len(piece))
        short, long = (
            (text.encode(), text.encode() * TIMES) if isinstance(pattern.pattern, bytes) else (text, text * TIMES)
        )
        if seconds(pattern, long) < FLOOR:
            continue
        share = min(seconds(pattern, long) for _ in range(3)) / min(seconds(pattern, short) for _ in range(3))
        assert share < TIMES * TOLERANCE, f"{TIMES} times as much of {piece!r} takes {share:.0f} times as long"
