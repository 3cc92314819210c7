"""How fast are we, beside others that read the same mail? In one run, one process, on one set of messages.

    rivals.py [--corpus FOLDER] [--rounds N] [--json]

FOLDER holds `labels.jsonl` (an object a line with `path` and `kind`) and `messages/`. Without one: the bounces are the
project's own samples, the ham is made up. Programs take turns, round by round, so that a busy machine is busy for all;
a message's time is its median over the rounds, a program's speed the median of its rounds. The first round warms up.
"""

import argparse
import email
import email.policy
import gc
import json
import logging
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from connectors.base import ENVELOPE_HEADERS, Envelope, MessageRef
from worker.classify import classify, default_rule_paths, load_rules
from worker.detect import detect, mime
from worker.judge import VERDICT_KINDS
from worker.screen import screen

SAMPLES: Final = Path(__file__).parent.parent / "corpus"
BOUNCES: Final = ("bounce", "delayed")
HAM_MESSAGES: Final = 500
WORDS: Final = (
    "we",
    "met",
    "about",
    "the",
    "offer",
    "and",
    "team",
    "would",
    "like",
    "to",
    "see",
    "a",
    "price",
    "thank",
    "you",
)
ROUNDS: Final = 7
REFERENCE: Final = "flufl.bounce"
MILLISECONDS: Final = 1_000

Program = Callable[[bytes, Envelope], object]


@dataclass(frozen=True, kw_only=True)
class Row:
    """What one program did with one set of messages. Times are milliseconds a message."""

    messages: str
    program: str
    per_second: float
    ratio: float
    p50: float
    p99: float
    longest: float
    errors: int


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    logging.getLogger("flufl.bounce").disabled = True  # it logs what it swallows, which would cost it time
    sets = labelled(asked.corpus) if asked.corpus else {"bounces": samples(), "ham": made_up(HAM_MESSAGES)}
    programs, absent = the_programs()
    rows = [row for name, raws in sets.items() for row in measured(name, raws, programs, asked.rounds)]
    machine = f"{os.cpu_count()} cores ({platform.machine()}), Python {platform.python_version()}"
    if asked.json:
        counts = {name: len(raws) for name, raws in sets.items()}
        json.dump({"machine": machine, "messages": counts, "absent": absent, "rows": [*map(asdict, rows)]}, sys.stdout)
        sys.stdout.write("\n")
    else:
        show(rows, {name: len(raws) for name, raws in sets.items()}, machine, absent)


def the_programs() -> tuple[dict[str, Program], list[str]]:
    """Return what is compared, and what is not installed."""
    from flufl.bounce import all_failures

    rules = load_rules(default_rule_paths())

    def classified(raw: bytes, _: Envelope) -> object:
        report = detect(raw)
        if report.kind not in VERDICT_KINDS:
            return report
        return [classify(rules, report, recipient) for recipient in report.recipients]

    def path(raw: bytes, envelope: Envelope) -> object:
        return classified(raw, envelope) if screen(envelope) else None

    programs: dict[str, Program] = {
        "our screen": lambda _, envelope: screen(envelope),
        "our screen, then detect + classify": path,
        "our detect": lambda raw, _: detect(raw),
        "our detect + classify": classified,
        REFERENCE: lambda raw, _: all_failures(email.message_from_bytes(raw)),
        "email (compat32)": lambda raw, _: email.message_from_bytes(raw),
        "email (policy.default)": lambda raw, _: email.message_from_bytes(raw, policy=email.policy.default),
    }
    try:
        from fast_mail_parser import parse_email
    except ImportError:
        return programs, ["fast-mail-parser"]
    return programs | {"fast-mail-parser": lambda raw, _: parse_email(raw)}, []


def measured(name: str, raws: list[bytes], programs: dict[str, Program], rounds: int) -> Iterable[Row]:
    """Return a row for each program."""
    pairs = [(raw, envelope(raw)) for raw in raws]
    times: dict[str, list[list[float]]] = {program: [] for program in programs}
    errors: dict[str, int] = {}
    gc.collect()
    gc.freeze()  # what is loaded is no program's garbage
    for turn in range(rounds + 1):
        for program, run in programs.items():
            seconds, errors[program] = one_round(run, pairs)
            if turn:
                times[program].append(seconds)
    speeds = {program: statistics.median(len(raws) / sum(turn) for turn in turns) for program, turns in times.items()}
    for program, turns in times.items():
        each = sorted(statistics.median(message) * MILLISECONDS for message in zip(*turns, strict=True))
        yield Row(
            messages=name,
            program=program,
            per_second=round(speeds[program], 1),
            ratio=round(speeds[program] / speeds[REFERENCE], 2),
            p50=round(each[len(each) // 2], 4),
            p99=round(each[len(each) * 99 // 100], 3),
            longest=round(each[-1], 3),
            errors=errors[program],
        )


def one_round(run: Program, pairs: Iterable[tuple[bytes, Envelope]]) -> tuple[list[float], int]:
    """Return each message's seconds, and how many messages a program raised on."""
    seconds = []
    errors = 0
    clock = time.perf_counter
    for raw, known in pairs:
        started = clock()
        try:
            run(raw, known)
        except Exception:  # noqa: BLE001 - others raise on mail of the wild; that is part of the result
            errors += 1
        seconds.append(clock() - started)
    return seconds, errors


def envelope(raw: bytes) -> Envelope:
    """Return a message's envelope as a connector hands it over."""
    fields = mime.read(raw).fields
    values = ((name.lower(), fields.first(name.lower())) for name in ENVELOPE_HEADERS)
    headers = {name: value for name, value in values if value is not None}
    return Envelope(ref=MessageRef("1"), headers=headers, size=len(raw))


def labelled(folder: Path) -> dict[str, list[bytes]]:
    """Return the bounces and the ham of a labelled corpus."""
    rows = [json.loads(line) for line in (folder / "labels.jsonl").read_text().splitlines()]
    read = [(row["kind"], (folder / "messages" / row["path"]).read_bytes()) for row in rows]
    return {
        "bounces": [raw for kind, raw in read if kind in BOUNCES],
        "ham": [raw for kind, raw in read if kind == "ham"],
    }


def samples() -> list[bytes]:
    """Return the project's own bounces and delays."""
    told = ((path, json.loads(path.with_suffix(".json").read_text())) for path in sorted(SAMPLES.rglob("*.eml")))
    return [path.read_bytes() for path, answer in told if answer["kind"] in BOUNCES]


def made_up(count: int) -> list[bytes]:
    """Return letters, newsletters and mail with attachments in the proportions of an inbox, always the same."""
    dice = Random(1)
    return [letter(number, dice) for number in range(count)]


def letter(number: int, dice: Random) -> bytes:
    """Return one ordinary message."""
    text = "\n".join(" ".join(dice.choices(WORDS, k=12)) for _ in range(dice.randrange(4, 60)))
    head = (
        f"Return-Path: <bob{number}@customer.example>\n"
        "Received: from mx.customer.example (mx.customer.example [192.0.2.7]) by imap.acme.example with ESMTPS;\n"
        " Sun, 22 Nov 2026 11:00:01 +0000\n"
        "DKIM-Signature: v=1; a=rsa-sha256; d=customer.example; s=one; h=from:to:subject:date:message-id;\n"
        f" b={dice.randbytes(32).hex()}\n"
        f"From: Bob Smith <bob{number}@customer.example>\nTo: Alice <alice@acme.example>\n"
        f"Subject: Re: {' '.join(dice.choices(WORDS, k=5))}\nDate: Sun, 22 Nov 2026 11:00:00 +0000\n"
        f"Message-ID: <{number}@customer.example>\nMIME-Version: 1.0\n"
    )
    plain = f"Content-Type: text/plain; charset=utf-8\n\n{text}\n"
    if number % 3 == 0:
        return (head + plain).encode()
    markup = "".join(f"<p style='margin:0'>{line}</p>\n" for line in text.split("\n"))
    body = f"--b\n{plain}\n--b\nContent-Type: text/html; charset=utf-8\n\n<html><body>{markup}</body></html>\n"
    if number % 10 == 1:
        sheet = "\n".join(dice.randbytes(57).hex()[:76] for _ in range(400))
        body += f"--b\nContent-Type: application/pdf\nContent-Transfer-Encoding: base64\n\n{sheet}\n"
    return (head + f'Content-Type: multipart/mixed; boundary="b"\n\n{body}--b--\n').encode()


def show(rows: Iterable[Row], counts: dict[str, int], machine: str, absent: list[str]) -> None:
    """Print the table."""
    console = Console()
    table = Table(title=", ".join(f"{count} {name}" for name, count in counts.items()) + f"; {machine}")
    for column in ("messages", "program"):
        table.add_column(column)
    for column in ("messages/s", f"× {REFERENCE}", "p50 ms", "p99 ms", "max ms", "errors"):
        table.add_column(column, justify="right")
    before: Any = None
    for row in rows:
        if before not in (None, row.messages):
            table.add_section()
        before = row.messages
        table.add_row(
            row.messages,
            row.program,
            f"{row.per_second:,.0f}",
            f"{row.ratio:,.2f}",
            f"{row.p50:.3f}",
            f"{row.p99:.2f}",
            f"{row.longest:.1f}",
            str(row.errors),
        )
    console.print(table)
    for name in absent:
        console.print(f"{name} is not installed and left out: pip install -e '.\\[bench]'")


if __name__ == "__main__":
    main()
