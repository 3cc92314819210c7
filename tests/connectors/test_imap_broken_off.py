"""The line goes dead at every single question of a reading in turn: nothing is skipped, nothing comes twice."""

from collections.abc import Callable
from typing import TypeVar

import pytest

from connectors import Unavailable
from tests.connectors.mailboxes import LONG_AGO, ImapMailbox, ids, ids_of, messages
from tests.fakes.wire import Wire

Answer = TypeVar("Answer")


class Reader:
    """Reads like the worker: each step is done again until it succeeds, and only then counts."""

    def __init__(self, mailbox: ImapMailbox) -> None:
        self.connector = mailbox.connector()
        self.failures = 0
        self.found: list[str] = []
        self.bodies: list[bytes] = []

    def read(self) -> None:
        since = LONG_AGO
        refs = []
        while True:
            page = self.do(lambda since=since: self.connector.poll(since))
            self.found += ids(page.envelopes)
            refs += [envelope.ref for envelope in page.envelopes]
            since = page.cursor
            if not page.has_more:
                break
        for ref in (refs[0], refs[-1]):
            self.bodies.append(self.do(lambda ref=ref: self.connector.fetch(ref, 10_000)).raw)
        assert self.do(lambda: self.connector.poll(since)).envelopes == ()
        self.connector.close()

    def do(self, step: Callable[[], Answer]) -> Answer:
        for _ in range(3):
            try:
                return step()
            except Unavailable:
                self.failures += 1
        raise AssertionError("the line was cut once only")


@pytest.fixture(scope="module")
def mailbox(mail_stack):
    """Two pages in the INBOX and one message in Junk."""
    mailbox = ImapMailbox(mail_stack, wire=Wire())
    mailbox.raws = messages(206)
    mailbox.deliver_all(mailbox.raws[:-1])
    mailbox.deliver_all(mailbox.raws[-1:], "Junk")
    yield mailbox
    mailbox.close()


@pytest.mark.parametrize("keep", [0, 15, 20_000], ids=["no answer", "part of a line", "part of an answer"])
def test_a_line_that_breaks_at_any_question(mailbox, keep):
    wire = mailbox.wire
    wire.take()
    whole = Reader(mailbox)
    whole.read()
    questions = wire.take().round_trips
    assert questions > 20
    assert whole.failures == 0
    failures = 0
    for number in range(1, questions + 1):
        wire.cut_at, wire.keep = number, keep
        reader = Reader(mailbox)
        reader.read()
        assert sorted(reader.found) == ids_of(*mailbox.raws), f"cut at {number}"
        assert reader.bodies == whole.bodies
        assert reader.failures <= 1
        assert wire.cut_at is None
        failures += reader.failures
    # The last question is the goodbye. An answer that is shorter than what still came was whole.
    assert failures == questions - 1 or keep


@pytest.mark.parametrize("between", ["pages", "fetches"])
def test_a_session_that_the_server_ends_is_unavailable_once(mailbox, between):
    connector = mailbox.connector()
    first = connector.poll(LONG_AGO)
    if between == "fetches":
        connector.fetch(first.envelopes[0].ref, 1000)
    mailbox.stack.kick(mailbox.address)
    with pytest.raises(Unavailable):
        connector.poll(first.cursor)
    rest = []
    page = first
    while page.has_more:
        page = connector.poll(page.cursor)
        rest += page.envelopes
    assert ids([*first.envelopes, *rest]) == ids_of(*mailbox.raws)
