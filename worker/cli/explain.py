"""`explain`: what each message says, offline and without a database."""

import json
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from worker.classify import Rules, classify, default_rule_paths, load_rules
from worker.classify.advice import load_advice
from worker.detect import detect
from worker.detect.mime import MAX_BYTES
from worker.domain import Action, DeliveryReport, Kind, RecipientReport, Verdict

SCHEMA: Final = 1
VERDICT_KINDS: Final = (Kind.BOUNCE, Kind.DELAYED)
WITH_VERDICT: Final = (Action.FAILED, Action.DELAYED)


def explain(paths: Iterable[str], *, as_json: bool, language: str = "en") -> int:
    """Explain every message under `paths`; return the exit code. Raises ValueError for an unknown language."""
    rules = load_rules(default_rule_paths())
    if not as_json:
        from worker.cli.evidence import Page, show

        advice = load_advice(language)
    for path in _files(paths):
        raw, size, error = _read(path)
        report = detect(raw)
        if size > len(raw):
            report = _cut(report, size)
        verdicts = [_verdict(rules, report, recipient) for recipient in report.recipients]
        if as_json:
            row = as_row(path, report, verdicts, error)
            sys.stdout.write(json.dumps(row, ensure_ascii=True) + "\n")
        else:
            show(path, Page(raw), report, verdicts, advice, error)
    return 0


def as_row(path: str, report: DeliveryReport, verdicts: Iterable[Verdict | None], error: str | None) -> dict[str, Any]:
    """Return the JSON object of one message, as DESIGN's contract names its fields."""
    original = report.original
    return {
        "schema": SCHEMA,
        "path": path,
        "kind": report.kind.value,
        "reporting_mta": report.reporting_mta,
        "detector": report.detector,
        "recipients": [_recipient(r, v) for r, v in zip(report.recipients, verdicts, strict=True)],
        "original": {
            "message_id": original.message_id,
            "from": original.sender,
            "to": original.to,
            "subject": original.subject,
            "date": original.date,
        },
        "warnings": list(report.warnings),
        "error": error,
    }


def _recipient(recipient: RecipientReport, verdict: Verdict | None) -> dict[str, Any]:
    return {
        "final_recipient": recipient.final_recipient,
        "original_recipient": recipient.original_recipient,
        "action": recipient.action.value,
        "status": str(recipient.status) if recipient.status else None,
        "smtp_code": recipient.smtp_code,
        "diagnostic": recipient.diagnostic_code,
        "type": verdict.type.value if verdict else None,
        "reason": verdict.reason.value if verdict else None,
        "fault": verdict.fault.value if verdict else None,
        "rule": verdict.rule if verdict else None,
    }


def _verdict(rules: Rules, report: DeliveryReport, recipient: RecipientReport) -> Verdict | None:
    if report.kind not in VERDICT_KINDS or recipient.action not in WITH_VERDICT:
        return None
    return classify(rules, report, recipient)


def _files(paths: Iterable[str]) -> Iterator[str]:
    """Yield the files: folders are walked in order, "-" reads paths from standard input."""
    for path in paths:
        if path == "-":
            yield from _files(line.rstrip("\n") for line in sys.stdin if line.strip() and line.strip() != "-")
        elif Path(path).is_dir():
            for folder, folders, names in os.walk(path):
                folders.sort()
                yield from (str(file) for name in sorted(names) if (file := Path(folder, name)).is_file())
        else:
            yield path


def _read(path: str) -> tuple[bytes, int, str | None]:
    """Return the first bytes of a file, its whole size, and why it can't be read."""
    try:
        with Path(path).open("rb") as handle:
            return handle.read(MAX_BYTES), os.fstat(handle.fileno()).st_size, None
    except OSError as exc:
        return b"", 0, exc.strerror or str(exc)


def _cut(report: DeliveryReport, size: int) -> DeliveryReport:
    from dataclasses import replace

    return replace(report, warnings=(*report.warnings, f"only the first {MAX_BYTES} bytes of {size} were read"))
