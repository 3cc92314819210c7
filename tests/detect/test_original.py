"""Every place where an original's id can stand."""

import base64

import pytest

from worker.detect import detect

ID = "offer.1@crm.example"
ORIGINAL = f"From: alice@acme.example\nSubject: Offer\nMessage-ID: <{ID}>\n\nHello\n"
HEAD = (
    "From: Mail Delivery System <MAILER-DAEMON@mx.example>\nTo: alice@acme.example\nSubject: Undelivered Mail\n"
    "Return-Path: <>\nAuto-Submitted: auto-replied\nMIME-Version: 1.0\n"
)
TEXT = "Your message could not be delivered.\n\n<bob@customer.example>: 550 5.1.1 User unknown\n"


def mixed(*parts: str) -> bytes:
    body = "".join(f"--b\n{part}\n" for part in ("Content-Type: text/plain\n\n" + TEXT, *parts))
    return (HEAD + f"Content-Type: multipart/mixed; boundary=b\n\n{body}--b--\n").encode()


def attached(kind: str, content: bytes, name: str) -> str:
    coded = base64.encodebytes(content).decode()
    return f'Content-Type: {kind}; name="{name}"\nContent-Transfer-Encoding: base64\n\n{coded}'


def tnef(encoding: str) -> bytes:
    return b"\x78\x9f\x3e\x22" + bytes(range(40)) + f"<{ID}>".encode(encoding) + bytes(30)


PLACES = {
    "message/rfc822": mixed("Content-Type: message/rfc822\n\n" + ORIGINAL),
    "message/rfc822 in base64": mixed(attached("message/rfc822", ORIGINAL.encode(), "m")),
    "text/rfc822-headers": mixed("Content-Type: text/rfc822-headers\n\n" + ORIGINAL),
    "message/global": mixed("Content-Type: message/global\n\n" + ORIGINAL),
    "message/global-headers": mixed("Content-Type: message/global-headers\n\n" + ORIGINAL),
    "attached .eml": mixed(attached("application/octet-stream", ORIGINAL.encode(), "original.eml")),
    "TNEF": mixed(attached("application/ms-tnef", tnef("ascii"), "winmail.dat")),
    "TNEF, two bytes a character": mixed(attached("application/ms-tnef", tnef("utf-16-le"), "winmail.dat")),
    "quoted header": (HEAD + "\n" + TEXT + "\nOriginal message headers:\n\n" + ORIGINAL).encode(),
    "quoted with marks": (
        HEAD + "\n" + TEXT + "\n--- Original message ---\n\n> " + ORIGINAL.replace("\n", "\n> ")
    ).encode(),
    "base64 text": (
        HEAD
        + "Content-Transfer-Encoding: base64\n\n"
        + base64.encodebytes((TEXT + "\nOriginal message headers:\n\n" + ORIGINAL).encode()).decode()
    ).encode(),
    "X-Original-Message-ID": (HEAD + f"X-Original-Message-ID: <{ID}>\n\n" + TEXT).encode(),
    "X-Microsoft-Original-Message-ID": (HEAD + f"X-Microsoft-Original-Message-ID: <{ID}>\n\n" + TEXT).encode(),
    "X-Google-Original-Message-ID": (HEAD + f"X-Google-Original-Message-ID: <{ID}>\n\n" + TEXT).encode(),
    "X-MS-Exchange-Parent-Message-Id": (HEAD + f"X-MS-Exchange-Parent-Message-Id: <{ID}>\n\n" + TEXT).encode(),
}


@pytest.mark.parametrize("place", PLACES)
def test_the_id_is_found_wherever_it_stands(place):
    report = detect(PLACES[place])
    assert report.kind == "bounce"
    assert ID in report.original.message_ids


def test_replies_come_nearest_first():
    raw = (HEAD + "In-Reply-To: <c@x>\nReferences: <a@x> <b@x> <c@x>\n\n" + TEXT).encode()
    assert detect(raw).in_reply_to == ("c@x", "b@x", "a@x")


def test_the_token_of_a_variable_return_path_is_found():
    raw = (HEAD.replace("To: alice@", "To: alice+9f86d081@") + "\n" + TEXT).encode()
    assert "9f86d081" in detect(raw).original.return_tokens


def test_a_message_that_ends_too_soon_says_so():
    whole = PLACES["message/rfc822"]
    assert detect(whole).warnings == ()
    assert any("end of the message" in words for words in detect(whole[:-30]).warnings)
