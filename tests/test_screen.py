"""The first look: every notice of our own corpus passes, ordinary mail does not."""

import json
from email import message_from_bytes
from pathlib import Path

import pytest

from connectors import ENVELOPE_HEADERS, Envelope, MessageRef
from tests.fakes.notices import ordinary
from worker.screen import screen

CORPUS = Path(__file__).parent / "corpus"
SAMPLES = sorted(CORPUS.rglob("*.eml"))


def kind(path: Path) -> str:
    return str(json.loads(path.with_suffix(".json").read_text())["kind"])


def envelope(raw: bytes, item_class: str | None = None) -> Envelope:
    message = message_from_bytes(raw)
    headers = {name.lower(): str(message[name]) for name in ENVELOPE_HEADERS if message[name] is not None}
    return Envelope(ref=MessageRef("1"), headers=headers, item_class=item_class)


@pytest.mark.parametrize(
    "path", [p for p in SAMPLES if kind(p) in ("bounce", "delayed")], ids=lambda p: str(p.relative_to(CORPUS))
)
def test_every_notice_passes(path: Path):
    assert screen(envelope(path.read_bytes()))


@pytest.mark.parametrize("name", ["newsletter", "ordinary-letter", "forwarded-as-attachment"])
def test_ordinary_mail_does_not(name: str):
    assert not screen(envelope((CORPUS / f"made/{name}.eml").read_bytes()))


def test_a_persons_mail_does_not():
    assert not screen(envelope(ordinary()))


@pytest.mark.parametrize(
    ("headers", "item_class", "passes"),
    [
        (None, None, True),
        (None, "IPM.Note", False),
        (None, "REPORT.IPM.Note.NDR", True),
        ({"from": "bob@customer.test"}, "REPORT.IPM.Note.NDR", True),
        ({"from": "Bob <bob@customer.test>", "subject": "Re: Offer"}, None, False),
        ({"from": "Mail Delivery System <MAILER-DAEMON@a.test>", "subject": "x"}, None, True),
        ({"from": "=?utf-8?q?Post?= =?utf-8?q?master?= <x@a.test>", "subject": "x"}, None, True),
        ({"from": "x@a.test", "subject": "=?utf-8?B?VW56dXN0ZWxsYmFyOiBBbmdlYm90?="}, None, True),
        ({"from": "x@a.test", "subject": "Re: Undelivered Mail Returned to Sender"}, None, False),
        ({"from": "x@a.test", "return-path": "<>"}, None, True),
        ({"from": "x@a.test", "return-path": "<x@a.test>"}, None, False),
        ({"from": "x@a.test", "x-failed-recipients": "b@c.test"}, None, True),
        ({"from": "x@a.test", "x-ms-exchange-message-is-ndr": ""}, None, True),
        ({"from": "x@a.test", "content-type": "multipart/report; report-type=delivery-status"}, None, True),
    ],
)
def test_any_one_sign_is_enough(headers, item_class, passes):
    assert screen(Envelope(ref=MessageRef("1"), headers=headers, item_class=item_class)) is passes
