import pytest

from tests.fakes.notices import dsn
from worker.identity import report_digest

NOTICE = dsn()


def test_another_way_through_other_servers_is_the_same_report():
    other = dsn(received="from relay.example by other.example; Sun, 22 Nov 2026 11:09:00 +0000")
    assert report_digest(
        other.replace(b"Return-Path: <>\r\n", b"Delivered-To: team@acme.example\r\n")
    ) == report_digest(NOTICE)


@pytest.mark.parametrize(
    "copy",
    [
        NOTICE.replace(b"\r\n", b"\n"),
        NOTICE + b"\r\n\r\n",
        NOTICE.replace(b"Subject: Undelivered Mail", b"Subject: Undelivered\r\n Mail"),
        b"X-Spam-Score: 3\r\n" + NOTICE,
    ],
    ids=["line ends", "trailing blank lines", "folding", "an added header"],
)
def test_what_mailboxes_change_does_not_matter(copy):
    assert report_digest(copy) == report_digest(NOTICE)


@pytest.mark.parametrize(
    "other",
    [dsn(own_id="notice-2@mx.example"), dsn(date="Sun, 22 Nov 2026 11:00:05 +0000"), dsn("send-2@crm.example")],
    ids=["its own id", "its date", "its body"],
)
def test_another_notice_is_another_report(other):
    assert report_digest(other) != report_digest(NOTICE)


def test_a_copy_that_was_cut_off_is_the_same_report():
    long = NOTICE + b"x" * 400_000
    assert report_digest(long[: 256 * 1024]) == report_digest(long)


@pytest.mark.parametrize("raw", [b"", b"\n", b"\x00\xff" * 50, b"no colon", b"Subject: only"])
def test_junk_has_a_digest_too(raw):
    assert len(report_digest(raw)) == 64
