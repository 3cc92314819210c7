"""Notices as mail servers write them, made to order (RFC 3464, RFC 6522)."""

from collections.abc import Sequence
from datetime import UTC, datetime

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


def dsn(
    message_id: str | None = "send-1@crm.example",
    recipients: Sequence[tuple[str, str, str, str]] = (
        ("bob@customer.example", "failed", "5.1.1", "smtp; 550 5.1.1 User unknown"),
    ),
    *,
    own_id: str = "notice-1@mx.example",
    date: str = "Sun, 22 Nov 2026 11:00:00 +0000",
    original_recipient: str | None = None,
    received: str = "from mx.example by imap.acme.example; Sun, 22 Nov 2026 11:00:01 +0000",
) -> bytes:
    """A DSN about `recipients`: (Final-Recipient, Action, Status, Diagnostic-Code)."""
    blocks = "\r\n\r\n".join(
        "\r\n".join(
            (
                f"Final-Recipient: rfc822; {address}",
                *([f"Original-Recipient: rfc822; {original_recipient}"] if original_recipient else []),
                f"Action: {action}",
                f"Status: {status}",
                f"Diagnostic-Code: {diagnostic}",
            )
        )
        for address, action, status, diagnostic in recipients
    )
    original = f"Message-ID: <{message_id}>\r\n" if message_id else ""
    return (
        f"Return-Path: <>\r\nReceived: {received}\r\n"
        "From: Mail Delivery System <MAILER-DAEMON@mx.example>\r\nTo: alice@acme.example\r\n"
        f"Subject: Undelivered Mail Returned to Sender\r\nDate: {date}\r\nMessage-ID: <{own_id}>\r\n"
        "Auto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\n"
        'Content-Type: multipart/report; report-type=delivery-status; boundary="b"\r\n\r\n'
        "--b\r\nContent-Type: text/plain\r\n\r\nYour message could not be delivered.\r\n\r\n"
        "--b\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.example\r\n\r\n"
        f"{blocks}\r\n\r\n"
        "--b\r\nContent-Type: text/rfc822-headers\r\n\r\n"
        f"{original}From: alice@acme.example\r\nSubject: Offer\r\n\r\n--b--\r\n"
    ).encode()


def ordinary(number: int = 1) -> bytes:
    """A message from a person."""
    return (
        f"From: Bob <bob@customer.example>\r\nTo: alice@acme.example\r\nSubject: Lunch {number}\r\n"
        f"Message-ID: <lunch-{number}@customer.example>\r\nDate: Sun, 22 Nov 2026 11:00:00 +0000\r\n\r\nAt noon?\r\n"
    ).encode()
