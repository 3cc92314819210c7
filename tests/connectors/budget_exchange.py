"""What reading an Exchange mailbox costs in round trips and bytes, counted on the wire of the fake.

Run as a module, it prints the README's table. Sign-in is Basic; NTLM adds one round trip to each connection.
"""

import socket
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from connectors import Connector, Cursor
from tests.connectors.mailboxes import ago, exchange_connector, read_all
from tests.fakes.ews.server import FakeExchange

IDLE, ORDINARY, MIXED, FIRST = "idle", "100 ordinary", "100 ordinary + 5 notices", "first poll, 2,000 kept"


@dataclass(frozen=True)
class Cost:
    """One row: answers are what the server sent, headers of HTTP included."""

    case: str
    round_trips: int
    asked: int
    answered: int


@dataclass
class Wire:
    """A `Dial` that counts."""

    asked: int = 0
    answered: int = 0

    def __call__(self, host: str, port: int, timeout: float) -> socket.socket:
        wire = self

        class Counted(socket.socket):
            def sendall(self, data, *rest):
                wire.asked += len(data)
                return super().sendall(data, *rest)

            def recv_into(self, *arguments):
                count = super().recv_into(*arguments)
                wire.answered += count
                return count

        opened = socket.create_connection((host, port), timeout)
        return Counted(fileno=opened.detach())


def ordinary(number: int) -> bytes:
    """Return a message with the header of one that has come through a few gateways, and a long thread behind it."""
    references = "\r\n ".join(f"<CAF{number:06d}{each:030d}@mail.customer.test>" for each in range(8))
    received = "".join(
        f"Received: from mx{each}.gateway.test (203.0.113.{each}) by hub{each}.sender.test id {number:08x};\r\n"
        " Mon, 23 Nov 2026 00:00:00 +0000\r\n"
        for each in range(6)
    )
    return (
        f"{received}DKIM-Signature: v=1; a=rsa-sha256; d=customer.test; b={'x' * 340}\r\n"
        "Return-Path: bob.builder@customer.test\r\nFrom: Bob Builder <bob.builder@customer.test>\r\n"
        "Sender: Bob Builder <bob.builder@customer.test>\r\nTo: Alice Seller <alice@sender.test>\r\n"
        f"Subject: Re: Offer {number} for the new building in the harbour, with all drawings\r\n"
        "Date: Mon, 23 Nov 2026 00:00:00 +0000\r\n"
        f"Message-ID: <CAF{number:06d}xyz0123456789abcdefghijklmnop@mail.customer.test>\r\n"
        f"In-Reply-To: <CAF{number:06d}{7:030d}@mail.customer.test>\r\nReferences: {references}\r\n"
        'Content-Type: multipart/alternative; boundary="000000000000a1b2c3d4e5f6"\r\nPrecedence: normal\r\n'
        f"X-MS-Exchange-Generated-Message-Source: Transport\r\n\r\n{'Dear Alice, all is well. ' * 400}\r\n"
    ).encode()


def notice(number: int) -> bytes:
    """Return a delivery report of about 6 KB."""
    return (
        "Return-Path: <>\r\nFrom: Mail Delivery System <MAILER-DAEMON@sender.test>\r\nTo: alice@sender.test\r\n"
        f"Subject: Undelivered Mail Returned to Sender\r\nMessage-ID: <notice-{number}@sender.test>\r\n"
        'Content-Type: multipart/report; report-type=delivery-status; boundary="b"\r\n\r\n'
        "--b\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mail.sender.test\r\n\r\n"
        f"Final-Recipient: rfc822; gone{number}@customer.test\r\nAction: failed\r\nStatus: 5.1.1\r\n\r\n"
        f"--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: Offer\r\n\r\n{'Dear Bob. ' * 500}\r\n--b--\r\n"
    ).encode()


def budget() -> list[Cost]:
    """Measure the four cases; each on a new connection, as the worker polls."""
    with FakeExchange(is_validating=False) as fake:
        for number in range(2_000):
            fake.store.deliver(ordinary(number), at=ago(days=90))
        rows = []

        def measure(case: str, do: Callable[[Connector], Cursor]) -> Cursor:
            fake.clear()
            wire = Wire()
            connector = exchange_connector(fake, dial=wire)
            cursor = do(connector)
            connector.close()
            rows.append(Cost(case, fake.requests, wire.asked, wire.answered))
            return cursor

        cursor = measure(FIRST, lambda connector: _poll(connector, ago(days=1)))
        cursor = measure(IDLE, lambda connector: _poll(connector, cursor))
        for number in range(100):
            fake.store.deliver(ordinary(number))
        cursor = measure(ORDINARY, lambda connector: _poll(connector, cursor))
        for number in range(100):
            fake.store.deliver(ordinary(number))
            if number % 20 == 0:
                fake.store.deliver(notice(number))
        measure(MIXED, lambda connector: _poll(connector, cursor))
        return [rows[1], rows[2], rows[3], rows[0]]


def table() -> str:
    lines = ["| Exchange | round trips | bytes asked | bytes answered |", "| --- | ---: | ---: | ---: |"]
    lines += [f"| {each.case} | {each.round_trips} | {each.asked:,} | {each.answered:,} |" for each in budget()]
    return "\n".join(lines)


def _poll(connector: Connector, since: Cursor | datetime) -> Cursor:
    envelopes, cursor = read_all(connector, since)
    for each in envelopes:
        if (each.item_class or "").startswith("REPORT."):
            connector.fetch(each.ref, 256 * 1024)
    return cursor


if __name__ == "__main__":
    print(table())
