"""What IMAP servers answer that no book foresees: lying sizes, sick messages, folders that change under our hands."""

from datetime import UTC, datetime

import pytest

from connectors import CursorExpired, MessageGone, Throttled, Unavailable
from tests.connectors.mailboxes import LONG_AGO, fake_connector
from tests.fakes.imap import FakeImap, literal


def answered(*items: bytes, uid: int = 7) -> bytes:
    return b"* 1 FETCH (UID %d %s)\r\n{tag} OK done" % (uid, b" ".join(items))


REF = "1:7:INBOX"
SIZE, BODY = b"RFC822.SIZE %d", b"BODY[]<%d> %s"


def test_a_size_that_lies_is_not_believed():
    raw = b"Subject: x\r\n\r\nbody"

    def fetch(command: str) -> bytes:
        start, count = map(int, command.partition("<")[2].partition(">")[0].split("."))
        part = raw[start : start + count]
        return answered(SIZE % 5000, BODY % (start, literal(part) if part else b'""'))

    with FakeImap({"UID FETCH": fetch}) as fake:
        connector = fake_connector(fake)
        assert connector.fetch(REF, 1000).raw == raw
        assert not connector.fetch(REF, 1000).truncated
        assert connector.fetch(REF, 4).truncated
        connector.close()


def test_an_empty_message():
    with FakeImap({"UID FETCH": answered(SIZE % 0, BODY % (0, b"NIL"))}) as fake:
        connector = fake_connector(fake)
        assert connector.fetch(REF, 1000).raw == b""
        connector.close()


@pytest.mark.parametrize("found", ["* SEARCH", "* SEARCH 7"])
def test_a_no_to_fetch_means_gone_only_where_the_message_is_gone(found):
    answers = {"UID FETCH": "{tag} NO can't do that", "UID SEARCH": found + "\r\n{tag} OK done"}
    with FakeImap(answers) as fake:
        connector = fake_connector(fake)
        with pytest.raises(Unavailable if found.endswith("7") else MessageGone):
            connector.fetch(REF, 1000)
        connector.close()


def test_a_throttled_fetch_says_so():
    with FakeImap({"UID FETCH": "{tag} NO [LIMIT] Rate limit hit"}) as fake:
        connector = fake_connector(fake)
        with pytest.raises(Throttled):
            connector.fetch(REF, 1000)
        connector.close()


HEADERS = b"BODY[HEADER.FIELDS (Subject)]<0> "
DATE = b'INTERNALDATE "22-Nov-2026 10:00:00 +0100"'


@pytest.mark.parametrize(
    "items",
    [
        (DATE, HEADERS + b"NIL"),
        (DATE,),
        (b'INTERNALDATE "nonsense"', HEADERS + literal(b"\r\n")),
        (b'INTERNALDATE "31-Dec-9999 23:00:00 -1200"', HEADERS + literal(b"\r\n")),
        (b"RFC822.SIZE many", HEADERS + b'"Subject: x"'),
    ],
)
def test_an_odd_answer_still_gives_an_envelope(items):
    with FakeImap({"UID FETCH": answered(*items)}) as fake:
        connector = fake_connector(fake)
        (envelope,) = connector.poll(LONG_AGO).envelopes
        connector.close()
    assert envelope.ref == REF
    assert envelope.received_at is None or envelope.received_at == datetime(2026, 11, 22, 9, tzinfo=UTC)


def test_a_sick_message_does_not_hide_the_others():
    def fetch(command: str) -> str | bytes:
        uids = command.split()[2]
        if "HEADER" not in command:
            return answered(uid=int(uids))
        if "8" in uids.split(","):
            return "{tag} NO this message is broken"
        return answered(DATE, HEADERS + literal(b"Subject: fine\r\n\r\n"), uid=int(uids))

    answers = {
        "UID FETCH": fetch,
        "UID SEARCH": "* SEARCH 9 7 8 10\r\n{tag} OK done",
        "STATUS": "* STATUS INBOX (MESSAGES 3 UIDNEXT 10 UIDVALIDITY 1)\r\n{tag} OK done",
    }
    with FakeImap(answers) as fake:
        connector = fake_connector(fake)
        page = connector.poll(LONG_AGO)
        connector.close()
    assert [(envelope.ref, bool(envelope.headers)) for envelope in page.envelopes] == [
        ("1:7:INBOX", True),
        ("1:8:INBOX", False),
        ("1:9:INBOX", True),
    ]


def test_a_server_that_refuses_every_fetch_moves_no_cursor():
    with FakeImap({"UID FETCH": "{tag} NO something is wrong"}) as fake:
        connector = fake_connector(fake)
        with pytest.raises(Unavailable, match="something is wrong"):
            connector.poll(LONG_AGO)
        connector.close()


def test_a_message_that_vanishes_between_search_and_fetch_is_skipped():
    with FakeImap({"UID FETCH": "{tag} OK done"}) as fake:
        connector = fake_connector(fake)
        page = connector.poll(LONG_AGO)
        connector.close()
    assert (page.envelopes, page.has_more) == ((), False)


def test_a_folder_renumbered_between_status_and_select_expires_the_cursor():
    with FakeImap({"EXAMINE": "* OK [UIDVALIDITY 2] fine\r\n{tag} OK [READ-ONLY] done"}) as fake:
        connector = fake_connector(fake)
        with pytest.raises(CursorExpired):
            connector.poll(LONG_AGO)
        connector.close()


def test_only_reading_commands_are_sent():
    with FakeImap({"UID FETCH": answered(SIZE % 4, BODY % (0, literal(b"mail")))}) as fake:
        connector = fake_connector(fake)
        connector.poll(LONG_AGO)
        connector.fetch(REF, 1000)
        connector.close()
    names = {" ".join(command.split()[: 2 if command.startswith("UID") else 1]) for command in fake.commands}
    assert names == {"CAPABILITY", "LOGIN", "LIST", "STATUS", "EXAMINE", "UID SEARCH", "UID FETCH", "LOGOUT"}
    assert not any("BODY[" in command for command in fake.commands)
