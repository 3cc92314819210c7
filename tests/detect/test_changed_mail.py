"""What gateways and mail programs do to a notice, which must not change what is read of it."""

import base64

import pytest

from worker.classify import classify, default_rule_paths, load_rules
from worker.detect import address, detect, prose
from worker.domain import UNREAD, Kind
from worker.signs import is_delay_subject, is_notice_subject

RULES = load_rules(default_rule_paths())
ORIGINAL = (
    "From: Alice <alice@acme.example>\nTo: bob@customer.example\nSubject: Offer\n"
    "Date: Mon, 2 Nov 2026 09:00:00 +0000\nMessage-ID: <offer@acme.example>\n"
)
HEAD = "Return-Path: <>\nFrom: MAILER-DAEMON@relay.example\nTo: alice@acme.example\nSubject: Undelivered mail\n"
BODY = "Your message could not be delivered.\n\n<{}>: 550 5.1.1 User unknown\n"
TRANSCRIPT = """While talking to mx.customer.example:
>>> MAIL From:<alice@acme.example>
<<< {}
554 <bob@customer.example>... Remote protocol error
421 other.example (smtp)... Deferred: Connection timed out
"""


def notice(body, head=HEAD, kind="text/plain"):
    return f"{head}MIME-Version: 1.0\nContent-Type: {kind}; charset=utf-8\n\n{body}\n".encode()


def read(raw):
    report = detect(raw)
    return [(r.final_recipient, str(r.status), r.smtp_code) for r in report.recipients]


@pytest.mark.parametrize(
    "before", [b"\xef\xbb\xbf", b"\n", b"\r\n\r\n", b"\xef\xbb\xbf\n", b"From bounce Mon Nov  2\n"]
)
def test_what_stands_before_a_message_is_passed_over(before):
    assert read(before + notice(BODY.format("bob@customer.example"))) == [("bob@customer.example", "5.1.1", "550")]


@pytest.mark.parametrize(
    "name",
    ["bob", "o'neil", "d'angelo.o'neil", "x.1+y_o-z", "x=y/z", "bob&co", "ann#1", "{bob}", "1bob", "žan", "田中"],
)
def test_any_local_part_is_read(name):
    person = f"{name}@customer.example"
    assert read(notice(BODY.format(person))) == [(person, "5.1.1", "550")]
    assert read(notice(BODY.format(person).replace("<", "").replace(">", ""))) == [(person, "5.1.1", "550")]


@pytest.mark.parametrize("text", ["'bob@customer.example'", "user='bob@customer.example'", "('bob@customer.example')"])
def test_quotes_are_no_part_of_an_address(text):
    assert address.every(text) == ("bob@customer.example",)


def test_lines_of_html_end_where_the_markup_says():
    """A line break in the source is none on the screen, and a break in the markup is one, not two."""
    page = (
        "<html><body><p>Your message could not\nbe delivered.</p><br>\n&lt;bob@customer.example&gt;:<br>\n550 5.1.1 no"
    )
    page += "<br>\n</body></html>"
    assert read(notice(page, kind="text/html")) == [("bob@customer.example", "5.1.1", "550")]
    preformatted = f"<pre>{BODY.format('bob@customer.example').replace('<', '&lt;')}</pre><p><p><p>"
    assert read(notice(preformatted, kind="text/html")) == [("bob@customer.example", "5.1.1", "550")]


@pytest.mark.parametrize("tag", ["[EXTERNAL] ", "[EXT][SPAM] ", " [Suspected Spam]  ", "[ref 12] "])
def test_tags_before_a_subject_change_nothing(tag):
    assert is_notice_subject(f"{tag}Undeliverable: Offer")
    assert is_delay_subject(f"{tag}Warning: could not send message for past 4 hours")
    assert not is_notice_subject(f"{tag}Re: Undeliverable: Offer")


def test_a_sender_of_no_known_name_is_believed_where_a_message_is_given_back():
    head = HEAD.replace("MAILER-DAEMON@", "xyzzy@").replace("Return-Path: <>\n", "")
    told = notice(f"{BODY.format('bob@customer.example')}\nReturned message:\n\n{ORIGINAL}", head)
    assert read(told) == [("bob@customer.example", "5.1.1", "550")]
    person = told.replace(b"MIME-Version", b"User-Agent: Thunderbird\nMIME-Version")
    assert detect(person).kind is Kind.NONE
    assert detect(notice(BODY.format("bob@customer.example"), head)).kind is Kind.NONE


class TestAnUnknownLanguage:
    """Nothing is understood but who gives back what: a person decides."""

    HEAD = HEAD.replace("Undelivered mail", "Xyzzy")
    WORDS = "Xyzzy plugh bob@customer.example plover.\n\n"

    def test_it_is_a_notice_that_is_not_verified(self):
        report = detect(notice(self.WORDS + ORIGINAL, self.HEAD))
        assert (report.kind, report.detector) == (Kind.BOUNCE, UNREAD)
        assert report.original.message_id == "offer@acme.example"
        assert [r.final_recipient for r in report.recipients] == ["bob@customer.example"]
        assert not classify(RULES, report, report.recipients[0]).verified

    def test_words_that_a_rule_knows_are_verified(self):
        report = detect(notice(self.WORDS.replace("plover", "User unknown") + ORIGINAL, self.HEAD))
        assert classify(RULES, report, report.recipients[0]).verified

    @pytest.mark.parametrize(
        ("what", "instead"),
        [
            ("Return-Path: <>", "Return-Path: <postmaster@relay.example>"),
            ("MAILER-DAEMON@", "xyzzy@"),
            ("bob@customer.example plover", "plover"),
            ("Message-ID: <offer@acme.example>\n", ""),
            ("Subject: Xyzzy", "List-Id: <team.acme.example>\nSubject: Xyzzy"),
        ],
    )
    def test_it_is_none_where_one_sign_lacks(self, what, instead):
        whole = notice(self.WORDS + ORIGINAL, self.HEAD).decode()
        assert what in whole
        assert detect(whole.replace(what, instead).encode()).kind is Kind.NONE


@pytest.mark.parametrize("first", ["From: Alice", "To: bob", "Date: Mon", "Subject: Offer", "Message-ID: <offer"])
def test_a_returned_header_needs_no_announcement(first):
    fields = [line for line in ORIGINAL.splitlines() if line]
    ordered = sorted(fields, key=lambda line: not line.startswith(first))
    report = detect(notice(f"{BODY.format('carol@customer.example')}\n" + "\n".join(ordered)))
    assert report.original.message_id == "offer@acme.example"
    assert [r.final_recipient for r in report.recipients] == ["carol@customer.example"]


@pytest.mark.parametrize(
    ("answer", "code", "reason"),
    [
        ("550 5.7.1 Insecure mail relay", "550", "policy"),
        ("550 User unknown", "550", "unknown_user"),
        ("501 Syntax error, mailbox full", "554", "mailbox_full"),
    ],
)
def test_a_protocol_error_is_explained_by_the_answer_above_it(answer, code, reason):
    report = detect(notice(TRANSCRIPT.format(answer)))
    assert [r.smtp_code for r in report.recipients] == [code]
    assert classify(RULES, report, report.recipients[0]).reason.value == reason


def test_an_answer_stands_with_the_line_below_it_alone():
    text = TRANSCRIPT.format("550 no") + "550 <carol@customer.example>... Host unknown\n"
    assert dict(prose.entries(text)) == {
        "bob@customer.example": "550 no\n554 Remote protocol error",
        "carol@customer.example": "550 Host unknown",
    }


@pytest.mark.parametrize("charset", ["utf-16", "utf-16-le", "utf-32", "iso-2022-jp", "utf-8-sig", "windows-1251"])
def test_a_charset_changes_nothing(charset):
    body = base64.encodebytes(BODY.format("bob@customer.example").encode(charset)).decode()
    head = f"{HEAD}Content-Transfer-Encoding: base64\n"
    raw = notice(body, head).replace(b"charset=utf-8", f"charset={charset}".encode())
    assert read(raw) == [("bob@customer.example", "5.1.1", "550")]
