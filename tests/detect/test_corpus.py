"""Each sample is read as the file beside it says, with LF and with CRLF."""

import json
from pathlib import Path

import pytest

from worker.classify import classify, default_rule_paths, load_rules
from worker.detect import detect
from worker.domain import Action, Kind

CORPUS = Path(__file__).parent.parent / "corpus"
SAMPLES = sorted(CORPUS.rglob("*.eml"))
RULES = load_rules(default_rule_paths())


def answer(raw):
    report = detect(raw)
    return {
        "kind": report.kind.value,
        "recipients": [recipient_row(report, recipient) for recipient in report.recipients],
        "original": {"message_id": report.original.message_id},
    }


def recipient_row(report, recipient):
    judged = report.kind in (Kind.BOUNCE, Kind.DELAYED) and recipient.action in (Action.FAILED, Action.DELAYED)
    verdict = classify(RULES, report, recipient) if judged else None
    return {
        "final_recipient": recipient.final_recipient,
        "action": recipient.action.value,
        "status": str(recipient.status) if recipient.status else None,
        "smtp_code": recipient.smtp_code,
        "type": verdict.type.value if verdict else None,
        "reason": verdict.reason.value if verdict else None,
        "fault": verdict.fault.value if verdict else None,
    }


def test_samples_are_found():
    assert len(list(CORPUS.glob("lab/*/*.eml"))) == 52
    assert len(list(CORPUS.glob("made/*.eml"))) >= 30


@pytest.mark.parametrize("newline", [b"\n", b"\r\n"], ids=["lf", "crlf"])
@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: str(path.relative_to(CORPUS)))
def test_sample(path, newline):
    raw = path.read_bytes().replace(b"\r\n", b"\n").replace(b"\n", newline)
    assert answer(raw) == json.loads(path.with_suffix(".json").read_text())
