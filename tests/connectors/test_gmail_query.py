"""How much of real notices the search finds that `prefilter` lets Gmail do, by a model of Gmail's documented search.

`BOUNCE_CORPUS` names a folder with labels.jsonl (``path`` and ``kind``) and the messages beside it; without it only the
repository's own samples are searched.
"""

import json
import os
from pathlib import Path

import pytest

from connectors import Envelope, MessageRef
from connectors._gmail_query import NOTICES, TERMS
from connectors._headers import parse_headers
from tests.fakes.gmail.search import finds, searched
from worker.screen import screen

CORPUS = Path(__file__).parent.parent / "corpus"
SAMPLES = sorted(path for path in CORPUS.rglob("*.eml") if path.with_suffix(".json").exists())
WANTED = ("bounce", "delayed")


def found(raw: bytes) -> bool:
    headers = parse_headers(raw)
    return finds(NOTICES, searched(headers.get("from", ""), headers.get("subject", "")))


def kind(path: Path) -> str:
    return json.loads(path.with_suffix(".json").read_text())["kind"]


def test_every_notice_of_our_own_samples_is_found():
    notices = [path for path in SAMPLES if kind(path) in WANTED]
    assert len(notices) > 100
    assert [path.name for path in notices if not found(path.read_bytes())] == []


def test_nearly_every_notice_of_a_labelled_corpus_is_found():
    folder = Path(os.environ.get("BOUNCE_CORPUS") or pytest.skip("BOUNCE_CORPUS names no labelled corpus"))
    labels = [json.loads(line) for line in (folder / "labels.jsonl").read_text().splitlines()]
    raws = {each["path"]: (folder / "messages" / each["path"]).read_bytes() for each in labels}
    notices = [raws[each["path"]] for each in labels if each["kind"] in WANTED]
    letters = [raws[each["path"]] for each in labels if each["kind"] in ("ham", "other")]
    hits, wrong = sum(map(found, notices)), sum(map(found, letters))
    screened = sum(screen(Envelope(ref=MessageRef("x"), headers=parse_headers(raw))) for raw in notices)
    print(
        f"found {hits} of {len(notices)} notices ({hits / len(notices):.1%}), of which headers alone tell {screened};"
        f" {wrong} of {len(letters)} other messages are looked at in vain"
    )
    assert hits >= 0.98 * len(notices)
    assert wrong <= 0.01 * len(letters)


def test_the_search_is_no_longer_than_a_filter_may_be():
    assert len(NOTICES) < 1_500
    assert len(set(TERMS)) == len(TERMS)


@pytest.mark.parametrize(
    ("query", "sender", "subject", "expected"),
    [
        ("from:mailer-daemon", "MAILER-DAEMON@mx.test (Mail)", "", True),
        ("from:mailer-daemon", "Daemon Mailer <x@y.test>", "", False),
        ('subject:"delivery status"', "", "Delivery Status Notification", True),
        ('subject:"delivery status"', "", "Status of the delivery", False),
        ("subject:undeliver", "", "Undeliverable", False),  # no parts of words
        ("{from:bob subject:offer}", "Bob <b@x.test>", "Hello", True),
        ("{from:bob subject:offer}", "Al <a@x.test>", "Hello", False),
        ("from:bob -subject:offer", "Bob <b@x.test>", "An offer", False),
        ("subject:échec", "", "=?utf-8?q?=C3=89chec?=", True),
    ],
)
def test_the_model_searches_as_google_says(query, sender, subject, expected):
    assert finds(query, searched(sender, subject)) is expected
