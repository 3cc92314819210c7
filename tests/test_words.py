"""Bytes of the wild as text: charsets, their nicknames, and labels that are not true."""

import pytest

from worker.words import decode_charset, decode_words

TEXTS = {
    "iso-2022-jp": "配信不能: 受信者", "shift_jis": "配信できませんでした①", "euc-jp": "配信不能",
    "gb18030": "邮件无法投递", "gb2312": "收件人的邮箱已满", "gbk": "邮件無法", "big5": "收件者的信箱已滿",
    "euc-kr": "수신자의 사서함", "koi8-r": "Сообщение не доставлено", "koi8-u": "Поштова скринька",
    "windows-1250": "Skrzynka odbiorcza pełna – „tak”", "windows-1251": "Недоставлено",
    "windows-1252": "Zustellung – „größer”", "windows-1253": "Δεν παραδόθηκε",
    "windows-1254": "Teslim edilemedi – ığş", "iso-8859-2": "nie została dostarczona",
    "iso-8859-5": "Недоставлено", "iso-8859-7": "παραλήπτης", "iso-8859-9": "yanıt",
    "utf-8": "Unzustellbar für alle", "cp866": "Недоставлено",
}  # fmt: skip
PYTHONS = {"gb2312": "gb18030", "shift_jis": "cp932"}


@pytest.mark.parametrize(("charset", "text"), TEXTS.items(), ids=TEXTS)
def test_charsets_of_mail(charset, text):
    data = text.encode(PYTHONS.get(charset, charset))
    assert decode_charset(data, charset) == text
    assert decode_charset(data, f' "{charset.upper()}" ') == text


@pytest.mark.parametrize(
    ("data", "label", "text"),
    [
        ("größer".encode(), "iso-8859-1", "größer"),
        ("доставлено".encode(), "koi8-r", "доставлено"),
        ("größer".encode("cp1252"), "utf-8", "größer"),
        ("größer – „so“".encode("cp1252"), "iso-8859-1", "größer – „so“"),
        ("größer".encode("cp1252"), "us-ascii", "größer"),
        ("größer".encode(), None, "größer"),
        ("größer".encode(), "no-such-charset", "größer"),
        ("größer".encode(), "\0", "größer"),
        (b"caf\xe9", "utf-8", "café"),
    ],
)
def test_labels_that_are_not_true(data, label, text):
    assert decode_charset(data, label) == text


@pytest.mark.parametrize("charset", ["utf-7", "unicode_escape", "raw_unicode_escape", "punycode", "rot13", "hex"])
def test_what_is_no_charset_of_mail_is_not_decoded(charset):
    hidden = b"+AGEAbABlAHIAdA- \\u0061 uryyb"
    assert decode_charset(hidden, charset) == hidden.decode()


def test_a_character_that_was_cut_off_costs_no_other():
    assert decode_charset("Zustellung größer für".encode()[:-2], "utf-8") == "Zustellung größer f"
    assert decode_charset("邮件无法投递".encode("gb18030")[:-1], "gb18030") == "邮件无法投"


def test_one_broken_character_does_not_make_it_another_language():
    broken = bytearray("邮件无法投递给收件人".encode("gb18030"))
    broken[4:6] = b"\xff\xff"
    assert decode_charset(bytes(broken), "gb18030").endswith("收件人")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("=?utf-8?Q?Unzustellbar=3A_Angebot?=", "Unzustellbar: Angebot"),
        ("=?iso-2022-jp?B?GyRCR1s/LklURz0bKEI6IGE=?=", "配信不能: a"),
        ("=?gb2312?B?zt63qLSrtd0=?=", "无法传递"),
        ("=?UTF-8?B?6YWN5L+h5A==?= =?utf-8?B?uI3og70=?=", "配信不能"),
        ("=?utf-8*de?q?gr=C3=B6=C3=9Fer?= ja", "größer ja"),
        ("=?utf-8?q?a?=\n =?koi8-r?q?=C2?=", "aб"),
        ("=?utf-8?q?no end", "=?utf-8?q?no end"),
        ("=?utf-8?q?=C3=B6?= =?utf-8?q?no end", "ö =?utf-8?q?no end"),
        ("plain", "plain"),
    ],
)
def test_encoded_words(value, text):
    assert decode_words(value) == text
