"""What Gmail alone has: history and labels, quota units, batches, tokens, and a search that chooses."""

import base64
import json
from datetime import UTC, datetime, timedelta
from random import Random

import pytest

from connectors import (
    AuthRequired,
    CursorExpired,
    GmailSettings,
    MessageGone,
    Misconfigured,
    Throttled,
    Unavailable,
    _gmail_http,
    _gmail_questions,
    _gmail_turn,
    connect,
    dial,
)
from connectors import gmail as provider
from connectors._gmail_cursor import whole_second
from connectors._gmail_http import client
from connectors._gmail_quota import Meter
from connectors.endpoint import endpoint
from tests.connectors.mailboxes import (
    LONG_AGO,
    Password,
    ago,
    gmail_connector,
    ids,
    ids_of,
    message,
    messages,
    read_all,
)
from tests.fakes.gmail import faults
from tests.fakes.gmail.answers import error
from tests.fakes.notices import dsn
from tests.fakes.tokens import FakeTokens, ok, refused
from tests.fakes.wire import Wire


def test_an_idle_poll_is_one_call_of_two_units(gmail):
    _, cursor = read_all(gmail.connector(), ago(days=1))
    gmail.fake.clear()
    gmail.connector().poll(cursor)
    assert (gmail.fake.names(), gmail.fake.requests, gmail.fake.units) == (["history.list"], 1, 2)


def test_a_first_poll_notes_the_history_before_it_lists(gmail):
    gmail.connector().poll(LONG_AGO)
    assert gmail.fake.names() == ["getProfile", "messages.list"]


def test_what_this_mailbox_wrote_is_not_looked_at_but_mail_to_oneself_is(gmail):
    connector = gmail.connector()
    _, cursor = read_all(connector, LONG_AGO)
    gmail.deliver(message("Sent"), ["SENT"])
    gmail.deliver(message("Draft"), ["DRAFT"])
    gmail.deliver(oneself := message("To myself"), ["SENT", "INBOX"])
    gmail.fake.clear()
    assert ids(read_all(connector, cursor)[0]) == ids_of(oneself)
    assert gmail.fake.units == 2 + 20
    assert ids(read_all(gmail.connector(), LONG_AGO)[0]) == ids_of(oneself)


@pytest.mark.parametrize("labels", [[], ["TRASH"], ["SPAM"], ["INBOX", "CATEGORY_PROMOTIONS"]])
def test_mail_is_found_wherever_a_filter_has_put_it(labels, gmail):
    connector = gmail.connector()
    _, cursor = read_all(connector, LONG_AGO)
    gmail.deliver(raw := message(), labels)
    assert ids(read_all(connector, cursor)[0]) == ids_of(raw)
    assert ids(read_all(gmail.connector(), LONG_AGO)[0]) == ids_of(raw)


def test_a_message_that_only_moves_is_not_told_again(gmail):
    connector = gmail.connector()
    ref = gmail.deliver(message(), ["INBOX"])
    _, cursor = read_all(connector, LONG_AGO)
    gmail.relabel(ref, add=["SPAM"], remove=["INBOX"])
    assert read_all(connector, cursor)[0] == []


def test_a_thread_is_told(gmail):
    gmail.deliver_all([first := message("Offer")])
    gmail.deliver_all([message("Re: Offer", In_Reply_To=ids_of(first)[0])])
    one, other = gmail.connector().poll(LONG_AGO).envelopes
    assert one.thread_id == other.thread_id is not None


def test_what_arrives_while_a_listing_goes_on_is_told_once(gmail, monkeypatch):
    monkeypatch.setattr(provider, "PAGE", 5)
    monkeypatch.setattr(_gmail_questions, "IDS", 8)
    gmail.deliver_all(old := messages(12))
    connector = gmail.connector()
    true_messages = connector._questions.messages

    def late(*args, **kwargs):
        if not meanwhile:  # after the history id was noted, before the listing
            meanwhile.extend(messages(2))
            gmail.deliver_all(meanwhile)
        return true_messages(*args, **kwargs)

    meanwhile: list[bytes] = []
    monkeypatch.setattr(connector._questions, "messages", late)
    found, _ = read_all(connector, LONG_AGO)
    assert ids(found) == ids_of(*old, *meanwhile)


def test_a_history_of_many_pages_goes_on_by_the_cursor(gmail, monkeypatch):
    monkeypatch.setattr(_gmail_questions, "IDS", 10)
    _, cursor = read_all(gmail.connector(), LONG_AGO)
    gmail.deliver_all(raws := messages(25))
    page = gmail.connector().poll(cursor)
    assert (len(page.envelopes), page.has_more) == (10, True)
    rest, _ = read_all(gmail.connector(), page.cursor)
    assert ids([*page.envelopes, *rest]) == ids_of(*raws)


@pytest.mark.parametrize("prefilter", [False, True])
def test_a_page_token_that_has_died_costs_nothing_but_time(prefilter, gmail, monkeypatch):
    monkeypatch.setattr(_gmail_questions, "IDS", 10)
    _, cursor = read_all(gmail.connector(), LONG_AGO)
    gmail.deliver_all(raws := [message("Undeliverable") for _ in range(25)])
    page = gmail.connector(prefilter=prefilter).poll(cursor)
    gmail.fake.answers.expire_tokens()
    rest, _ = read_all(gmail.connector(prefilter=prefilter), page.cursor)
    refs = [each.ref for each in [*page.envelopes, *rest]]
    assert len(refs) == len(set(refs)) == len(raws)


def test_a_listing_whose_token_has_died_begins_anew_and_skips_nothing(gmail, monkeypatch):
    monkeypatch.setattr(_gmail_questions, "IDS", 10)
    gmail.deliver_all(raws := messages(25))
    page = gmail.connector().poll(LONG_AGO)
    gmail.fake.answers.expire_tokens()
    rest, _ = read_all(gmail.connector(), page.cursor)
    assert set(ids([*page.envelopes, *rest])) == set(ids_of(*raws))


def test_a_history_that_gmail_has_forgotten_has_expired(gmail):
    _, cursor = read_all(gmail.connector(), LONG_AGO)
    gmail.deliver_all([raw := message()])
    gmail.fake.answers.expire_history()
    with pytest.raises(CursorExpired):
        gmail.connector().poll(cursor)
    found, cursor = read_all(gmail.connector(), ago(days=1))
    assert ids(found) == ids_of(raw)
    assert read_all(gmail.connector(), cursor)[0] == []


def test_a_page_that_cannot_be_asked_for_is_an_outage(gmail):
    _, cursor = read_all(gmail.connector(), LONG_AGO)
    gmail.fake.always = faults.text(json.dumps({"historyId": "9", "nextPageToken": "\ud800"}).encode())
    with pytest.raises(Unavailable):
        gmail.connector().poll(gmail.connector().poll(cursor).cursor)


@pytest.mark.parametrize("name", ["the same", "another"])
def test_pages_that_go_round_in_circles_come_to_an_end(name, gmail, monkeypatch):
    monkeypatch.setattr(_gmail_turn, "ASKED_LIMIT", 20)
    _, cursor = read_all(gmail.connector(), LONG_AGO)
    tokens = iter("ab" * 100) if name == "another" else iter("a" * 100)

    def act(asked) -> None:
        asked.answer(json.dumps({"historyId": "9", "nextPageToken": next(tokens)}).encode())

    def read_on() -> None:
        reached = cursor
        for _ in range(20):
            reached = gmail.connector().poll(reached).cursor

    gmail.fake.always = act
    with pytest.raises((CursorExpired, Unavailable)) as caught:
        read_on()
    assert caught.type is (Unavailable if name == "the same" else CursorExpired)
    assert gmail.fake.requests < 40


@pytest.mark.parametrize(
    "fields",
    [
        {"history": "x"},
        {"history": "1", "since": "yesterday"},
        {"history": "1", "todo": {"../x": "t"}},
        {"history": "1", "todo": ["a"]},
        {"history": "1", "seen": [1]},
        {"history": "1", "awaited": [[1]]},
        {"history": "1", "again": 7},
        {"history": 5},
    ],
)
def test_a_cursor_with_nonsense_in_it_has_expired(fields, gmail):
    with pytest.raises(CursorExpired):
        gmail.connector().poll(json.dumps(fields))


def test_what_is_refused_inside_a_batch_waits_in_the_cursor(gmail):
    _, cursor = read_all(gmail.connector(), LONG_AGO)
    gmail.deliver_all(raws := messages(8))
    busy = gmail.ref(raws[3])
    gmail.fake.inner[busy] = error(429, "No.", "rateLimitExceeded")
    page = gmail.connector().poll(cursor)
    assert (len(page.envelopes), page.has_more) == (7, True)
    with pytest.raises(Throttled):
        gmail.connector().poll(page.cursor)
    gmail.fake.inner.clear()
    assert ids(read_all(gmail.connector(), page.cursor)[0]) == ids_of(raws[3])


def test_a_message_that_gmail_itself_cannot_read_does_not_keep_the_others_waiting(gmail):
    _, cursor = read_all(gmail.connector(), LONG_AGO)
    gmail.deliver_all(raws := messages(8))
    broken = gmail.ref(raws[3])
    gmail.fake.inner[broken] = error(500, "No.", "backendError")
    found, cursor = read_all(gmail.connector(), cursor)
    assert [each.ref for each in found if each.headers is None] == [broken]
    assert len(found) == 8
    assert read_all(gmail.connector(), cursor)[0] == []


def test_a_header_too_large_to_be_read_keeps_nobody_waiting(gmail, monkeypatch):
    monkeypatch.setattr(_gmail_http, "ANSWER_LIMIT", 20_000)
    _, cursor = read_all(gmail.connector(), LONG_AGO)
    large = message(To=",\r\n ".join(f"someone-{number}@a-rather-long-domain.test" for number in range(1_000)))
    raws = messages(5)
    gmail.deliver_all([*raws[:3], large, *raws[3:]])
    found, _ = read_all(gmail.connector(), cursor)
    assert ids(each for each in found if each.headers) == ids_of(*raws)
    assert [each.ref for each in found if each.headers is None] == [gmail.ref(large)]


def test_a_fetch_reads_no_more_than_was_asked_for(gmail):
    gmail.deliver_all([raw := message(body=base64.encodebytes(Random(1).randbytes(2_000_000)))])
    wire = Wire()
    connector = gmail_connector(gmail.fake, dial=wire)
    (envelope,) = connector.poll(LONG_AGO).envelopes
    wire.take()
    fetched = connector.fetch(envelope.ref, 50_000)
    assert (fetched.raw, fetched.truncated) == (raw[:50_000], True)
    assert wire.take().received < 1_000_000  # what was on its way, of nearly three megabytes
    assert connector.poll(LONG_AGO).envelopes  # on a connection of its own: the rest of that answer isn't read


def test_an_id_that_gmail_finds_strange_is_gone(gmail):
    gmail.fake.always = faults.refuse(400, "invalidArgument", "Invalid id value")
    with pytest.raises(MessageGone):
        gmail.connector().fetch("18c1", 100)
    gmail.fake.always = faults.refuse(400, "failedPrecondition")
    with pytest.raises(Misconfigured):
        gmail.connector().fetch("18c1", 100)


def test_labels_are_shown_as_folders(gmail):
    found = {folder.name: folder for folder in gmail.connector().folders()}
    assert {name: folder.polled for name, folder in found.items()} == {
        "INBOX": True,
        "SPAM": True,
        "TRASH": True,
        "SENT": False,
        "DRAFT": False,
    }


class TestQuota:
    def test_a_poll_looks_at_no_more_than_there_is_room_for_and_the_next_one_waits(self, gmail):
        _, cursor = read_all(gmail.connector(), ago(days=1))
        gmail.deliver_all(raws := messages(40))
        connector = gmail.connector(units_per_minute=6 + 2 + 20 * 25)  # 6 were for the first poll
        page = connector.poll(cursor)
        assert (len(page.envelopes), page.has_more) == (25, True)
        with pytest.raises(Throttled) as caught:
            connector.poll(page.cursor)
        assert timedelta(seconds=1) <= caught.value.retry_after <= timedelta(seconds=60)
        assert "units a minute" in str(caught.value)
        found, _ = read_all(gmail.connector(), page.cursor)
        assert ids([*page.envelopes, *found]) == ids_of(*raws)

    def test_all_connectors_of_a_mailbox_share_its_quota(self, gmail):
        for _ in range(3):
            gmail.connector(units_per_minute=18).poll(ago(days=1))
        with pytest.raises(Throttled):
            gmail.connector(units_per_minute=18).poll(ago(days=1))

    def test_a_quota_too_small_for_one_message_is_a_setting_to_correct(self, gmail):
        gmail.deliver_all(messages(1))
        page = gmail.connector(units_per_minute=19).poll(LONG_AGO)
        assert (page.envelopes, page.has_more) == ((), True)
        with pytest.raises(Misconfigured, match="units_per_minute"):
            gmail.connector(units_per_minute=19).poll(page.cursor)

    def test_a_meter_forgets_after_a_minute(self):
        now = 0.0
        meter = Meter(100, clock=lambda: now)
        meter.spend(60)
        now = 20.0
        meter.spend(40)
        with pytest.raises(Throttled) as caught:
            meter.spend(1)
        assert caught.value.retry_after == timedelta(seconds=40)
        with pytest.raises(Throttled) as caught:
            meter.spend(61)
        assert caught.value.retry_after == timedelta(seconds=60)
        now = 60.0
        meter.spend(60)
        assert meter.room() == 0

    def test_the_sent_folder_is_read_as_far_as_a_minute_goes(self, gmail):
        gmail.deliver_all(messages(8), "Sent", ago(hours=1))
        connector = gmail.connector(units_per_minute=5 + 20 * 5)
        assert len(connector.sent(ago(hours=2), ago())) == 5
        with pytest.raises(Throttled):
            connector.sent(ago(hours=2), ago())

    def test_more_sent_mail_than_a_minute_has_room_for_is_read_as_far_as_it_goes(self, gmail):
        gmail.deliver_all(messages(12), "Sent", ago(hours=1))
        connector = gmail.connector(units_per_minute=20 * 10)  # all of it is never free: the search costs some
        assert len(connector.sent(ago(hours=2), ago())) == 9
        with pytest.raises(Throttled):
            connector.sent(ago(hours=2), ago())

    def test_a_small_quota_is_waited_for_where_a_page_is_larger(self, gmail):
        gmail.deliver_all(messages(12))
        connector = gmail.connector(units_per_minute=100)
        page = connector.poll(LONG_AGO)
        assert (len(page.envelopes), page.has_more) == (4, True)
        with pytest.raises(Throttled):
            connector.poll(page.cursor)


class TestSignIn:
    def test_a_refused_token_is_renewed_once(self, gmail, tmp_path):
        issued = iter(["new", "newer"])
        with FakeTokens(tmp_path, lambda form: ok(access_token=next(issued), expires_in=3600)) as tokens:
            gmail.fake.tokens = {"new"}
            store = Grant(tokens.google(access_token="old", expires_at=4e9))
            connector = connector_with(gmail, store, ca_file=tokens.ca_file)
            connector.poll(ago(days=1))
            assert json.loads(store.secret)["access_token"] == "new"
            assert [form["grant_type"] for form in tokens.forms] == ["refresh_token"]
            gmail.fake.tokens = {"revoked"}
            with pytest.raises(AuthRequired, match="connect the inbox again"):
                connector.poll(ago(days=1))
            assert len(tokens.forms) == 2

    def test_a_token_that_dies_inside_a_batch_is_renewed_too(self, gmail, tmp_path):
        gmail.deliver_all(raws := messages(3))
        gmail.fake.tokens = {"old", "new"}
        gmail.fake.faults = {2: faults.inside(401, "authError"), 3: faults.inside(401, "authError", 1)}
        with FakeTokens(tmp_path, lambda form: ok(access_token="new", expires_in=3600)) as tokens:
            store = Grant(tokens.google(access_token="old", expires_at=4e9))
            found = connector_with(gmail, store, ca_file=tokens.ca_file).poll(LONG_AGO).envelopes
        assert ids(found) == ids_of(*raws)
        assert gmail.fake.headers[-1]["authorization"] == "Bearer new"

    def test_a_poll_renews_no_more_than_once(self, gmail, tmp_path):
        gmail.fake.tokens = {"old", "new"}
        gmail.fake.faults = {0: faults.refuse(401, "authError"), 2: faults.refuse(401, "authError")}
        with FakeTokens(tmp_path, lambda form: ok(access_token="new", expires_in=3600)) as tokens:
            store = Grant(tokens.google(access_token="old", expires_at=4e9))
            connector = connector_with(gmail, store, ca_file=tokens.ca_file)
            with pytest.raises(AuthRequired):
                connector.poll(ago(days=1))
            assert len(tokens.forms) == 1

    def test_a_sign_in_that_was_revoked_needs_a_person(self, gmail, tmp_path):
        with FakeTokens(tmp_path, lambda form: refused("invalid_grant")) as tokens:
            connector = connector_with(gmail, Grant(tokens.google()), ca_file=tokens.ca_file)
            with pytest.raises(AuthRequired, match="connect the inbox again"):
                connector.poll(ago(days=1))

    def test_somebody_elses_mailbox_is_not_read(self, gmail):
        with pytest.raises(Misconfigured, match=r"leads to the mailbox user\d+@sender.test and not to bob@sender.test"):
            gmail.connector(address="bob@sender.test").poll(ago(days=1))
        assert gmail.fake.names() == ["getProfile"]

    @pytest.mark.parametrize("address", ["alice", "", "a\n@b.test"])
    def test_what_is_no_address_is_a_setting_to_correct(self, address, gmail):
        with pytest.raises(Misconfigured):
            gmail.connector(address=address).poll(ago(days=1))

    @pytest.mark.parametrize(
        ("one", "other", "same"),
        [
            ("Al.Ice@gmail.com", "alice@googlemail.com", True),
            ("alice+crm@gmail.com", "alice@gmail.com", True),
            ("al.ice@acme.test", "alice@acme.test", False),
            ("ALICE@acme.test", "alice@acme.test", True),
        ],
    )
    def test_addresses_are_compared_as_gmail_does(self, one, other, same):
        assert (provider._plain(one) == provider._plain(other)) is same

    def test_no_error_shows_the_token(self, gmail):
        gmail.fake.tokens = set()
        connector = gmail.connector(token="s3cret-token")
        with pytest.raises(AuthRequired) as caught:
            connector.poll(ago(days=1))
        error: BaseException | None = caught.value
        while error is not None:
            assert "s3cret" not in f"{error!r} {error}"
            error = error.__cause__ or error.__context__


class TestPrefilter:
    def test_only_what_the_search_finds_is_handed_out_and_ordinary_mail_costs_seven_units(self, gmail):
        connector = gmail.connector(prefilter=True)
        page = connector.poll(ago(days=1))
        assert page.prefiltered
        gmail.deliver_all(messages(100))
        gmail.fake.clear()
        page = connector.poll(page.cursor)
        assert (page.envelopes, page.has_more, gmail.fake.units) == ((), False, 7)
        gmail.deliver_all([raw := dsn("send-1@crm.example")])
        (envelope,) = connector.poll(page.cursor).envelopes
        assert (envelope.ref, envelope.headers) == (gmail.ref(raw), None)
        assert envelope.thread_id
        assert connector.fetch(envelope.ref, 100_000).raw == raw

    def test_what_was_there_before_is_searched_for_too(self, gmail):
        gmail.deliver_all([*messages(5), notice := dsn("send-1@crm.example")])
        found, cursor = read_all(gmail.connector(prefilter=True), LONG_AGO)
        assert [each.ref for each in found] == [gmail.ref(notice)]
        assert read_all(gmail.connector(prefilter=True), cursor)[0] == []

    def test_a_notice_that_the_index_learns_of_late_is_found_late_and_once(self, gmail):
        connector, clock = clocked(gmail, prefilter=True)
        cursor = connector.poll(ago(days=1)).cursor
        gmail.deliver_all([*messages(3), notice := dsn("send-1@crm.example")])
        gmail.fake.answers.unindexed = {ref := gmail.ref(notice)}
        cursor, found = polled(connector, cursor)
        assert found == []
        clock.now += 5 * 60
        gmail.fake.answers.unindexed = set()
        cursor, found = polled(connector, cursor)
        assert found == [ref]
        for _ in range(3):
            clock.now += 10 * 60
            cursor, found = polled(connector, cursor)
            assert found == []
        gmail.fake.clear()
        polled(connector, cursor)
        assert gmail.fake.names() == ["history.list"]  # nothing is awaited any more

    def test_an_outage_of_days_is_searched_as_far_back_as_it_was(self, gmail):
        connector, clock = clocked(gmail, prefilter=True)
        cursor = connector.poll(ago(days=1)).cursor
        gmail.deliver_all([notice := dsn("send-1@crm.example")])
        clock.now += 3 * 86_400
        assert polled(connector, cursor)[1] == [gmail.ref(notice)]

    def test_where_there_are_more_hits_than_can_be_listed_all_that_is_new_is_looked_at(self, gmail, monkeypatch):
        monkeypatch.setattr(_gmail_questions, "IDS", 2)
        connector = gmail.connector(prefilter=True)
        gmail.deliver_all([dsn(f"send-{number}@crm.example", own_id=f"{number}@mx.test") for number in range(12)])
        cursor = connector.poll(ago(minutes=-1)).cursor
        gmail.deliver_all([raw := message("Letter")])
        assert polled(connector, cursor)[1] == [gmail.ref(raw)]


@pytest.mark.parametrize("prefilter", [False, True])
def test_what_the_first_listing_could_not_know_is_listed_once_more(prefilter, gmail):
    connector, clock = clocked(gmail, prefilter=prefilter)
    known, late = (dsn(f"send-{number}@crm.example", own_id=f"{number}@mx.test") for number in range(2))
    gmail.deliver_all([known, late])
    refs = {gmail.ref(known), gmail.ref(late)}
    gmail.fake.answers.unindexed = {gmail.ref(late)}
    page = connector.poll(ago(days=1))
    assert {each.ref for each in page.envelopes} == refs - gmail.fake.answers.unindexed
    gmail.fake.answers.unindexed = set()
    gmail.deliver_all([new := dsn("send-3@crm.example", own_id="3@mx.test")])
    cursor, found = polled(connector, page.cursor)
    assert found == [gmail.ref(new)]
    clock.now += 20 * 60
    cursor, found = polled(connector, cursor)
    assert found == [gmail.ref(late)]
    clock.now += 20 * 60
    assert polled(connector, cursor)[1] == []


@pytest.mark.parametrize("act", [faults.drip, faults.endless], ids=["drips", "never ends"])
def test_an_answer_without_end_comes_to_one(act, gmail, monkeypatch):
    monkeypatch.setattr(_gmail_http, "REQUEST_LIMIT", 0.3)
    monkeypatch.setattr(_gmail_http, "ANSWER_LIMIT", 1_000_000)
    gmail.fake.always = act
    with pytest.raises(Unavailable):
        gmail.connector().poll(ago(days=1))


def test_no_request_begins_once_a_poll_has_taken_too_long(gmail, monkeypatch):
    monkeypatch.setattr(_gmail_http, "CALL_LIMIT", 0.0)
    with pytest.raises(Unavailable, match="too slow"):
        gmail.connector().poll(ago(days=1))
    assert gmail.fake.requests == 0


def test_answers_are_asked_for_small_and_packed(gmail):
    gmail.deliver_all(messages(1))
    gmail.connector().poll(LONG_AGO)
    assert all(any(key == "fields" for key, _ in call.query) for call in gmail.fake.calls)
    sent = [{name.lower(): value for name, value in each.items()} for each in gmail.fake.headers]
    assert all("gzip" in each["accept-encoding"] and "gzip" in each["user-agent"] for each in sent)


def test_a_poll_keeps_its_connection(gmail):
    gmail.deliver_all(messages(120))
    read_all(gmail.connector(), LONG_AGO)
    assert gmail.fake.connections == 1
    assert gmail.fake.requests > 4


def test_the_client_is_made_once_and_asks_nobody_how(gmail):
    before = client.cache_info().misses
    for _ in range(3):
        gmail.connector().poll(ago(days=1))
    assert client.cache_info().misses <= before + 1


def test_settings_lead_to_this_connector_and_to_its_server():
    settings = GmailSettings(address="alice@acme.test")
    connector = connect(settings, Password("{}"))
    assert isinstance(connector, provider.GmailConnector)
    place = endpoint(settings)
    assert (str(place), place.tls) == ("gmail.googleapis.com:443", True)


@pytest.mark.parametrize(
    ("moment", "second"),
    [
        (datetime(1970, 1, 1, 0, 0, 1, 999_999, tzinfo=UTC), 1),
        (datetime.min.replace(tzinfo=UTC), 0),
        (datetime(1, 1, 1, tzinfo=UTC) + timedelta(hours=1), 0),
        (datetime.max.replace(tzinfo=UTC), 253402300799),
        (datetime(1960, 1, 1, tzinfo=UTC), 0),
    ],
)
def test_a_moment_is_a_second_since_1970(moment, second):
    assert whole_second(moment) == second


class Grant:
    """A `CredentialStore` that keeps what it is given."""

    def __init__(self, grant: dict) -> None:
        self.secret, self.version = json.dumps(grant), 1

    def load(self) -> tuple[str, int]:
        return self.secret, self.version

    def save(self, secret: str, expected_version: int) -> int:
        assert expected_version == self.version
        self.secret, self.version = secret, self.version + 1
        return self.version


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = datetime.now(UTC).timestamp()

    def __call__(self) -> float:
        return self.now


def clocked(gmail, **changes):
    connector, clock = gmail.connector(**changes), Clock()
    connector._clock = clock
    return connector, clock


def connector_with(gmail, store, **changes):
    where = {"api": gmail.fake.url, "address": gmail.fake.mailbox.address, "read_timeout": 5.0}
    connector = connect(GmailSettings(**where | changes), store, dial)
    gmail.fake.clients.append(connector)
    return connector


def polled(connector, cursor):
    found, cursor = read_all(connector, cursor)
    return cursor, [each.ref for each in found]
