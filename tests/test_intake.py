import json
from datetime import UTC, datetime

import pytest

from worker.domain import Role, SendKind
from worker.intake import InvalidSend, parse_line, parse_send

SEND = {
    "id": "s-1",
    "account": "acme",
    "inbox": "alice",
    "kind": "sequence",
    "sent_at": "2026-11-22T11:00:00+01:00",
    "message_id": "<1@crm.example>",
    "from": "alice@acme.example",
    "recipients": [{"address": "bob@customer.example", "contact_id": 7, "role": "cc"}],
}


def test_a_whole_send_is_read():
    send = parse_line(json.dumps(SEND))
    assert send.kind is SendKind.SEQUENCE
    assert send.sent_at == datetime(2026, 11, 22, 10, tzinfo=UTC)
    assert send.message_id == "1@crm.example"
    assert send.sender == "alice@acme.example"
    assert (send.recipients[0].contact_id, send.recipients[0].role) == ("7", Role.CC)


def test_fields_that_we_do_not_know_are_ignored():
    assert parse_send(SEND | {"colour": "blue"}).id == "s-1"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"id": ""}, "lacks id"),
        ({"recipients": []}, "lacks recipients"),
        ({"sent_at": "2026-11-22T11:00:00"}, "zone"),
        ({"sent_at": "yesterday"}, "sent_at"),
        ({"kind": "newsletter"}, "one_to_one or sequence"),
        ({"recipients": "bob"}, "not a list"),
        ({"recipients": [{"address": "bob"}]}, "proper address"),
        ({"recipients": [{"address": "b@x.example", "role": "boss"}]}, "to, cc or bcc"),
        ({"subject": {"a": 1}}, "not text"),
    ],
)
def test_what_is_wrong_is_said(change, words):
    with pytest.raises(InvalidSend, match=words):
        parse_send(SEND | change)


@pytest.mark.parametrize("line", ["", "[]", "{", "null", "\x00"])
def test_lines_that_are_no_sends(line):
    with pytest.raises(InvalidSend):
        parse_line(line)
