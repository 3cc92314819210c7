"""Reports as Exchange gives them back (MS-OXCMAIL, 2.2.3.7.1) are judged as they would have been before.

The loss is the fake's (tests/fakes/graph/reports): what real `$value` writes was never captured.
"""

import pytest

from tests.connectors.mailboxes import Office365Mailbox, ago
from tests.detect.test_corpus import CORPUS, SAMPLES, answer
from tests.fakes.graph.reports import lossy
from tests.fakes.graph.server import FakeGraph
from tests.fakes.notices import dsn
from worker.detect import detect
from worker.screen import screen

STATUS = b"Content-Type: message/delivery-status"


def crlf(raw: bytes) -> bytes:
    return raw.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


LOSSY = [path for path in SAMPLES if lossy(raw := crlf(path.read_bytes())) != raw]


def test_there_are_such_samples():
    assert len(LOSSY) >= 25


@pytest.mark.parametrize("path", LOSSY, ids=lambda path: str(path.relative_to(CORPUS)))
def test_a_sample_is_judged_as_before(path):
    before, after = answer(crlf(path.read_bytes())), answer(lossy(crlf(path.read_bytes())))
    kept = {each["final_recipient"] for each in after["recipients"]}
    before["recipients"] = [each for each in before["recipients"] if each["final_recipient"] in kept]
    assert after == before


@pytest.mark.parametrize(
    ("status", "diagnostic", "worsened", "expected"),
    [
        ("5.7.26", "smtp; 550-5.7.26 This mail is unauthenticated", "5.7.0", ("5.7.26", "550")),
        ("5.1.10", "smtp; 550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found", "5.1.0", ("5.1.10", "550")),
        ("5.7.124", "smtp; 550 5.7.124 RESOLVER.RST.SenderNotInAllowedSendersList", "5.7.0", ("5.7.124", "550")),
        ("5.4.310", "smtp; 550 5.4.310 DNS domain gone.example does not exist", "5.4.0", ("5.4.310", "550")),
        ("4.7.500", "smtp; 451 4.7.500 Server busy. Please try again later", "4.7.0", ("4.7.500", "451")),
        ("5.2.2", "smtp; 552 5.2.2 Mailbox full", "5.2.2", ("5.2.2", "552")),
        ("5.1.1", "smtp; 550 No such user", "5.1.1", ("5.1.1", "550")),
    ],
)
def test_what_the_other_server_said_outlives_the_worsened_status(status, diagnostic, worsened, expected):
    with FakeGraph() as fake:
        mailbox = Office365Mailbox(fake)
        mailbox.deliver_all([dsn(recipients=(("bob@customer.example", "failed", status, diagnostic),))])
        connector = mailbox.connector()
        (found,) = connector.poll(ago(days=1)).envelopes
        raw = connector.fetch(found.ref, 100_000).raw
    assert screen(found)
    assert f"Status: {worsened}\r\n".encode() in raw
    assert b"Diagnostic-Code" not in raw
    assert b"X-Supplementary-Info: <mx.example #" in raw
    (recipient,) = detect(raw).recipients
    assert (str(recipient.status), recipient.smtp_code) == expected
    assert detect(raw).original.message_id == "send-1@crm.example"


def test_recipients_that_fared_better_than_the_worst_are_gone_and_the_others_stay():
    raw = lossy(
        dsn(
            recipients=(
                ("late@customer.example", "delayed", "4.4.7", "smtp; 451 4.4.1 No answer"),
                ("gone@customer.example", "failed", "5.1.10", "smtp; 550 5.1.10 Recipient not found"),
                ("full@customer.example", "failed", "5.2.2", "smtp; 552 5.2.2 Mailbox full"),
            )
        )
    )
    found = {each.final_recipient: str(each.status) for each in detect(raw).recipients}
    assert found == {"gone@customer.example": "5.1.10", "full@customer.example": "5.2.2"}
