"""Coverage-guided fuzzing of all that reads foreign bytes: no input may raise, or take long.

    fuzz_detect.py [FOLDER of inputs to keep] [libFuzzer options, such as -max_total_time=1800]

`make fuzz SECONDS=1800` starts from the project's own samples. The first byte says which entry point reads the rest.
What is found becomes a sample or a test.
"""

import sys
import time

import atheris

with atheris.instrument_imports(include=["worker"]):
    from connectors.base import ENVELOPE_HEADERS, Envelope, MessageRef
    from worker.classify import classify, default_rule_paths, load_rules
    from worker.detect import address, detect, header, mime, smtp_reply
    from worker.domain import DeliveryReport, EnhancedStatusCode
    from worker.screen import screen
    from worker.words import decode_charset, decode_words

RULES = load_rules(default_rule_paths())
SECONDS = 2.0  # instrumented code is ten times slower
NOTICE = b"Return-Path: <>\nFrom: MAILER-DAEMON@a.test\nTo: b@c.test\nSubject: failure notice\n"


def whole_path(raw: bytes) -> None:
    """Screen, detect and classify a message."""
    fields = mime.read(raw).fields
    headers = {name.lower(): value for name in ENVELOPE_HEADERS if (value := fields.first(name.lower())) is not None}
    screen(Envelope(ref=MessageRef("1"), headers=headers, size=len(raw)))
    report = detect(raw)
    assert isinstance(report, DeliveryReport)
    for recipient in report.recipients:
        assert recipient.final_recipient
        classify(RULES, report, recipient)
    texts = [report.text, report.subject, report.sender, report.original.subject, report.original.message_id]
    texts += [text for r in report.recipients for text in (r.final_recipient, r.diagnostic_code, r.text)]
    "".join(filter(None, texts)).encode()  # a database takes no lone surrogates


def pieces(raw: bytes) -> None:
    """Give a text to all that reads a piece of a message."""
    text = decode_charset(raw, "utf-8")
    decode_words(text)
    address.recipient(text)
    address.every(text)
    header.parameters(text)
    header.message_ids(text)
    header.read_date(text)
    smtp_reply.find_reply(text)
    EnhancedStatusCode.parse(text)
    mime.html_text(text)


def fuzz(data: bytes) -> None:
    """Read one input."""
    started = time.perf_counter()
    kind, raw = data[:1], data[1:]
    if kind == b"p":
        pieces(raw)
    else:
        whole_path(NOTICE + raw if kind == b"n" else raw)
    assert time.perf_counter() - started < SECONDS, "took too long"


if __name__ == "__main__":
    atheris.Setup(sys.argv, fuzz)
    atheris.Fuzz()
