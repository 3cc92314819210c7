"""100,000 messages in one folder of a real server: read page by page, in little memory."""

import os
import shutil
import tracemalloc
from datetime import datetime

from connectors import Cursor, Envelope, MessageRef
from tests.connectors.mailboxes import ImapMailbox, ago, message
from tests.fakes.wire import Wire
from tests.live.mailstack import MailStack

MANY = 100_000
SHARED = 500  # links to one file; a file system may set a limit
RECENT = 300
PAGE = 200
PAGES = 25  # a poll's, after which the worker lets another inbox have its turn
A_MESSAGE = 1_024  # bytes on the wire: these have short headers
SEARCHED = 10_000
PEAK = 4 * 1024 * 1024  # bytes of our own memory


def fill(stack: MailStack, address: str, count: int, at: datetime, batch: str) -> None:
    """Put messages into an inbox behind its server's back: one file for each `SHARED` of them."""
    folder = stack.root / "mail" / address / "Maildir"
    for each in (folder.parent, folder, *(folder / sub for sub in ("tmp", "new", "cur"))):
        each.mkdir(parents=True, exist_ok=True)
        shutil.chown(each, "mail", "mail")
    for number in range(0, count, SHARED):
        raw = message(f"{batch} {number}")
        first = folder / "tmp" / f"{batch}.{number}"
        first.write_bytes(raw)
        shutil.chown(first, "mail", "mail")
        os.utime(first, (at.timestamp(), at.timestamp()))
        for each in range(number, min(number + SHARED, count)):
            os.link(first, folder / "cur" / f"{int(at.timestamp())}.M{each}P1.{batch},S={len(raw)},W={len(raw)}:2,")
        first.unlink()


def walk(mailbox: ImapMailbox, since: Cursor | datetime) -> tuple[list[MessageRef], Cursor, int]:
    """Read to the end as the worker does, `PAGES` pages a connection; return references, cursor and peak memory."""
    found: list[MessageRef] = []
    expected: tuple[Envelope, ...] | None = None
    peak = 0
    for _ in range(MANY):
        tracemalloc.start()  # for these pages only: it makes everything several times slower
        connector = mailbox.connector()
        page = connector.poll(since)
        peak = max(peak, tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert expected in (None, page.envelopes)  # as the connector before would have read on
        for _ in range(PAGES):
            assert len(page.envelopes) <= PAGE
            found += [envelope.ref for envelope in page.envelopes]
            since = page.cursor
            if not page.has_more:
                connector.close()
                return found, since, peak
            page = connector.poll(since)
        expected = page.envelopes
        connector.close()
    raise AssertionError("has_more never ended")


def test_a_hundred_thousand_messages(mail_stack):
    wire = Wire()
    mailbox = ImapMailbox(mail_stack, wire=wire)
    fill(mail_stack, mailbox.address, MANY - RECENT, ago(days=60), "old")
    fill(mail_stack, mailbox.address, RECENT, ago(days=1), "recent")
    wire.take()
    first, cursor, first_peak = walk(mailbox, ago(days=30))
    first_cost = wire.take()
    assert len(set(first)) == len(first) == RECENT
    assert first_cost.received < RECENT * A_MESSAGE + SEARCHED

    fill(mail_stack, mailbox.address, MANY, ago(minutes=5), "new")
    found, cursor, peak = walk(mailbox, cursor)
    cost = wire.take()
    assert len(set(found)) == len(found) == MANY
    assert set(found).isdisjoint(first)
    assert max(first_peak, peak) < PEAK
    assert cost.received < MANY * A_MESSAGE
    assert cost.round_trips < MANY / PAGE * 3
    print(f"first poll {first_cost}, after the pause {cost}, peak {max(first_peak, peak):,} bytes")
    assert walk(mailbox, cursor)[0] == []
    mailbox.close()
