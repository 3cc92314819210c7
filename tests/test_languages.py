"""One table: what each language's notice comes to, from screen to verdict, in the charsets of its mail.

The samples are made of the phrases that the language's files hold, in the order in which Exchange writes them. A
language that is missing, or whose mail can't be read in its own charset, shows as a row that fails.
"""

import base64
import quopri
import tomllib
from importlib.resources import files

import pytest

from connectors.base import Envelope, MessageRef
from worker import vocabulary
from worker.classify import classify, default_rule_paths, load_rules
from worker.detect import detect, mime
from worker.domain import Action, Kind, Reason
from worker.screen import screen

RULES = load_rules(default_rule_paths())
CHARSETS = {
    "cs": ("iso-8859-2", "windows-1250"),
    "da": ("iso-8859-1", "windows-1252"),
    "de": ("iso-8859-1", "windows-1252", "iso-8859-15"),
    "el": ("iso-8859-7", "windows-1253"),
    "es": ("iso-8859-1", "windows-1252"),
    "fi": ("iso-8859-1", "iso-8859-15"),
    "fr": ("iso-8859-1", "windows-1252", "iso-8859-15"),
    "hu": ("iso-8859-2", "windows-1250"),
    "it": ("iso-8859-1", "windows-1252"),
    "ja": ("iso-2022-jp", "shift_jis", "euc-jp"),
    "ko": ("euc-kr", "ks_c_5601-1987"),
    "nb": ("iso-8859-1", "windows-1252"),
    "nl": ("iso-8859-1", "windows-1252"),
    "pl": ("iso-8859-2", "windows-1250"),
    "pt": ("iso-8859-1", "windows-1252"),
    "ru": ("koi8-r", "windows-1251", "iso-8859-5"),
    "sv": ("iso-8859-1", "windows-1252"),
    "tr": ("iso-8859-9", "windows-1254"),
    "uk": ("koi8-u", "windows-1251"),
    "zh-hans": ("gb2312", "gb18030"),
    "zh-hant": ("big5",),
}
PYTHONS_NAME = {"ks_c_5601-1987": "cp949"}
ROWS = [
    (language, charset, encoding)
    for language, own in CHARSETS.items()
    for charset in ("utf-8", "utf-16", *own)
    for encoding in ("base64", "quoted-printable")
    if (charset, encoding) != ("utf-16", "quoted-printable")  # which nobody writes: its lines have no ends
]
ORIGINAL = (
    "From: Alice <alice@acme.example>\r\nTo: bob@customer.example\r\nSubject: Offer\r\n"
    "Date: Mon, 2 Nov 2026 09:00:00 +0000\r\nMessage-ID: <offer@acme.example>\r\n"
)
REPLY = "Remote Server returned '550 5.1.1 RESOLVER.ADR.RecipNotFound; not found'"


def words(language):
    name = f"{language}.toml"
    return vocabulary.read(name, (files(vocabulary) / name).read_text(encoding="utf-8"))


def mail(subject, body, charset, encoding, sender):
    codec = PYTHONS_NAME.get(charset, charset)
    word = base64.b64encode(subject.encode("utf-8" if charset == "utf-16" else codec)).decode()
    told = "utf-8" if charset == "utf-16" else charset
    data = body.encode(codec)
    coded = base64.encodebytes(data) if encoding == "base64" else quopri.encodestring(data)
    head = (
        f"Return-Path: <>\r\nFrom: {sender}\r\nTo: alice@acme.example\r\nSubject: =?{told}?B?{word}?=\r\n"
        f"MIME-Version: 1.0\r\nContent-Type: text/plain; charset={charset}\r\nContent-Transfer-Encoding: {encoding}\r\n"
    )
    return head.encode() + b"\r\n" + coded


def passes_screen(raw):
    fields = mime.read(raw).fields
    names = ("from", "subject", "content-type")  # without Return-Path, which not every provider keeps
    headers = {name: fields.first(name) for name in names}
    return screen(Envelope(ref=MessageRef("1"), headers=headers))


def fits(charset, *phrases):
    try:
        "".join(phrases).encode(PYTHONS_NAME.get(charset, charset))
    except UnicodeEncodeError:
        return False
    return True


def test_every_language_has_its_row():
    assert set(CHARSETS) == {
        file.name.removesuffix(".toml") for file in files(vocabulary).iterdir() if "toml" in file.name
    }


@pytest.mark.parametrize(("language", "charset", "encoding"), ROWS)
def test_exchanges_notice(language, charset, encoding):
    """Heading, recipient, diagnostic information for administrators, original message headers."""
    known = words(language)
    for failed in known.failed:
        body = f"{failed}:\r\n\r\nbob@customer.example\r\n\r\nbob@customer.example\r\n{REPLY}\r\n\r\n"
        body += f"{known.returned[0]}:\r\n\r\n{ORIGINAL}"
        if not fits(charset, body, known.failed_subject[0]):
            continue
        raw = mail(f"{known.failed_subject[0]}: Offer", body, charset, encoding, "Xyzzy <xyzzy@acme.example>")
        report = detect(raw)
        assert passes_screen(raw)
        assert (report.kind, report.original.message_id) == (Kind.BOUNCE, "offer@acme.example"), failed
        assert [(r.final_recipient, str(r.status), r.smtp_code) for r in report.recipients] == [
            ("bob@customer.example", "5.1.1", "550")
        ]
        assert classify(RULES, report, report.recipients[0]).reason is Reason.UNKNOWN_USER


@pytest.mark.parametrize(("language", "charset", "encoding"), ROWS)
def test_a_delay(language, charset, encoding):
    known = words(language)
    for delayed in known.delayed:
        body = f"{delayed}:\r\n\r\nbob@customer.example\r\n\r\n{known.returned[0]}:\r\n\r\n{ORIGINAL}"
        if fits(charset, body, known.failed_subject[0]):
            raw = mail(known.failed_subject[0], body, charset, encoding, "postmaster@acme.example")
            report = detect(raw)
            assert passes_screen(raw)
            assert (report.kind, report.original.message_id) == (Kind.DELAYED, "offer@acme.example"), delayed
            assert [(r.final_recipient, r.action) for r in report.recipients] == [
                ("bob@customer.example", Action.DELAYED)
            ]


@pytest.mark.parametrize(("language", "charset", "encoding"), ROWS)
def test_reasons_in_words_alone(language, charset, encoding):
    """Every phrase of the language's rules speaks from a notice that states no code."""
    known = words(language)
    path = next(path for path in default_rule_paths() if path.name == f"phrases.{language}.toml")
    for rule in tomllib.loads(path.read_text())["rule"]:
        said = rule["example"]
        body = f"{known.failed[0]}:\r\n\r\nbob@customer.example\r\n{said}\r\n\r\n{known.returned[0]}:\r\n\r\n{ORIGINAL}"
        if "test" in said or any(c.isdigit() for c in said) or not fits(charset, body):
            continue
        report = detect(mail(known.failed_subject[0], body, charset, encoding, "postmaster@acme.example"))
        assert [r.final_recipient for r in report.recipients] == ["bob@customer.example"], said
        verdict = classify(RULES, report, report.recipients[0])
        assert (verdict.rule, verdict.verified) == (rule["name"], rule.get("verified", True)), said
