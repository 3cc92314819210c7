import pytest

from worker.detect import mime


def leaves(text):
    return [(leaf.content_type, leaf.text.strip()) for leaf in mime.read(text.encode()).leaves]


def multipart(body, boundary="b"):
    return f'Content-Type: multipart/mixed; boundary="{boundary}"\n\n{body}'


def test_fields_are_unfolded_and_found_without_case():
    fields = mime.read(b"Subject: one\n two\nX-A: 1\nx-a: 2\n\nbody").fields
    assert fields.first("subject") == "one two"
    assert fields.every("x-a") == ("1", "2")


@pytest.mark.parametrize("newline", [b"\n", b"\r\n", b"\r"], ids=["lf", "crlf", "cr"])
def test_all_line_ends_are_read_alike(newline):
    message = mime.read(multipart("--b\n\none\n--b--\n").encode().replace(b"\n", newline))
    assert [leaf.text for leaf in message.leaves] == ["one"]


def test_encoded_words_are_decoded_where_they_can_be():
    fields = mime.read(b"Subject: =?utf-8?B?w6k=?= =?iso-8859-1?Q?t=E9_?= =?x-no-such?Q?=E9?= =?utf-8?B?!?=\n\n").fields
    assert fields.text("subject") == "été é"


def test_a_missing_close_boundary_ends_with_the_body():
    assert leaves(multipart("--b\n\none\n--b\n\ntwo")) == [("text/plain", "one"), ("text/plain", "two")]


def test_a_part_may_start_with_its_text_at_once():
    assert leaves(multipart("--b\nno header here\n--b--")) == [("text/plain", "no header here")]


def test_the_outer_boundary_wins_over_a_longer_one_within():
    inner = multipart("--bb\n\none\n--bb--", "bb")
    assert leaves(multipart(f"--b\n{inner}\n--b\n\ntwo\n--b--")) == [("text/plain", "one"), ("text/plain", "two")]


def test_a_boundary_that_the_header_has_wrong_is_guessed():
    message = mime.read(multipart("--other\nContent-Type: text/plain\n\none\n--other--", "b").encode())
    assert [leaf.text for leaf in message.leaves] == ["one"]
    assert message.warnings == ["the boundary of the parts was guessed"]


def test_a_line_in_the_header_that_is_no_field_loses_nothing():
    fields = mime.read(b"From: a@b.test\nbroken line\nSubject: x\n\nbody").fields
    assert fields.first("subject") == "x"


def test_an_mbox_line_before_the_header_is_passed_over():
    assert mime.read(b"From MAILER-DAEMON Mon Nov  2 09:00:00 2026\nSubject: x\n\n").fields.first("subject") == "x"


@pytest.mark.parametrize(
    ("encoding", "body", "text"),
    [
        ("base64", "w6k=", "é"),
        ("base64", "w6k", "é"),
        ("base64", "w6\n!k=", "é"),
        ("quoted-printable", "=C3=A9 a=\nb", "é ab"),
        ("x-unknown", "é", "é"),
    ],
)
def test_bodies_are_decoded(encoding, body, text):
    message = f"Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: {encoding}\n\n{body}"
    assert mime.read(message.encode()).text == text


@pytest.mark.parametrize("charset", ["x-no-such", "hex", "zip", "rot13", "utf-8", ""])
def test_an_unknown_or_false_charset_never_raises(charset):
    assert mime.read(f"Content-Type: text/plain; charset={charset}\n\n".encode() + b"\xe9").text == "é"


def test_html_is_stripped_to_its_words():
    html = (
        b"Content-Type: text/html\n\n<html><style>p{}</style><p>one &lt;a&#64;b.test&gt;<br>two&nbsp;three</p></html>"
    )
    assert mime.read(html).text.split("\n")[1:3] == ["one <a@b.test>", "two three"]


def test_what_is_cut_off_is_said():
    message = mime.read(b"Subject: x\n\n" + b"a" * mime.MAX_BYTES)
    assert message.warnings == [f"only the first {mime.MAX_BYTES} bytes of {mime.MAX_BYTES + 12} were read"]
    many = mime.read(multipart("--b\n\nx\n" * (mime.MAX_PARTS + 5)).encode())
    assert len(many.parts) == mime.MAX_PARTS
    assert many.warnings == [f"only the first {mime.MAX_PARTS} parts were read"]
