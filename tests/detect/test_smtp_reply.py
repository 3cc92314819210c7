import pytest

from worker.detect.smtp_reply import find_reply


@pytest.mark.parametrize(
    ("text", "code", "status"),
    [
        ("550 5.1.1 <a@b.test> User unknown", "550", "5.1.1"),
        ("550-5.1.1 first\n550 5.1.1 second", "550", "5.1.1"),
        ("host mx.b.test[192.0.2.10] said: 450 4.7.1 try later", "450", "4.7.1"),
        ("<mx.b.test #5.1.1 smtp;550 5.1.1 no such user>", "550", "5.1.1"),
        ("#550 5.1.1 RESOLVER.ADR.RecipNotFound; not found ##", "550", "5.1.1"),
        ("Remote host said: 552 mailbox full", "552", None),
        ("5.2.2 mailbox full", None, "5.2.2"),
        ("550 5.0.0 refused (5.7.1)", "550", "5.0.0"),
        ("421 mwinf5c77 service refused", "421", None),
        ("554-5.7.26 spf", "554", "5.7.26"),
        ("550 5.1.351 remote server returned unknown recipient", "550", "5.1.351"),
        # what only looks like a code
        ("", None, None),
        ("connect to 192.0.2.10[192.0.2.10]:25: refused", None, None),
        ("550.4.5.6 is no code, nor is 10.5.1.1", None, None),
        ("at 12:34:55, Sun, 22 Nov 2026 09:50:27", None, None),
        ("Postfix 3.5.18 and Exim 4.96.2", None, None),
        ("the message is 512 KB, limit: 450 MB", None, None),
        ("Size (in bytes): 222", None, None),
        ("version 4.5.6.7", None, None),
    ],
)
def test_codes_are_read_where_they_stand_as_codes(text, code, status):
    reply = find_reply(text)
    assert (reply.code, str(reply.status) if reply.status else None) == (code, status)
