"""`detect` always answers, and in time."""

import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.detect import detect
from worker.domain import DeliveryReport, Kind

NOTICE = (
    b"Return-Path: <>\nFrom: MAILER-DAEMON@a.test\nTo: b@c.test\nSubject: failure notice\n"
    b'Content-Type: multipart/report; report-type=delivery-status; boundary="x"\n\n'
    b"--x\n\n<d@e.test>: 550 5.1.1 unknown\n--x\nContent-Type: message/delivery-status\n\n"
    b"Reporting-MTA: dns; a.test\n\nFinal-Recipient: rfc822; d@e.test\nAction: failed\nStatus: 5.1.1\n--x--\n"
)
HEAD = b"Return-Path: <>\nFrom: MAILER-DAEMON@a.test\nSubject: failure notice\n"
SECONDS = 0.5  # of a machine that also runs other tests


@given(st.binary(max_size=2_000))
def test_any_bytes_are_answered(raw):
    assert isinstance(detect(raw), DeliveryReport)
    assert isinstance(detect(HEAD + raw), DeliveryReport)


@settings(max_examples=300)
@given(st.integers(0, 2**32), st.integers(1, 40))
def test_a_notice_with_flipped_bytes_is_answered(seed, flips):
    dice = random.Random(seed)
    raw = bytearray(NOTICE)
    for _ in range(flips):
        raw[dice.randrange(len(raw))] = dice.randrange(256)
    assert isinstance(detect(bytes(raw)), DeliveryReport)


@pytest.mark.parametrize("end", range(0, len(NOTICE), 7))
def test_a_notice_that_is_cut_off_is_answered(end):
    assert isinstance(detect(NOTICE[:end]), DeliveryReport)


def nested_parts(depth):
    opening = b"".join(b'Content-Type: multipart/mixed; boundary="%d"\n\n--%d\n' % (n, n) for n in range(depth))
    return HEAD + opening + b"\nx"


PATHOLOGICAL = {
    "ten thousand nested parts": lambda: nested_parts(10_000),
    "fifty megabytes": lambda: HEAD + b"\n" + b"550 5.1.1 <a@b.test> unknown\n" * 1_800_000,
    "one header line of a megabyte": lambda: HEAD + b"X: " + b"a" * 1_000_000 + b"\n\nbody",
    "one header name of a megabyte": lambda: HEAD + b"a" * 1_000_000 + b"\n\nbody",
    "a hundred thousand boundaries": lambda: (
        HEAD + b'Content-Type: multipart/mixed; boundary="b"\n\n' + b"--b\n" * 100_000
    ),
    "a hundred thousand near boundaries": lambda: (
        HEAD + b'Content-Type: multipart/mixed; boundary="b"\n\n--b\n\n' + b"--bb\n" * 100_000
    ),
    "deep message/rfc822": lambda: HEAD + b"Content-Type: message/rfc822\n\n" * 10_000,
    "a line of addresses": lambda: HEAD + b"\nundeliverable " + b"a@b.test," * 30_000,
    "lines of addresses": lambda: HEAD + b"\nundeliverable\n" + b"<a@b.test>:\n" * 30_000,
    "an address without an end": lambda: HEAD + b"\nundeliverable " + b"a" * 250_000,
    "an address of ats": lambda: HEAD + b"\nundeliverable " + b"a@" * 120_000,
    "an address of dots": lambda: HEAD + b"\nundeliverable a@" + b"b." * 120_000,
    "blank": lambda: HEAD + b"\nundeliverable " + b" " * 250_000,
    "blank lines": lambda: HEAD + b"\nundeliverable " + b"\n" * 250_000,
    "blank and lines": lambda: HEAD + b"\nundeliverable " + b" \n" * 120_000,
    "angle brackets": lambda: HEAD + b"Content-Type: text/html\n\nundeliverable " + b"<" * 250_000,
    "tags": lambda: HEAD + b"Content-Type: text/html\n\nundeliverable " + b"<style>" * 35_000,
    "encoded words": lambda: HEAD + b"To: " + b"=?utf-8?q?" * 25_000 + b"\n\nundeliverable",
    "comments": lambda: HEAD + b"To: " + b"(" * 250_000 + b"\n\nundeliverable",
    "parameters": lambda: HEAD + b"Content-Type: multipart/mixed" + b'; a="' * 50_000 + b"\n\nundeliverable",
    "digits": lambda: HEAD + b"\nundeliverable " + b"5.1." * 60_000,
    "codes": lambda: HEAD + b"\nundeliverable a@b.test " + b"550 " * 60_000,
    "quotes": lambda: HEAD + b"\nundeliverable\n" + b'"' * 250_000,
    "fields of status": lambda: (
        HEAD
        + b"Content-Type: message/delivery-status\n\n"
        + b"Final-Recipient: rfc822; a@b.test\nAction: failed\n\n" * 5_000
    ),
    "references": lambda: HEAD + b"References: " + b"<a@b.test> " * 5_000 + b"\n\nundeliverable",
}


@pytest.mark.parametrize("make", PATHOLOGICAL.values(), ids=PATHOLOGICAL)
def test_pathological_mail_is_answered_in_time(make):
    raw = make()
    started = time.perf_counter()
    report = detect(raw)
    assert time.perf_counter() - started < SECONDS
    assert isinstance(report, DeliveryReport)


def test_what_was_cut_off_is_in_the_warnings():
    assert any("parts within parts" in words for words in detect(nested_parts(10_000)).warnings)
    assert detect(b"").kind is Kind.NONE
    assert detect(b"").warnings == ("the message is empty",)
