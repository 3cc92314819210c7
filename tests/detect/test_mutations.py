"""The project's own samples, changed as gateways, mail programs and accidents change mail: always answered, in time."""

import time
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connectors.base import Envelope, MessageRef
from worker.classify import classify, default_rule_paths, load_rules
from worker.detect import detect, mime
from worker.domain import DeliveryReport
from worker.screen import screen

TESTS = Path(__file__).parent.parent
SAMPLES = [path.read_bytes() for path in sorted((TESTS / "corpus").rglob("*.eml"))]
FOUND = sorted((TESTS / "fuzz" / "found").iterdir())
RULES = load_rules(default_rule_paths())
SECONDS = 0.5
ADDRESSES = (
    b"o'neil+tag@sub.example",
    b'"two words"@a.test',
    b"@",
    b"<>",
    b"a@[192.0.2.1]",
    b"\xc3\xa9@\xe4\xb8\x8d.test",
)
CHARSETS = (b"utf-16", b"iso-2022-jp", b"x-unknown", b"unicode-escape", b"utf-7", b'"', b"idna", b"")


def other_addresses(raw, dice):
    return raw.replace(b"bob@customer.example", dice.choice(ADDRESSES))


def wrapped(raw, dice):
    width = dice.randrange(1, 80)
    return b"\n".join(line[:width] + b"\n " * bool(line[width:]) + line[width:] for line in raw.split(b"\n"))


def unwrapped(raw, dice):
    return raw.replace(b"\n" + dice.choice((b" ", b"\t")), b"")


def other_charset(raw, dice):
    return raw.replace(b"utf-8", dice.choice(CHARSETS)).replace(b"us-ascii", dice.choice(CHARSETS))


def other_part_order(raw, dice):
    pieces = raw.split(b"\n--")
    middle = pieces[1:]
    dice.shuffle(middle)
    return b"\n--".join((pieces[0], *middle))


def cut_off(raw, dice):
    return raw[: dice.randrange(len(raw) + 1)]


def lines_lost(raw, dice):
    return b"\n".join(line for line in raw.split(b"\n") if dice.random() > 0.1)


def other_line_ends(raw, dice):
    return raw.replace(b"\n", dice.choice((b"\r\n", b"\r", b"\n\n", b"\r\r\n")))


def quoted(raw, dice):
    return b"From: a@b.test\nSubject: Fwd\n\n" + raw.replace(b"\n", b"\n" + dice.choice((b"> ", b">> ", b"| ")))


def attached(raw, _):
    return SAMPLES[0].partition(b"\n\n")[0] + b"\nContent-Type: message/rfc822\n\n" + raw


def other_words(raw, dice):
    words = raw.split(b" ")
    for _ in range(10):
        words[dice.randrange(len(words))] = dice.choice(words)
    return b" ".join(words)


CHANGES = (
    other_addresses, wrapped, unwrapped, other_charset, other_part_order, cut_off, lines_lost, other_line_ends, quoted,
    attached, other_words,
)  # fmt: skip


def read_whole(raw):
    """Every entry point that a message's bytes reach."""
    fields = mime.read(raw).fields
    headers = {name: fields.first(name) or "" for name in ("from", "subject", "content-type", "return-path")}
    assert screen(Envelope(ref=MessageRef("1"), headers=headers)) in (True, False)
    report = detect(raw)
    assert isinstance(report, DeliveryReport)
    for recipient in report.recipients:
        assert recipient.final_recipient.strip()
        classify(RULES, report, recipient)
    texts = [report.text, report.subject, report.sender, report.original.subject, report.original.message_id]
    texts += [text for r in report.recipients for text in (r.final_recipient, r.diagnostic_code, r.text)]
    "".join(filter(None, texts)).encode()  # a database takes no lone surrogates


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.integers(0, len(SAMPLES) - 1), st.lists(st.sampled_from(CHANGES), min_size=1, max_size=4), st.integers(0, 2**32)
)
def test_a_changed_sample_is_answered_in_time(number, changes, seed):
    raw, dice = SAMPLES[number], Random(seed)
    for change in changes:
        raw = change(raw, dice)
    started = time.perf_counter()
    read_whole(raw)
    assert time.perf_counter() - started < SECONDS


@pytest.mark.parametrize("path", FOUND, ids=lambda path: path.stem)
def test_what_fuzzing_found_is_answered(path):
    read_whole(path.read_bytes())
