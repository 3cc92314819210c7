"""What mail systems write in other languages: each file loads, and each phrase does what it is there for."""

import tomllib
from importlib.resources import files

import pytest

from worker import vocabulary
from worker.detect import detect
from worker.domain import Kind
from worker.signs import is_delay_subject, is_notice_subject

FILES = {
    file.name.removesuffix(".toml"): file.read_text(encoding="utf-8")
    for file in files(vocabulary).iterdir()
    if file.name.endswith(".toml")
}
LANGUAGES = (
    "cs", "da", "de", "el", "es", "fi", "fr", "hu", "it", "ja", "ko", "nb", "nl", "pl", "pt", "ru", "sv", "tr", "uk",
    "zh-hans", "zh-hant",
)  # fmt: skip
WITHOUT_HELD = {"uk", "zh-hant"}  # no public text was found
ORIGINAL = "From: alice@acme.example\nTo: bob@customer.example\nSubject: Offer\nMessage-ID: <offer@acme.example>\n"


def mail(body, subject="Notice", sender="postmaster@acme.example", **fields):
    head = {"Return-Path": "<>", "From": sender, "To": "alice@acme.example", "Subject": subject} | fields
    lines = "".join(f"{name}: {value}\n" for name, value in head.items())
    return f"{lines}Content-Type: text/plain; charset=utf-8\n\n{body}\n".encode()


def phrases(kind):
    return [
        pytest.param(phrase, id=f"{language}-{phrase}")
        for language in LANGUAGES
        for phrase in getattr(vocabulary.read(language, FILES[language]), kind)
    ]


def test_all_languages_are_there():
    assert tuple(sorted(FILES)) == LANGUAGES


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_file_says_where_its_phrases_were_found_or_that_nowhere(language):
    data = tomllib.loads(FILES[language])
    assert data["sources"]
    assert len(data["unsourced"]) == len(set(data["unsourced"]))
    words = vocabulary.read(language, FILES[language])
    assert {kind for kind in vocabulary.KINDS if not getattr(words, kind)} <= {"held"}
    assert bool(words.held) is (language not in WITHOUT_HELD)


@pytest.mark.parametrize("phrase", phrases("failed_subject"))
def test_subjects_of_notices(phrase):
    assert is_notice_subject(phrase.upper() if phrase.isascii() else phrase)
    assert is_notice_subject(f"{phrase}: Offer")


@pytest.mark.parametrize("phrase", phrases("delayed_subject"))
def test_subjects_of_delays(phrase):
    assert is_delay_subject(f"Mail {phrase}")
    assert detect(mail("<bob@customer.example>\n", f"=?utf-8?q?{phrase.replace(' ', '_')}?=")).kind is Kind.DELAYED


@pytest.mark.parametrize("phrase", phrases("reply_prefix"))
def test_an_answer_to_a_notice_is_a_persons(phrase):
    assert not is_notice_subject(f"{phrase.upper()}: Undeliverable: Offer")
    assert not is_notice_subject(f"{phrase}： Undeliverable: Offer")


@pytest.mark.parametrize("phrase", phrases("automatic_subject"))
def test_automatic_answers(phrase):
    answer = mail("Away.", f"{phrase}: Offer", "bob@customer.example", **{"Auto-Submitted": "auto-replied"})
    assert detect(answer).kind is Kind.AUTO_REPLY
    assert detect(mail("Away.", f"[{phrase}] Offer", "postmaster@customer.example")).kind is Kind.AUTO_REPLY


@pytest.mark.parametrize("phrase", phrases("failed"))
def test_words_of_failure(phrase):
    report = detect(mail(f"{phrase}\n\nbob@customer.example\n", **{"Auto-Submitted": "auto-replied"}))
    assert [r.final_recipient for r in report.recipients] == ["bob@customer.example"]
    assert report.kind is Kind.BOUNCE


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_parcel_that_was_not_delivered_is_no_notice(language):
    words = vocabulary.read(language, FILES[language])
    shop = {"Return-Path": "<news@parcels.example>", "Auto-Submitted": "auto-generated"}
    for phrase in words.failed + words.delayed:
        letter = mail(
            f"{phrase}\n\nAsk bob@parcels.example.\n", words.failed_subject[0], "news@parcels.example", **shop
        )
        assert detect(letter).kind is Kind.NONE


@pytest.mark.parametrize("phrase", phrases("delayed"))
def test_words_of_delay(phrase):
    report = detect(mail(f"{phrase}\n\nbob@customer.example\n", **{"Auto-Submitted": "auto-replied"}))
    assert report.kind is Kind.DELAYED


@pytest.mark.parametrize("phrase", phrases("held"))
def test_words_of_held_mail(phrase):
    """As Mailman's notice comes: from the bounces address, with the list's own fields, in lines of any length."""
    lists = {"Precedence": "bulk", "List-Id": "<team.lists.customer.example>", "X-List-Administrivia": "yes"}
    for body in (f"'Team':\n\n    Offer\n\n{phrase}.", f"'Team':\n\n    Offer\n\n{phrase.replace(' ', chr(10))}."):
        told = mail(body, "Team", "team-bounces@lists.customer.example", **lists)
        assert detect(told).kind is Kind.HELD


@pytest.mark.parametrize("phrase", phrases("held"))
def test_a_letter_that_speaks_of_held_mail_is_none(phrase):
    letter = {"Return-Path": "<bob@customer.example>"}
    assert detect(mail(f"{phrase}", "Team", "bob@customer.example", **letter)).kind is Kind.NONE


@pytest.mark.parametrize("phrase", phrases("returned"))
def test_marks_of_the_returned_message(phrase):
    """What stands behind the mark is the original's, so that its recipients are not read as the notice's."""
    told = detect(mail(f"<carol@customer.example>: 550 5.1.1 no\n\n{phrase}:\n\n{ORIGINAL}", "Undeliverable"))
    assert told.original.message_id == "offer@acme.example"
    assert [r.final_recipient for r in told.recipients] == ["carol@customer.example"]
    assert phrase not in told.text.casefold()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("language = [", "is no TOML"),
        ('language = "X"', "names no language or no sources"),
        ('language = "X"\nsources = ["y"]\ncolour = ["red"]', "unknown key 'colour'"),
        ('language = "X"\nsources = ["y"]\nfailed = ["Big"]', "not in lower case"),
        ('language = "X"\nsources = ["y"]\nfailed = ["a"]', "too short"),
        ('language = "X"\nsources = ["y"]\nunsourced = ["abc"]', "is no phrase of it"),
    ],
)
def test_a_bad_file_names_itself(text, words):
    with pytest.raises(vocabulary.VocabularyError, match=f"x.toml: .*{words}"):
        vocabulary.read("x.toml", text)
