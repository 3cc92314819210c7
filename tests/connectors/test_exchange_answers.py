"""Answers that no good server gives: each is refused in time and in bounds, as an error that says what to do."""

import time
from email import message_from_bytes

import pytest

from connectors import (
    AuthRequired,
    CursorExpired,
    MessageGone,
    Misconfigured,
    Throttled,
    Unavailable,
    _exchange_http,
)
from connectors._exchange_errors import NotEws
from connectors._exchange_soap import parse
from tests.connectors.mailboxes import LONG_AGO, exchange_connector, ids, ids_of, message, messages, read_all
from tests.fakes.ews import answers, faults
from tests.fakes.ews.server import FakeExchange

BOMB = b"""<?xml version="1.0"?><!DOCTYPE s [<!ENTITY a "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa">
<!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;"><!ENTITY d "&c;&c;&c;&c;&c;&c;&c;&c;">]>
<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/" x="&d;"><s:Body>&d;</s:Body></s:Envelope>"""
FILE = BOMB.replace(b'"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"', b'SYSTEM "file:///etc/hostname"')
ENVELOPE = b'<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>%s</s:Body></s:Envelope>'


def poll(fake, **changes):
    return exchange_connector(fake, **{"read_timeout": 0.2, "folders": ("inbox",)} | changes).poll(LONG_AGO)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"hello",
        b"<html><body>Please sign in</body></html>",
        b"\xff\xfe<\x00s\x00",
        b"\x00" * 1000,
        b"<s:Envelope",
        ENVELOPE % b"" + b"trailing",
        ENVELOPE % b"",
        ENVELOPE % b"<x>",
        ENVELOPE % b"<s:Fault/>",
        ENVELOPE % (b"<x>" * 5_000 + b"</x>" * 5_000),
        ENVELOPE.replace(b"Body", b"Nobody") % b"",
        b'<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"></s:Envelope>',
        BOMB,
        FILE,
        answers.response("SyncFolderItems", []),
        answers.response("SyncFolderItems", [answers.success("SyncFolderItems", "")]),
        answers.response("SyncFolderItems", [answers.success("SyncFolderItems", "")] * 2),
        answers.response("SyncFolderItems", [answers.success("SyncFolderItems", "<m:SyncState>x</m:SyncState>")]),
        answers.response("GetItem", [answers.success("GetItem", "<m:Items/>")]),
        answers.response("SyncFolderItems", [answers.failure("SyncFolderItems", "__name__")]),
        answers.response("SyncFolderItems", [answers.failure("SyncFolderItems", "log")]),
        answers.response("SyncFolderItems", [answers.failure("SyncFolderItems", "")]),
        answers.response("SyncFolderItems", [answers.failure("SyncFolderItems", "ErrorThatNobodyKnows")]),
        answers.response("SyncFolderItems", [answers.failure("SyncFolderItems", "NoError")]),
        answers.response("SyncFolderItems", ["<m:SyncFolderItemsResponseMessage/>"]),
    ],
)
@pytest.mark.parametrize("status", [200, 500])
def test_what_is_not_ews_is_unavailable(answer, status):
    with FakeExchange(always=faults.status(status, answer)) as fake, pytest.raises(Unavailable) as caught:
        poll(fake)
    assert "hostname" not in str(caught.value)
    assert "aaaa" not in str(caught.value)
    assert str(caught.value).endswith((".", "?"))


@pytest.mark.parametrize(
    ("act", "error"),
    [
        (faults.drop, Unavailable),
        (faults.hang, Unavailable),
        (faults.cut, Unavailable),
        (faults.cut_unannounced, Unavailable),
        (faults.drip, Unavailable),
        (faults.endless, Unavailable),
        (lambda asked: asked.raw(b"SSH-2.0-OpenSSH_9.6\r\n"), Unavailable),
        (lambda asked: asked.raw(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 10_000), Unavailable),
        (lambda asked: asked.raw(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 1_000_000), Unavailable),
        (lambda asked: asked.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n<"), Unavailable),
        (lambda asked: asked.raw(b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n<"), Unavailable),
        (lambda asked: asked.raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffff\r\nx"), Unavailable),
        (lambda asked: asked.raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\nx"), Unavailable),
        (lambda asked: asked.raw(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000), Unavailable),
        (faults.status(200, b"x", Content_Encoding="gzip"), Unavailable),
    ],
)
def test_whatever_comes_over_the_wire_ends(act, error, monkeypatch):
    monkeypatch.setattr(_exchange_http, "ANSWER_LIMIT", 1_000_000)
    started = time.monotonic()
    with FakeExchange(always=act) as fake, pytest.raises(error):
        poll(fake)
    assert time.monotonic() - started < 10


@pytest.mark.parametrize("drip", [faults.drip, faults.drip_unannounced])
def test_a_drip_ends_at_the_deadline_of_the_call(drip):
    with FakeExchange(always=drip) as fake, pytest.raises(Unavailable, match=r"too slow: no end after 1 s\."):
        poll(fake)


def test_a_drip_in_the_handshake_ends_too(monkeypatch):
    """Here the socket already belongs to TLS."""

    def drip(asked):
        raise AssertionError("no request can have come")

    with FakeExchange(always=drip) as fake:
        endpoint = fake.endpoint.replace("http://127.0.0.1", "https://localhost")

        def serve(connection, address):
            connection.sendall(b"\x16\x03\x03\x40\x00")  # a record of 16 KB is announced
            while not fake.over.wait(0.02):
                connection.sendall(b"\x00")

        monkeypatch.setattr(fake._server, "finish_request", serve)
        with pytest.raises(Unavailable, match=r"too slow|in time"):
            poll(fake, endpoint=endpoint)


def test_redirects_are_not_followed():
    with FakeExchange() as elsewhere:
        for code in (301, 302, 303, 307, 308):
            act = faults.status(code, Location=elsewhere.endpoint)
            with FakeExchange(always=act) as fake, pytest.raises(Misconfigured, match="which is not followed"):
                poll(fake)
        assert elsewhere.requests == 0


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, Unavailable),
        (403, Misconfigured),
        (404, Misconfigured),
        (405, Misconfigured),
        (418, Unavailable),
        (429, Throttled),
        (456, Unavailable),
        (500, Unavailable),
        (502, Unavailable),
        (503, Unavailable),
    ],
)
def test_each_status_has_its_error(status, error):
    with FakeExchange(always=faults.status(status, b"<html>no</html>")) as fake, pytest.raises(error) as caught:
        poll(fake)
    assert type(caught.value) is error


@pytest.mark.parametrize("retry_after", ["-1", "soon", "", "1.5", "٣", "Wed, 99 Foo 2026", "9" * 400])
def test_a_time_to_wait_that_is_none(retry_after):
    act = faults.status(503, Retry_After=retry_after.encode().decode("latin-1"))
    with FakeExchange(always=act) as fake, pytest.raises(Unavailable) as caught:
        poll(fake)
    if isinstance(caught.value, Throttled):
        assert 0 <= caught.value.retry_after.total_seconds() <= 86_400


@pytest.mark.parametrize("milliseconds", [0, -5, 10**30, None])
def test_a_back_off_that_is_none(milliseconds):
    with FakeExchange(always=faults.busy(milliseconds)) as fake, pytest.raises(Throttled) as caught:
        poll(fake)
    assert 0 < caught.value.retry_after.total_seconds() <= 86_400


CODES = {
    "ErrorServerBusy": Throttled,
    "ErrorExceededConnectionCount": Throttled,
    "ErrorTooManyObjectsOpened": Throttled,
    "ErrorInsufficientResources": Throttled,
    "ErrorAccountDisabled": AuthRequired,
    "ErrorPasswordExpired": AuthRequired,
    "ErrorPasswordChangeRequired": AuthRequired,
    "ErrorAccessDenied": Misconfigured,
    "ErrorImpersonateUserDenied": Misconfigured,
    "ErrorImpersonationFailed": Misconfigured,
    "ErrorNonExistentMailbox": Misconfigured,
    "ErrorNonPrimarySmtpAddress": Misconfigured,
    "ErrorMailboxMoveInProgress": Unavailable,
    "ErrorMailboxStoreUnavailable": Unavailable,
    "ErrorMailboxFailover": Unavailable,
    "ErrorTimeoutExpired": Unavailable,
    "ErrorInternalServerError": Unavailable,
    "ErrorInternalServerTransientError": Unavailable,
    "ErrorInvalidRequest": Unavailable,
    "ErrorInvalidServerVersion": Unavailable,
    "ErrorSchemaValidation": Unavailable,
    "ErrorQuotaExceeded": Unavailable,
}


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("make", [faults.error, faults.soap_fault])
def test_each_code_has_its_error_and_one_request(code, make):
    with FakeExchange(always=make(code)) as fake, pytest.raises(CODES[code]) as caught:
        poll(fake)
    assert type(caught.value) is CODES[code]
    assert fake.requests == 1  # no trying of other versions, no asking again


@pytest.mark.parametrize("code", ["ErrorInvalidSyncStateData", "ErrorSyncFolderNotFound", "ErrorFolderNotFound"])
@pytest.mark.parametrize("make", [faults.error, faults.soap_fault])
def test_a_lost_place_expires_the_cursor(code, make):
    with FakeExchange() as fake:
        connector = exchange_connector(fake)
        _, cursor = read_all(connector, LONG_AGO)
        fake.always = make(code)
        with pytest.raises(CursorExpired):
            connector.poll(cursor)


@pytest.mark.parametrize("code", ["ErrorItemNotFound", "ErrorInvalidIdMalformed", "ErrorInvalidId"])
@pytest.mark.parametrize("make", [faults.error, faults.soap_fault])
def test_a_lost_message_is_gone(code, make):
    with FakeExchange() as fake:
        item = fake.store.deliver(message())
        fake.always = make(code)
        with pytest.raises(MessageGone):
            exchange_connector(fake).fetch(item.id, 1000)


@pytest.mark.parametrize(
    "act",
    [
        faults.changed(b"<t:MimeContent", b"<t:Mime"),
        faults.changed(b"</t:MimeContent>", b"!</t:MimeContent>"),
        faults.changed(b"<m:Items>", b"<m:Items><t:Message/>"),
        faults.error("ErrorContentConversion"),
        faults.text(b""),
    ],
)
def test_content_that_cannot_be_read(act):
    with FakeExchange() as fake:
        item = fake.store.deliver(message())
        fake.always = lambda asked: act(asked) if b"MimeContent" in asked.request else asked.answer(asked.true_answer())
        with pytest.raises(Unavailable):
            exchange_connector(fake).fetch(item.id, 100_000)


SICK = faults.error("ErrorMimeContentConversionFailed")


def test_a_message_without_mime_is_put_together_from_its_properties():
    with FakeExchange() as fake:
        item = fake.store.deliver(
            message("Undelivered", body=b"550 5.1.1 no such user", Content_Type="multipart/mixed")
        )
        fake.faults[0] = SICK
        fetched = exchange_connector(fake).fetch(item.id, 100_000)
        found = message_from_bytes(fetched.raw)
        assert (found["Subject"], found.get_content_type()) == ("Undelivered", "text/plain")
        assert [found["Message-ID"]] == ids_of(item.raw)
        assert "550 5.1.1 no such user" in found.get_payload()
        fake.faults = {2: SICK, 3: faults.changed(b'PropertyTag="0x7d"', b'PropertyTag="0x7e"')}
        again = message_from_bytes(exchange_connector(fake).fetch(item.id, 100_000).raw)
        assert (again["Subject"], again["Message-ID"]) == (found["Subject"], found["Message-ID"])
        assert exchange_connector(fake).fetch(item.id, 10).truncated


def test_a_message_that_exchange_cannot_read_at_all_keeps_no_others_waiting():
    with FakeExchange(always=SICK) as fake:
        item = fake.store.deliver(message())
        with pytest.raises(MessageGone, match="passed over"):
            exchange_connector(fake).fetch(item.id, 1_000)


def test_an_answer_with_endless_other_things_is_no_content():
    with FakeExchange() as fake:
        item = fake.store.deliver(message())
        fake.always = lambda asked: asked.answer(
            asked.true_answer().replace(b"<m:Items>", b"<m:Items>" + b" " * 200_000)
        )
        with pytest.raises(Unavailable, match=r"absurdly large|isn't EWS"):
            exchange_connector(fake).fetch(item.id, 1_000)


def test_a_server_that_says_there_is_more_and_gives_nothing():
    lie = faults.changed(b"<m:IncludesLastItemInRange>true", b"<m:IncludesLastItemInRange>false")
    with FakeExchange() as fake:
        connector = exchange_connector(fake)
        _, cursor = read_all(connector, LONG_AGO)
        fake.always = lie
        with pytest.raises(Unavailable):
            connector.poll(cursor)


def test_a_listing_that_says_there_is_more_and_gives_nothing():
    with FakeExchange() as fake:
        fake.store.deliver(message())
        fake.faults[1] = lambda asked: asked.answer(
            answers.response("FindItem", [answers.success("FindItem", answers._root("<t:Items/>", 9**9, False))])
        )
        with pytest.raises(Unavailable):
            poll(fake)


def test_totals_are_not_believed():
    with FakeExchange() as fake:
        for raw in (raws := messages(3)):
            fake.store.deliver(raw)
        fake.faults[1] = faults.changed(b'TotalItemsInView="3"', b'TotalItemsInView="2000000000"')
        assert ids(poll(fake, read_timeout=5).envelopes) == ids_of(*raws)


def test_an_item_without_an_id_is_not_passed_over():
    with FakeExchange() as fake:
        fake.store.deliver(message())
        fake.faults[0] = faults.changed(b"<t:ItemId Id=", b"<t:ItemId No=")
        with pytest.raises(Unavailable):
            poll(fake)


def test_properties_that_are_too_large_are_asked_for_in_halves(monkeypatch):
    monkeypatch.setattr(_exchange_http.ExchangeSession.post, "__defaults__", (20_000,))
    with FakeExchange() as fake:
        huge = message("Huge", References="<x@y> " * 10_000)
        for raw in (raws := [*messages(20), huge]):
            fake.store.deliver(raw)
        found = poll(fake, read_timeout=5).envelopes
        assert len(found) == 21
        assert [each.headers for each in found if each.headers is None] == [None]
        assert ids(each for each in found if each.headers) == ids_of(*raws[:20])


def test_numbers_and_dates_that_are_none():
    with FakeExchange() as fake:
        fake.store.deliver(raw := message())

        def act(asked):
            body = asked.true_answer().replace(b"<t:Size>%d" % len(raw), b"<t:Size>-7")
            asked.answer(body.replace(b"<t:DateTimeReceived>2", b"<t:DateTimeReceived>99992"))

        fake.faults[2] = act
        (envelope,) = poll(fake, read_timeout=5).envelopes
        assert (envelope.size, envelope.received_at) == (None, None)


def test_parsing_is_strict_where_something_could_get_lost():
    whole = answers.response("SyncFolderItems", [answers.success("SyncFolderItems", "<m:SyncState>x</m:SyncState>")])
    assert parse(b"\xef\xbb\xbf" + whole) is not None
    for end in range(0, len(whole), 7):
        with pytest.raises(NotEws):
            parse(whole[:end])
