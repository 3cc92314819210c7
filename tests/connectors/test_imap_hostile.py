"""Servers that want to keep us, fill us or fool us: each is refused in time, in bounds, and in words."""

import time
import tracemalloc
from contextlib import closing, suppress

import pytest

import connectors._imap_session as session
from connectors import ConnectorError, Cursor, Unavailable
from tests.connectors.mailboxes import LONG_AGO, fake_connector, read_all
from tests.fakes.imap import DRIP, FakeImap, literal

MEGABYTE = 2**20
STATUS = "* STATUS INBOX (MESSAGES {messages} UIDNEXT {uidnext} UIDVALIDITY 1)\r\n{{tag}} OK done"


def refused(answers: dict, greeting: str = "* OK fake server ready") -> str:
    """Poll and fetch; return what is said. Whatever the server does, it costs little memory and time."""
    with FakeImap(answers, greeting) as fake:
        connector = fake_connector(fake)
        tracemalloc.start()
        begun = time.monotonic()
        try:
            with pytest.raises(ConnectorError) as caught:
                connector.poll(LONG_AGO)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
            connector.close()
    assert peak < 100 * MEGABYTE
    assert time.monotonic() - begun < 30
    said = str(caught.value)
    assert said.endswith(".")
    assert len(said) < 500
    return said


@pytest.mark.parametrize(
    "answers",
    [
        {"STATUS": b"* STATUS INBOX {999999999999}\r\nx"},
        {"STATUS": b"* STATUS {99999999999999999999999999}\r\nx"},
        {"UID FETCH": b"* 1 FETCH (UID 7 BODY[HEADER.FIELDS (FROM)]<0> {4294967296}\r\nFrom: a\r\n"},
        {"LIST": b'* LIST () "/" {1000000000}\r\nx'},
        {"CAPABILITY": b"* CAPABILITY IMAP4rev1 {2000000000}\r\n"},
        {"LOGIN": b"* OK {77777777777}\r\n"},
    ],
    ids=["status", "beyond any number", "fetch", "list", "capability", "login"],
)
def test_a_length_that_no_message_has_is_not_waited_for(answers):
    assert "says more than 16 MB at once" in refused(answers)


def test_a_length_in_the_greeting(monkeypatch):
    refused({}, greeting="* OK {999999999999}")


@pytest.mark.parametrize("line", [b"* 1 RECENT\r\n", b"* OK still here\r\n", b'* LIST () "/" a\r\n'])
def test_untagged_lines_without_end(monkeypatch, line):
    monkeypatch.setattr(session, "CALL_BYTES", MEGABYTE)
    assert "says more than 1 MB" in refused({"STATUS": line * 200_000 + b"{tag} OK done"})


def test_a_line_without_end():
    refused({"STATUS": b"* STATUS " + b"x" * (2 * MEGABYTE)})


def test_a_drip_ends_with_the_call(monkeypatch):
    monkeypatch.setattr(session, "CALL_LIMIT", 0.5)
    assert "too slow" in refused({"STATUS": DRIP})


def test_lists_in_lists_in_lists():
    deep = b"(" * 50_000
    refused({"STATUS": b"* STATUS INBOX " + deep + b"\r\n{tag} OK done"})


@pytest.mark.parametrize(
    ("messages", "uidnext"),
    [(2**32 - 1, 2**32 - 1), (2**64, 2**64), (0, 2**32 - 1), (2**32 - 1, 8), (-1, 8)],
    ids=["full", "beyond 32 bits", "sparse", "too many messages", "fewer than none"],
)
def test_counts_that_lie_cost_little_and_end(messages, uidnext):
    """Every poll asks at most some dozen questions, and has_more ends."""
    answers = {
        "STATUS": STATUS.format(messages=messages, uidnext=uidnext),
        "UID SEARCH": "* SEARCH\r\n{tag} OK done",
    }
    with FakeImap(answers) as fake:
        connector = fake_connector(fake)
        try:
            page = connector.poll(LONG_AGO)
            assert page.envelopes == ()
            assert len(fake.commands) < 60
            later = connector.poll(page.cursor)
            assert later.cursor != page.cursor or not later.has_more
        finally:
            connector.close()


@pytest.mark.parametrize("uidnext", ["-5", "0", "NIL", "seven", '"8"', "(8)"])
def test_numbers_that_are_none(uidnext):
    with FakeImap({"STATUS": STATUS.format(messages=1, uidnext=uidnext)}) as fake:
        connector = fake_connector(fake)
        with closing(connector), suppress(Unavailable):  # nothing else may come of it
            connector.poll(LONG_AGO)


def test_messages_that_nobody_asked_for_are_not_taken():
    header = literal(b"From: a@b\r\n\r\n")
    strange = b"".join(
        b"* %d FETCH (UID %d RFC822.SIZE 5 BODY[HEADER.FIELDS (FROM)]<0> %s)\r\n" % (uid, uid, header)
        for uid in (1, 7, 8, 4_000_000_000)
    )
    with FakeImap({"UID FETCH": strange + b"{tag} OK done"}) as fake:
        connector = fake_connector(fake)
        envelopes, _ = read_all(connector, LONG_AGO)
        connector.close()
    assert [envelope.ref for envelope in envelopes] == ["1:7:INBOX"]


def test_uids_that_nobody_asked_for_are_not_fetched():
    numbers = " ".join(str(uid) for uid in (*range(1, 8), *range(100, 3_000)))
    with FakeImap({"UID SEARCH": f"* SEARCH {numbers}\r\n{{tag}} OK done"}) as fake:
        connector = fake_connector(fake)
        read_all(connector, LONG_AGO)
        connector.close()
        fetched = [command for command in fake.commands if command.startswith("UID FETCH")]
    assert fetched
    assert all(command.startswith(("UID FETCH 1:7 ", "UID FETCH 1,2,3,4,5,6,7 ")) for command in fetched)


def test_more_of_a_message_than_was_asked_for_is_cut():
    body = literal(b"x" * 300_000)
    answer = b"* 1 FETCH (UID 7 RFC822.SIZE 300000 BODY[]<0> %s)\r\n{tag} OK done" % body
    with FakeImap({"UID FETCH": answer}) as fake:
        connector = fake_connector(fake)
        fetched = connector.fetch("1:7:INBOX", 1_000)
        connector.close()
    assert (len(fetched.raw), fetched.truncated) == (1_000, True)


def test_a_referral_is_not_followed():
    """RFC 2221: the server would have us give our password to another."""
    said = refused({"LOGIN": "{tag} NO [REFERRAL IMAP://alice;AUTH=*@evil.example/] go there"})
    assert "alice" in said


def test_after_all_that_the_next_poll_goes_on():
    answers = {"STATUS": iter([b"* STATUS INBOX {999999999999}\r\nx"])}
    usual = STATUS.format(messages=1, uidnext=8)
    with FakeImap({"STATUS": lambda _: next(answers["STATUS"], usual)}) as fake:
        connector = fake_connector(fake)
        with pytest.raises(Unavailable):
            connector.poll(LONG_AGO)
        page = connector.poll(LONG_AGO)
        connector.close()
    assert page.cursor != Cursor("")
