"""What reading an inbox costs: round trips and bytes, counted on the wire. Prints a Markdown table.

    budget.py

Each row is one `Scene`, played on an inbox of its own as the worker plays it: a poll is a connection, and so is a lot
of notices to fetch. Another connector joins with a `Kind`: how to make an empty inbox (see tests/connectors/mailboxes)
whose connections go over the `Wire` that it is given.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Final

import pytest

from connectors import Cursor, CursorExpired, Envelope
from tests.connectors.mailboxes import ExchangeMailbox, GmailMailbox, ImapMailbox, Mailbox, Office365Mailbox
from tests.fakes.ews.server import FakeExchange
from tests.fakes.gmail.server import FakeGmail
from tests.fakes.graph.server import FakeGraph
from tests.fakes.notices import dsn
from tests.fakes.wire import Cost, Wire
from tests.live.emulate import Emulate, emulated_google
from tests.live.mailstack import MailStack
from worker.pipeline.process import FETCH_BYTES
from worker.screen import screen

BODY_BYTES: Final = 20_000
PAGES: Final = 50

Kind = Callable[[Wire], AbstractContextManager[Mailbox]]
"""Makes an empty inbox whose connectors connect by a `Wire`."""


@dataclass(frozen=True, slots=True)
class Scene:
    """What happens in an inbox between two polls; `first` where there was none before.

    Where the cursor has `expired`, the provider has forgotten where reading stopped, after all had been read.
    """

    name: str
    ordinary: int = 0
    notices: int = 0
    first: bool = False
    expired: bool = False


IDLE: Final = Scene("idle")
ORDINARY: Final = Scene("100 ordinary messages", ordinary=100)
NOTICES: Final = Scene("100 ordinary messages and 5 notices, fetched", ordinary=100, notices=5)
FIRST: Final = Scene("first poll of 1,000 messages", ordinary=1_000, first=True)
EXPIRED: Final = Scene("100 messages read again: the cursor has expired", ordinary=100, expired=True)
SCENES: Final = (IDLE, ORDINARY, NOTICES, FIRST)


def play(scene: Scene, kind: Kind) -> Cost:
    """Return what a scene costs."""
    wire = Wire()
    with kind(wire) as mailbox:
        since: Cursor | datetime = datetime.now(UTC) - timedelta(days=1)
        if not scene.first:
            mailbox.deliver_all([letter(0)])
            since, _ = _poll(mailbox, since)
        mailbox.deliver_all([letter(number + 1) for number in range(scene.ordinary)])
        mailbox.deliver_all([notice(number) for number in range(scene.notices)])
        expected = scene.ordinary + scene.notices
        if scene.expired:
            since, _ = _poll(mailbox, since)
            mailbox.expire_cursor()
            expected += 1
        if getattr(mailbox, "prefilter", False):
            expected = scene.notices
        _taken(mailbox, wire)
        _, envelopes = _poll(mailbox, since)
        fetched = _fetch(mailbox, [envelope for envelope in envelopes if screen(envelope)])
        if (len(envelopes), fetched) != (expected, scene.notices):
            raise AssertionError(f"{scene.name}: found {len(envelopes)} messages and {fetched} notices")
        return _taken(mailbox, wire)


def _taken(mailbox: Mailbox, wire: Wire) -> Cost:
    """Return what has been counted since last time; units of a quota only where there is one."""
    take_units = getattr(mailbox, "take_units", lambda: 0)
    return wire.take() + Cost(units=take_units())


def _poll(mailbox: Mailbox, since: Cursor | datetime) -> tuple[Cursor, list[Envelope]]:
    connector = mailbox.connector()
    envelopes: list[Envelope] = []
    for _ in range(PAGES):
        try:
            page = connector.poll(since)
        except CursorExpired:
            page = connector.poll(datetime.now(UTC) - timedelta(days=1))
        envelopes += page.envelopes
        since = page.cursor
        if not page.has_more:
            connector.close()
            return page.cursor, envelopes
    raise AssertionError("has_more never ended")


def _fetch(mailbox: Mailbox, envelopes: list[Envelope]) -> int:
    if not envelopes:
        return 0
    connector = mailbox.connector()
    fetched = sum(not connector.fetch(envelope.ref, FETCH_BYTES).truncated for envelope in envelopes)
    connector.close()
    return fetched


def letter(number: int) -> bytes:
    """Return a message as people get them: 6 KB of header that relays wrote, a thread's references, 20 KB of body."""
    chance = Random(number)

    def noise(count: int) -> str:
        return "".join(chance.choices("abcdefghijklmnopqrstuvwxyz0123456789", k=count))

    relays = "".join(
        f"Received: from mx{hop}.{noise(12)}.example (mx{hop}.{noise(12)}.example [192.0.2.{hop}])\r\n"
        f"\tby mail{hop}.acme.example with ESMTPS id {noise(24)}\r\n\tfor <alice@acme.example>; {_DATE}\r\n"
        for hop in range(1, 7)
    )
    seals = "".join(f"ARC-Seal: i={each}; a=rsa-sha256; b={noise(340)}\r\n" for each in range(1, 4))
    signatures = "".join(f"DKIM-Signature: v=1; a=rsa-sha256; d=customer.example; b={noise(340)}\r\n" for _ in "ab")
    thread = [f"<{noise(32)}@mail.customer.example>" for _ in range(6)]
    lines = (noise(70) for _ in range(BODY_BYTES // 72))
    return (
        f"Return-Path: <bob.{noise(8)}@customer.example>\r\n{relays}{seals}{signatures}"
        f"Authentication-Results: mx.acme.example; dkim=pass; spf=pass; {noise(200)}\r\n"
        f"From: Bob of {noise(10)} <bob@customer.example>\r\nTo: Alice <alice@acme.example>\r\n"
        f"Subject: Re: The offer of last week {number}\r\nDate: {_DATE}\r\n"
        f"Message-ID: <letter-{number}.{noise(24)}@mail.customer.example>\r\n"
        f"In-Reply-To: {thread[-1]}\r\nReferences: {(chr(13) + chr(10) + ' ').join(thread)}\r\n"
        f'MIME-Version: 1.0\r\nContent-Type: text/plain; charset="utf-8"\r\nX-Mailer: {noise(40)}\r\n'
        f"X-Spam-Report: {noise(600)}\r\n\r\n" + "\r\n".join(lines) + "\r\n"
    ).encode()


_DATE: Final = "Sun, 22 Nov 2026 11:00:00 +0000"


def notice(number: int) -> bytes:
    return dsn(f"send-{number}@crm.example", own_id=f"notice-{number}@mx.example")


def imap(stack: MailStack) -> Kind:
    """Return how to make an inbox on Dovecot."""

    @contextmanager
    def make(wire: Wire) -> Iterator[Mailbox]:
        mailbox = ImapMailbox(stack, wire=wire)
        yield mailbox
        mailbox.close()

    return make


@contextmanager
def exchange(wire: Wire) -> Iterator[Mailbox]:
    """Make a mailbox on the fake Exchange server; signing in is Basic, and NTLM adds a round trip a connection."""
    with FakeExchange(is_validating=False) as fake:
        yield ExchangeMailbox(fake, wire)


@contextmanager
def office365(wire: Wire) -> Iterator[Mailbox]:
    """Make a mailbox on the fake Microsoft Graph; its token is at hand, as it is for an hour at a time."""
    with FakeGraph() as fake:
        yield Office365Mailbox(fake, wire)


def gmail(emulate: Emulate, *, prefilter: bool = False) -> Kind:
    """Return how to make a mailbox on emulate behind the fake Gmail API."""

    @contextmanager
    def make(wire: Wire) -> Iterator[Mailbox]:
        with FakeGmail(emulate.fresh_mailbox()) as fake:
            yield GmailMailbox(fake, wire, prefilter)

    return make


def table(kinds: dict[str, Kind]) -> Iterator[str]:
    """Yield the lines of a Markdown table."""
    yield "| Connector | | Round trips | Bytes out | Bytes in | Quota units |"
    yield "|---|---|---:|---:|---:|---:|"
    for name, kind in kinds.items():
        for scene in (*SCENES, EXPIRED) if name.startswith(("Gmail", "Office")) else SCENES:
            cost = play(scene, kind)
            units = f"{cost.units:,}" if cost.units else ""
            yield f"| {name} | {scene.name} | {cost.round_trips:,} | {cost.sent:,} | {cost.received:,} | {units} |"


def main() -> None:
    """Measure and print."""
    try:
        with MailStack() as stack, emulated_google() as emulate:
            kinds = {
                "IMAP (Dovecot)": imap(stack),
                "Exchange (the fake)": exchange,
                "Office 365 (the fake)": office365,
                "Gmail (emulate)": gmail(emulate),
                "Gmail, prefilter (emulate)": gmail(emulate, prefilter=True),
            }
            for line in table(kinds):
                print(line, flush=True)
    except pytest.skip.Exception as reason:  # what the live tests need of a machine, this needs as well
        sys.exit(str(reason))


if __name__ == "__main__":
    main()
