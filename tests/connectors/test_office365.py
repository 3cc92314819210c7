"""What is Microsoft Graph's own: links, immutable ids, rounds, limits. The rest is in test_contract."""

import json
from datetime import timedelta
from urllib.parse import urlsplit

import pytest

from connectors import (
    CursorExpired,
    Folder,
    FolderRole,
    MessageGone,
    Misconfigured,
    Unavailable,
    _graph_cursor,
    _graph_folders,
    _graph_http,
    _graph_messages,
    office365,
)
from connectors._graph_cursor import Reading
from connectors._graph_items import envelope
from tests.connectors.mailboxes import (
    Office365Mailbox,
    ago,
    ids,
    ids_of,
    message,
    messages,
    office365_connector,
    pages,
    read_all,
)
from tests.fakes.graph import faults
from tests.fakes.graph.server import FakeGraph
from tests.fakes.notices import dsn
from worker.screen import screen


@pytest.fixture
def fake():
    with FakeGraph() as fake:
        yield fake


@pytest.fixture
def mailbox(fake):
    return Office365Mailbox(fake)


def links(cursor: str) -> list[str]:
    return [place.link for place in Reading.from_cursor(cursor).places.values() if place.link]


def linked(cursor: str, change) -> str:
    """Return a cursor with other links."""
    fields = json.loads(cursor)
    for place in fields["folders"].values():
        place["link"] = change(place["link"])
    return json.dumps(fields)


# Links and rounds


def test_options_are_for_the_first_request_and_links_are_used_as_they_came(mailbox):
    connector = mailbox.connector()
    mailbox.deliver_all(messages(150))
    first = connector.poll(ago(days=1))
    assert all("changeType=created" in each and "$filter" in each for each in mailbox.fake.targets)
    mailbox.fake.clear()
    rest = connector.poll(first.cursor)
    assert [each.removeprefix(mailbox.fake.api) for each in links(first.cursor)] == mailbox.fake.targets[:1]
    assert len(first.envelopes) + len(rest.envelopes) == 150


def test_an_idle_poll_asks_once_for_each_folder(mailbox):
    connector = mailbox.connector()
    _, cursor = read_all(connector, ago(days=1))
    mailbox.fake.clear()
    for _ in range(3):
        page = connector.poll(cursor)
        assert (page.envelopes, page.has_more) == ((), False)
        cursor = page.cursor
    assert (mailbox.fake.requests, mailbox.fake.connections) == (9, 0)


@pytest.mark.parametrize(
    "foreign",
    [
        "https://evil.example/v1.0/users/a/messages",
        "http://127.0.0.1:1/v1.0/users/a/messages",
        "//evil.example/v1.0/x",
        "http://user@127.0.0.1/v1.0/x",
        "file:///etc/passwd",
        "http://[::1/v1.0/x",
        "http://127.0.0.1/v1.0/a\r\nHost: evil.example",
        "nonsense",
    ],
)
def test_a_cursor_sends_the_token_nowhere_else(mailbox, foreign):
    connector = mailbox.connector()
    cursor = connector.poll(ago(days=1)).cursor
    mailbox.fake.clear()
    asked = []

    def watch(host, port, timeout):
        asked.append(host)
        raise OSError

    with pytest.raises(CursorExpired, match="another address"):
        office365_connector(mailbox.fake, dial=watch).poll(linked(cursor, lambda _: foreign))
    assert (asked, mailbox.fake.requests) == ([], 0)


def test_a_cursor_does_not_leave_the_api_on_its_own_host(mailbox):
    cursor = mailbox.connector().poll(ago(days=1)).cursor
    with pytest.raises(CursorExpired):
        mailbox.connector().poll(linked(cursor, lambda link: link.replace("/v1.0/", "/elsewhere/")))


@pytest.mark.parametrize("name", [b"@odata.nextLink", b"@odata.deltaLink"])
def test_a_server_does_not_send_the_token_elsewhere(fake, name):
    fake.store.deliver(message())
    page = b'{"value": [], "%s": "https://graph.evil.example/v1.0/x"}' % name
    fake.faults[0] = faults.text(page)
    with pytest.raises(Misconfigured, match="another address"):
        office365_connector(fake).poll(ago(days=1))
    assert fake.requests == 1


def test_what_is_told_twice_in_a_round_comes_once_a_page_and_under_the_same_reference(mailbox):
    mailbox.fake.store.repeats = True
    mailbox.deliver_all(raws := messages(150))
    found, _ = read_all(mailbox.connector(), ago(days=1))
    assert set(ids(found)) == set(ids_of(*raws))
    assert len({each.ref for each in found}) == 150
    for envelopes, _ in pages(mailbox.connector(), ago(days=1)):
        assert len({each.ref for each in envelopes}) == len(envelopes)


def test_what_is_removed_is_no_mail(mailbox):
    mailbox.deliver_all(raws := messages(130))
    connector = mailbox.connector()
    first = connector.poll(ago(days=1))
    told = set(ids(first.envelopes))
    gone = next(raw for raw in raws if ids_of(raw)[0] not in told)
    mailbox.remove(gone)  # the next page of the fake still names it, as @removed
    rest, _ = read_all(connector, first.cursor)
    assert ids([*first.envelopes, *rest]) == ids_of(*(raw for raw in raws if raw is not gone))
    assert all("/delta" in each for each in mailbox.fake.targets)


def test_pages_without_a_message_are_followed_to_those_that_have_some(mailbox):
    mailbox.fake.store.empty_pages = 3
    mailbox.deliver_all(raws := messages(120))
    connector = mailbox.connector()
    first = connector.poll(ago(days=1))
    assert len(first.envelopes) == 100
    rest, cursor = read_all(connector, first.cursor)
    assert ids([*first.envelopes, *rest]) == ids_of(*raws)
    assert read_all(connector, cursor)[0] == []


def test_a_poll_does_not_follow_empty_pages_for_ever(mailbox):
    mailbox.fake.store.empty_pages = 1_000
    page = mailbox.connector().poll(ago(days=1))
    assert (page.envelopes, page.has_more) == ((), True)
    assert mailbox.fake.requests == 3 * office365.EMPTY_PAGES


def test_a_slow_server_is_left_with_what_there_is(mailbox, monkeypatch):
    monkeypatch.setattr(office365, "LONG_ENOUGH", -1.0)
    mailbox.deliver_all(messages(3))
    page = mailbox.connector().poll(ago(days=1))
    assert page.has_more
    assert mailbox.fake.requests == 0


@pytest.mark.parametrize("before", [0, 1, 5])
@pytest.mark.parametrize("length", [1, 2, 3, 7])
def test_links_that_lead_in_a_circle_end(fake, length, before):
    connector = office365_connector(fake, folders=("inbox",))
    place = f"{fake.api}/v1.0/users('alice')/mailFolders('inbox')/messages/delta?$skiptoken="

    def circle(asked):
        number = fake.requests - 1 if fake.requests <= before else before + (fake.requests - 1 - before) % length
        body = json.dumps({"value": [], "@odata.nextLink": f"{place}{number}"})
        asked.reply((200, {}, body.encode()))

    fake.always = circle
    with pytest.raises(CursorExpired, match="circle"):
        read_all(connector, ago(days=1))
    assert fake.requests < 50


def test_one_that_the_server_forgot_has_expired_and_all_is_found_again(mailbox):
    mailbox.deliver_all(raws := messages(3))
    connector = mailbox.connector()
    _, cursor = read_all(connector, ago(days=1))
    mailbox.fake.store.expire()
    with pytest.raises(CursorExpired):
        connector.poll(cursor)
    assert ids(read_all(connector, ago(days=1))[0]) == ids_of(*raws)


# Ids


def test_a_reference_outlives_a_move(mailbox):
    store = mailbox.fake.store
    item = store.deliver(raw := message())
    connector = mailbox.connector()
    page = connector.poll(ago(days=1))
    item = store.move(item, "Deleted Items")
    assert connector.fetch(page.envelopes[0].ref, 10_000).raw == raw
    store.move(item, "junkemail")
    again = connector.poll(page.cursor)
    assert [each.ref for each in again.envelopes] == [page.envelopes[0].ref]


def test_references_differ_by_case(mailbox):
    mailbox.deliver_all([message()])
    (found,) = mailbox.connector().poll(ago(days=1)).envelopes
    with pytest.raises(MessageGone):
        mailbox.connector().fetch(found.ref.swapcase(), 1_000)


@pytest.mark.parametrize("ref", ["", ".", "..", "../..", "../mailFolders"])
def test_a_reference_leads_to_nothing_but_a_message(mailbox, ref):
    with pytest.raises(MessageGone):
        mailbox.connector().fetch(ref, 1_000)
    assert all(urlsplit(each).path.endswith("/$value") for each in mailbox.fake.targets)
    assert all(urlsplit(each).path.count("/") == 6 for each in mailbox.fake.targets)


@pytest.mark.parametrize("address", ["o'hara@sender.test", "a#b@sender.test", "a/../b@sender.test", "å@sender.test"])
def test_any_address_stays_one_part_of_the_path(address):
    with FakeGraph() as fake:
        fake.store.address = address
        fake.store.deliver(raw := message())
        assert ids(read_all(office365_connector(fake), ago(days=1))[0]) == ids_of(raw)


@pytest.mark.parametrize("address", ["alice", "", "a\r\nb@x.test"])
def test_what_is_no_address_is_never_asked_for(mailbox, address):
    with pytest.raises(Misconfigured, match="no mailbox of Microsoft 365"):
        mailbox.connector(address=address).poll(ago(days=1))
    assert mailbox.fake.requests == 0


# The limit of filtered queries


@pytest.fixture
def limited(mailbox, monkeypatch):
    """A mailbox whose filtered queries tell 60 messages at most, and pages of 10."""
    monkeypatch.setattr(_graph_cursor, "NEARLY_ALL", 50)
    for module in (office365, _graph_messages):
        monkeypatch.setattr(module, "PAGE", 10)
    mailbox.fake.store.filtered_limit = 60
    return mailbox


@pytest.mark.parametrize("count", [45, 60, 61, 150])
def test_more_messages_than_a_filtered_query_tells_are_all_found(limited, count):
    raws = messages(count)
    for number, raw in enumerate(raws):
        limited.deliver_all([raw], at=ago(days=20, minutes=number // 3))  # three in each second
    limited.deliver_all([message("Too old")], at=ago(days=40))
    connector = limited.connector()
    found, cursor = read_all(connector, ago(days=30))
    assert set(ids(found)) == set(ids_of(*raws))
    limited.deliver_all([new := message()])
    assert ids(read_all(connector, cursor)[0]) == ids_of(new)


def test_a_listing_tells_each_message_once(limited):
    raws = messages(150)
    for number, raw in enumerate(raws):
        limited.deliver_all([raw], at=ago(days=20, hours=-8 * (number // 3)))
    found, _ = read_all(limited.connector(), ago(days=30))
    # The first query tells 60, the listing all, and the second query those of a day before the newest of the 60.
    assert 60 + 150 <= len(found) <= 60 + 150 + 30
    assert set(ids(found)) == set(ids_of(*raws))


def test_a_message_from_the_future_hides_nothing(limited):
    limited.deliver_all([message("From the future")], at=ago(days=-400))
    limited.deliver_all(messages(70), at=ago(days=9))
    connector = limited.connector()
    _, cursor = read_all(connector, ago(days=30))
    limited.deliver_all([raw := message()])
    assert ids(read_all(connector, cursor)[0]) == ids_of(raw)


def test_as_many_in_one_day_are_all_found_and_it_ends(limited):
    limited.deliver_all(raws := messages(150), at=ago(hours=2))
    found, cursor = read_all(limited.connector(), ago(hours=12))
    assert set(ids(found)) == set(ids_of(*raws))
    assert read_all(limited.connector(), cursor)[0] == []


def test_as_many_after_an_outage_are_all_found(limited):
    connector = limited.connector()
    _, cursor = read_all(connector, ago(days=30))
    limited.deliver_all(raws := messages(150), at=ago(minutes=5))
    found, cursor = read_all(connector, cursor)
    assert set(ids(found)) == set(ids_of(*raws))
    assert read_all(connector, cursor)[0] == []


def test_as_many_over_time_are_all_found(limited):
    connector = limited.connector()
    found, cursor = read_all(connector, ago(days=30))
    raws = messages(200)
    for start in range(0, 200, 8):
        limited.deliver_all(raws[start : start + 8], at=ago(minutes=200 - start))
        new, cursor = read_all(connector, cursor)
        found += new
    assert set(ids(found)) == set(ids_of(*raws))


def test_deletions_while_a_folder_is_listed_hide_nothing(limited):
    items = [limited.fake.store.deliver(message(f"{number}"), at=ago(days=9, minutes=-number)) for number in range(150)]
    connector = limited.connector()
    found: list[str] = []
    since, gone = ago(days=30), 0
    for _ in range(100):
        page = connector.poll(since)
        found += ids(page.envelopes)
        since = page.cursor
        if not page.has_more:
            break
        if '"backlog"' in since and gone < 40:
            limited.fake.store.delete(items[gone])
            gone += 1
    assert gone > 5
    assert set(found) >= set(ids_of(*(each.raw for each in items[gone:])))


# Sizes


def test_headers_too_large_for_one_answer_are_asked_for_in_smaller_pages(mailbox, monkeypatch):
    monkeypatch.setattr(_graph_http, "ANSWER_LIMIT", 60_000)
    crowd = ",\r\n ".join(f"someone-{number}@a-rather-long-domain.test" for number in range(40))
    mailbox.deliver_all(raws := [message(f"{number}", To=crowd) for number in range(120)])
    found, _ = read_all(mailbox.connector(), ago(days=1))
    assert ids(found) == ids_of(*raws)


def test_one_message_that_is_too_large_for_an_answer_is_an_outage_not_a_loss(mailbox, monkeypatch):
    monkeypatch.setattr(_graph_http, "ANSWER_LIMIT", 1_000)
    mailbox.deliver_all([message(To=",\r\n ".join(f"{number}@x.test" for number in range(500)))])
    with pytest.raises(Unavailable, match="absurdly large"):
        mailbox.connector().poll(ago(days=1))


def test_no_body_is_read_by_a_poll(mailbox):
    mailbox.deliver_all([message(body=b"secret text")])
    seen = []
    mailbox.fake.always = faults.changed(lambda body: seen.append(body) or body)
    (found,) = mailbox.connector().poll(ago(days=1)).envelopes
    assert b"secret text" not in b"".join(seen)
    assert found.thread_id
    assert "secret" not in repr(found)


# Headers and classes


def test_a_report_without_a_header_is_known_by_its_class(mailbox):
    mailbox.fake.store.deliver(dsn(), has_headers=False)
    mailbox.fake.store.deliver(message(), has_headers=False)
    report, ordinary = sorted(mailbox.connector().poll(ago(days=1)).envelopes, key=screen, reverse=True)
    assert report.item_class == "REPORT.IPM.Note.NDR"
    assert (screen(report), screen(ordinary)) == (True, False)
    assert ordinary.headers["from"] == "Bob <bob@customer.test>"


def without(name: str):
    """Return a fault by which a delta query leaves out a property; what is asked of one message stays."""

    def act(asked):
        status, headers, body = asked.true_answer()
        told = json.loads(body)
        if "/delta" in asked.request.path:
            for each in told["value"]:
                for gone in name.split(","):
                    each.pop(gone, None)
        asked.reply((status, headers, json.dumps(told).encode()))

    return act


def test_where_a_delta_query_leaves_out_the_class_the_header_decides(mailbox):
    mailbox.deliver_all([dsn(), message()])
    mailbox.fake.always = without("singleValueExtendedProperties")
    found = mailbox.connector().poll(ago(days=1)).envelopes
    assert sorted(map(screen, found)) == [False, True]
    assert all("/delta" in each for each in mailbox.fake.targets)


def test_where_a_delta_query_leaves_out_both_each_message_is_asked_for(mailbox):
    mailbox.deliver_all([dsn(), message()])
    gone = mailbox.fake.store.deliver(message())
    mailbox.fake.store.move(gone, "Deleted Items")
    mailbox.fake.always = without("singleValueExtendedProperties,internetMessageHeaders")
    found = mailbox.connector().poll(ago(days=1)).envelopes
    assert sorted(map(screen, found)) == [False, True]
    assert len(mailbox.fake.targets) == 3 + 2


def test_what_is_gone_before_it_could_be_asked_for_is_left_out(mailbox):
    mailbox.deliver_all([message()])
    bare = without("singleValueExtendedProperties,internetMessageHeaders")
    mailbox.fake.always = faults.then(bare, bare, bare, faults.error(404, "ErrorItemNotFound"))
    assert mailbox.connector().poll(ago(days=1)).envelopes == ()


def test_nothing_speaks_against_a_message_of_which_nothing_is_known():
    found = envelope({"id": "AAkA", "subject": "Hello", "from": {"emailAddress": {"address": "bob@customer.test"}}})
    assert (found.headers, found.item_class) == (None, None)
    assert screen(found)


@pytest.mark.parametrize("spelling", ["String 0x1a", "String 0x001A", "string 0x1A"])
def test_the_class_is_found_however_its_id_is_spelt(spelling):
    known = {"id": "x", "singleValueExtendedProperties": [{"id": spelling, "value": "REPORT.IPM.Note.DR"}]}
    assert envelope(known).item_class == "REPORT.IPM.Note.DR"


@pytest.mark.parametrize("other", ["String 0x1b", "Binary 0x1a", "0x1a", "", None, 26])
def test_another_property_is_no_class(other):
    known = {"id": "x", "singleValueExtendedProperties": [{"id": other, "value": "REPORT.IPM.Note.DR"}]}
    assert envelope(known).item_class is None


# Folders


def test_a_mailbox_without_an_archive_is_read_and_the_archive_too_once_there_is_one(mailbox):
    store = mailbox.fake.store
    store.remove_folder("archive")
    store.remove_folder("junkemail")
    mailbox.deliver_all([raw := message()])
    connector = mailbox.connector()
    page = connector.poll(ago(days=1))
    assert (ids(page.envelopes), page.has_more) == (ids_of(raw), False)
    store.add_folder("Archive", "archive")
    store.deliver(other := message(), "archive")
    assert ids(connector.poll(page.cursor).envelopes) == ids_of(other)


def test_an_archive_that_vanishes_and_comes_back_is_read_again(mailbox):
    store = mailbox.fake.store
    connector = mailbox.connector()
    _, cursor = read_all(connector, ago(days=1))
    store.remove_folder("archive")
    _, cursor = read_all(connector, cursor)
    store.add_folder("Archive", "archive")
    store.deliver(raw := message(), "archive")
    assert ids(read_all(connector, cursor)[0]) == ids_of(raw)


def test_chosen_folders_are_found_by_path_and_by_well_known_name_in_any_language(mailbox):
    store = mailbox.fake.store
    store.folder("inbox").name = "Posteingang"
    returned = store.add_folder("Returned", parent=store.folder("inbox").id)
    deep = store.add_folder("2026", parent=returned.id)
    raws = messages(3)
    for raw, folder in zip(raws, (store.folder("inbox"), returned, deep), strict=True):
        store.deliver(raw, folder.id)
    for names, expected in (
        (("inbox",), raws[:1]),
        (("Posteingang/Returned",), raws[1:2]),
        (("inbox/Returned",), raws[1:2]),
        (("INBOX/returned/2026", "Junk Email"), raws[2:]),
        (("2026", "returned"), raws[1:]),
    ):
        assert ids(read_all(mailbox.connector(folders=names), ago(days=1))[0]) == ids_of(*expected), names


def test_an_unknown_folder_is_told_with_those_there_are(mailbox):
    with pytest.raises(Misconfigured, match=r"no folder 'Bounces' .*Archive.*Inbox"):
        mailbox.connector(folders=("inbox", "Bounces")).poll(ago(days=1))


def test_a_chosen_folder_that_vanishes_loses_the_cursor_and_then_is_asked_for(mailbox):
    mailbox.fake.store.add_folder("Bounces")
    connector = mailbox.connector(folders=("inbox", "Bounces"))
    _, cursor = read_all(connector, ago(days=1))
    mailbox.fake.store.remove_folder("Bounces")
    with pytest.raises(CursorExpired, match="'Bounces' is gone"):
        connector.poll(cursor)
    with pytest.raises(Misconfigured, match="'Bounces'"):
        connector.poll(ago(days=1))


def test_one_made_anew_under_the_same_name_is_read(mailbox):
    store = mailbox.fake.store
    store.add_folder("Bounces")
    connector = mailbox.connector(folders=("Bounces",))
    _, cursor = read_all(connector, ago(days=1))
    store.remove_folder("Bounces")
    store.deliver(raw := message(), store.add_folder("Bounces").id)
    with pytest.raises(CursorExpired):
        connector.poll(cursor)
    assert ids(read_all(connector, ago(days=1))[0]) == ids_of(raw)


def test_folders_are_listed_with_those_below_and_on_later_pages(mailbox):
    store = mailbox.fake.store
    for number in range(250):
        store.add_folder(f"Customer {number}", parent=store.folder("inbox").id)
    store.add_folder("Deep", parent=store.folder("Customer 3").id)
    store.add_folder("Weekly", is_search=True)
    store.folder("inbox").name = "Innboks"
    found = {each.name: each for each in mailbox.connector(folders=("inbox", "Innboks/Customer 3/Deep")).folders()}
    assert len(found) == 5 + 250 + 1
    assert found["Innboks"] == Folder(name="Innboks", role=FolderRole.INBOX, messages=0, polled=True)
    assert found["Innboks/Customer 3/Deep"].polled
    assert not found["Junk Email"].polled
    assert {each.role for each in found.values()} == {*FolderRole, None}


def test_a_tree_of_folders_without_end_is_not_followed(mailbox):
    store = mailbox.fake.store
    above = store.folder("inbox").id
    for number in range(300):
        above = store.add_folder(f"{number}", parent=above).id
    assert len(mailbox.connector().folders()) < 110


def test_folders_that_take_too_long_are_an_outage(mailbox, monkeypatch):
    monkeypatch.setattr(_graph_folders, "_LONG_ENOUGH", -1.0)
    with pytest.raises(Unavailable, match="too long"):
        mailbox.connector().folders()


# What was sent


def test_the_ids_of_sent_mail_are_those_that_went_out(mailbox):
    raw = message("An offer", X_Microsoft_Original_Message_ID="<ours@crm.test>", Cc="Carl <carl@customer.test>")
    mailbox.deliver_all([raw], "Sent", ago(hours=2))
    (found,) = mailbox.connector().sent(ago(hours=3), ago(hours=1))
    assert found.headers["message-id"] == ids_of(raw)[0]
    assert found.headers["x-microsoft-original-message-id"] == "<ours@crm.test>"
    assert found.headers["cc"] == "Carl <carl@customer.test>"
    assert abs(found.received_at - ago(hours=2)) < timedelta(minutes=1)


def test_a_sent_copy_without_a_header_still_tells_its_ids(mailbox):
    raw = message("An offer", X_CRM_Tracking_ID="t-1")
    mailbox.fake.store.deliver(raw, "sentitems", ago(hours=2), has_headers=False)
    (found,) = mailbox.connector().sent(ago(hours=3), ago(hours=1))
    assert (found.headers["message-id"], found.headers["x-crm-tracking-id"]) == (ids_of(raw)[0], "t-1")
    assert found.headers["to"] == "alice@sender.test"


def test_of_very_much_sent_mail_the_latest_is_found(mailbox):
    for number in range(520):
        mailbox.deliver_all([message(f"{number}")], "Sent", ago(hours=2, seconds=-number))
    found = mailbox.connector().sent(ago(days=1), ago())
    assert len(found) == 500
    assert {each.headers["subject"] for each in found} == {str(number) for number in range(20, 520)}
    assert mailbox.fake.requests == 5


def test_a_mailbox_without_sent_items_has_sent_nothing(mailbox):
    mailbox.fake.store.remove_folder("sentitems")
    assert mailbox.connector().sent(ago(days=1), ago()) == []


def test_a_listing_of_sent_mail_that_repeats_itself_ends(fake):
    raw = message()
    fake.store.deliver(raw, "sentitems")
    link = f"{fake.api}/v1.0/users/alice@sender.test/mailFolders/sentitems/messages?$skip=1"
    fake.always = faults.changed(
        lambda body: json.dumps(json.loads(body) | {"@odata.nextLink": link, "value": [{"id": "AAkA"}]}).encode()
    )
    assert len(office365_connector(fake).sent(ago(days=1), ago())) == 1
    assert fake.requests == 2
