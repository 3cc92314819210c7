"""What is Exchange's own beyond the contract: folders, changes, pages, ids, content, and large mailboxes."""

import json
from email.utils import getaddresses, parseaddr

import pytest

from connectors import Access, CursorExpired, FolderRole, MessageGone, Misconfigured, exchange
from connectors._exchange_cursor import fingerprint
from tests.connectors.mailboxes import LONG_AGO, ago, exchange_connector, ids, ids_of, message, messages, read_all
from tests.fakes.ews import faults
from tests.fakes.ews.server import FakeExchange
from tests.fakes.ews.store import Store


def test_an_idle_poll_asks_one_question_a_folder(exchange):
    exchange.deliver_all(messages(3))
    connector = exchange.connector()
    _, cursor = read_all(connector, LONG_AGO)
    exchange.fake.clear()
    connector.poll(cursor)
    assert exchange.fake.operations() == ["SyncFolderItems", "SyncFolderItems"]


def test_flags_changes_and_deletions_bring_nothing(exchange):
    store = exchange.fake.store
    kept, gone = store.deliver(message()), store.deliver(message())
    connector = exchange.connector()
    _, cursor = read_all(connector, LONG_AGO)
    store.mark_read(kept)
    store.update(kept)
    store.delete(gone)
    exchange.fake.clear()
    assert connector.poll(cursor).envelopes == ()
    assert "GetItem" not in exchange.fake.operations()


def test_what_is_moved_here_is_new(exchange):
    store = exchange.fake.store
    item = store.deliver(raw := message(), "sentitems", at=ago(days=100))
    connector = exchange.connector()
    found, cursor = read_all(connector, LONG_AGO)
    assert found == []
    moved = store.move(item, "inbox")
    found, cursor = read_all(connector, cursor)
    assert ids(found) == ids_of(raw)
    store.move(moved, "junkemail")
    assert ids(read_all(connector, cursor)[0]) == ids_of(raw)


def test_a_message_that_goes_between_sync_and_properties_is_passed_over(exchange):
    store = exchange.fake.store
    connector = exchange.connector()
    _, cursor = read_all(connector, LONG_AGO)
    item, _ = store.deliver(message()), store.deliver(raw := message())
    exchange.fake.clear()

    def vanish(asked):
        store.delete(item)
        asked.answer(asked.true_answer())

    exchange.fake.faults[2] = vanish
    assert ids(connector.poll(cursor).envelopes) == ids_of(raw)


def test_a_message_without_readable_properties_is_told_without(exchange):
    exchange.deliver_all([message()])
    exchange.fake.faults[3] = faults.error("ErrorItemCorrupt")
    (envelope,) = exchange.connector().poll(LONG_AGO).envelopes
    assert (envelope.headers, envelope.item_class) == (None, None)


def test_a_notice_has_its_class(exchange):
    report = message(Content_Type='multipart/report; report-type="delivery-status"; boundary="b"')
    exchange.deliver_all([report, message()])
    found, _ = read_all(exchange.connector(), LONG_AGO)
    assert {each.item_class for each in found} == {"REPORT.IPM.Note.NDR", "IPM.Note"}
    assert all(each.thread_id for each in found)


def test_a_name_with_a_comma_stays_one_address(exchange):
    exchange.deliver_all([message(From='"Builder, Bob \\"B\\"" <bob@customer.test>')])
    (envelope,) = exchange.connector().poll(LONG_AGO).envelopes
    assert parseaddr(envelope.headers["from"]) == ('Builder, Bob "B"', "bob@customer.test")


def test_telling_headers_come_even_when_empty(exchange):
    exchange.deliver_all([message(X_MS_Exchange_Message_Is_Ndr="", Auto_Submitted="auto-replied", Return_Path="<>")])
    (envelope,) = exchange.connector().poll(LONG_AGO).envelopes
    assert envelope.headers["x-ms-exchange-message-is-ndr"] == ""
    assert envelope.headers["auto-submitted"] == "auto-replied"
    assert envelope.headers["return-path"] == "<>"


def test_control_characters_that_xml_forbids_stop_nothing(exchange):
    exchange.deliver_all([message("Bell HERE")])
    exchange.fake.faults[3] = faults.changed(b"Bell HERE", b"Bell \x07&#x1;&#0;")
    (envelope,) = exchange.connector().poll(LONG_AGO).envelopes
    assert envelope.headers["subject"].startswith("Bell \ufffd")


@pytest.mark.parametrize("size", [0, 1, 100_000, 3_000_000])
def test_of_a_large_message_no_more_is_downloaded_than_is_wanted(exchange, size):
    exchange.deliver_all([raw := message(body=b"x" * size)])
    connector = exchange.connector()
    (envelope,) = connector.poll(LONG_AGO).envelopes
    fetched = connector.fetch(envelope.ref, 10_000)
    assert fetched.raw == raw[:10_000]
    assert fetched.truncated == (len(raw) > 10_000)
    assert connector.fetch(envelope.ref, 5_000_000).raw == raw


def test_a_moved_message_is_gone_by_its_old_name(exchange):
    item = exchange.fake.store.deliver(message())
    connector = exchange.connector()
    (envelope,) = connector.poll(LONG_AGO).envelopes
    exchange.fake.store.move(item, "sentitems")
    with pytest.raises(MessageGone):
        connector.fetch(envelope.ref, 1000)


def test_a_forgotten_sync_state_expires_the_cursor_and_all_since_is_read_again(exchange):
    exchange.deliver_all([message()], at=ago(days=9))
    connector = exchange.connector()
    _, cursor = read_all(connector, LONG_AGO)
    exchange.deliver_all([recent := message()])
    exchange.fake.store.expire_sync_states()
    with pytest.raises(CursorExpired):
        connector.poll(cursor)
    assert ids(read_all(connector, ago(days=1))[0]) == ids_of(recent)


def test_folders_are_chosen_by_name_path_or_well_known_word(exchange):
    store = exchange.fake.store
    customers = store.add_folder("Customers")
    store.add_folder("Nord", parent=customers.id)
    store.add_folder("Calendar", folder_class="IPF.Appointment")
    for name in ("inbox", "junkemail", "Customers", "Nord", "sentitems"):
        store.deliver(message(name), name)
    connector = exchange.connector(folders=("INBOX", "junk", "customers/nord"))
    found, cursor = read_all(connector, LONG_AGO)
    assert {each.headers["subject"] for each in found} == {"inbox", "junkemail", "Nord"}
    exchange.fake.clear()
    connector.poll(cursor)
    assert exchange.fake.operations() == ["SyncFolderItems"] * 3
    widened = exchange.connector(folders=("INBOX", "Customers"))
    assert {each.headers["subject"] for each in read_all(widened, cursor)[0]} == {"Customers"}


def test_a_folder_that_does_not_exist_is_named_with_those_that_do(exchange):
    exchange.fake.store.add_folder("Calendar", folder_class="IPF.Appointment")
    with pytest.raises(Misconfigured, match=r"'Bounces'.*Inbox, Junk Email, Sent Items\.$"):
        exchange.connector(folders=("Bounces",)).poll(LONG_AGO)


def test_the_archive_is_found_by_its_name_or_its_well_known_word(exchange):
    store = exchange.fake.store
    archive = store.add_folder("Archiv", "archive")
    store.deliver(raw := message(), archive.id)
    assert ids(read_all(exchange.connector(folders=("archive",)), LONG_AGO)[0]) == ids_of(raw)
    assert ids(read_all(exchange.connector(folders=("Archiv",)), LONG_AGO)[0]) == ids_of(raw)


def test_a_server_that_has_never_heard_of_the_archive_still_shows_its_folders(exchange):
    exchange.fake.faults[1] = faults.soap_fault("ErrorSchemaValidation")
    assert [each.name for each in exchange.connector().folders()] == ["Inbox", "Junk Email", "Sent Items"]
    exchange.fake.clear()
    with pytest.raises(Misconfigured, match="choose among Inbox"):
        exchange.connector(folders=("archive",)).poll(LONG_AGO)


def test_a_chosen_folder_that_is_deleted_is_looked_for_by_name_again(exchange):
    store = exchange.fake.store
    old = store.add_folder("Bounces")
    connector = exchange.connector(folders=("Bounces",))
    _, cursor = read_all(connector, LONG_AGO)
    del store.folders[old.id]
    store.deliver(raw := message(), store.add_folder("Bounces").id)
    with pytest.raises(CursorExpired):
        connector.poll(cursor)
    assert ids(read_all(connector, LONG_AGO)[0]) == ids_of(raw)


def test_a_mailbox_without_a_junk_folder_is_read_and_junk_is_found_when_it_comes(exchange):
    store = exchange.fake.store
    junk = store.folders.pop(store.folder("junkemail").id)
    exchange.deliver_all([raw := message()])
    connector = exchange.connector()
    found, cursor = read_all(connector, LONG_AGO)
    assert ids(found) == ids_of(raw)
    store.folders[junk.id] = junk
    exchange.deliver_all([late := message()], "Junk")
    assert ids(read_all(connector, cursor)[0]) == ids_of(late)


def test_nothing_is_skipped_when_more_is_deleted_than_pages_overlap(exchange):
    store = exchange.fake.store
    raws = messages(450)
    items = [store.deliver(raw, at=ago(hours=2)) for raw in raws]
    connector = exchange.connector()
    first = connector.poll(LONG_AGO)
    for item in items[:150]:
        store.delete(item)
    rest, _ = read_all(connector, first.cursor)
    assert set(ids(rest)) >= set(ids_of(*raws[200:]))


def test_a_server_that_ignores_the_order_is_read_in_whole(exchange, monkeypatch):
    store = exchange.fake.store
    raws = messages(450)
    for number, raw in enumerate(raws):
        store.deliver(raw, at=ago(minutes=(number * 37) % 450))
    monkeypatch.setattr(store, "received_since", lambda folder, since: list(folder.items.values()))
    assert ids(read_all(exchange.connector(), ago(days=1))[0]) == ids_of(*raws)


def test_each_request_names_the_mailbox_that_it_is_about():
    with FakeExchange(stores=[Store("alice@sender.test"), Store("shared@sender.test")]) as fake:
        fake.stores[1].deliver(raw := message())
        connector = exchange_connector(fake, address="shared@sender.test")
        connector.poll(LONG_AGO)
        sync = next(each.request for each in fake.exchanged if each.operation == "SyncFolderItems")
        assert b"<t:EmailAddress>shared@sender.test</t:EmailAddress>" in sync
        assert b"ExchangeImpersonation" not in sync
        fake.clear()
        connector = exchange_connector(fake, address="shared@sender.test", access=Access.IMPERSONATION)
        assert ids(connector.poll(LONG_AGO).envelopes) == ids_of(raw)
        assert all(b"PrimarySmtpAddress>shared@sender.test<" in each.request for each in fake.exchanged)
        assert all(each["X-AnchorMailbox"] == "shared@sender.test" for each in fake.headers)


def test_a_hundred_thousand_new_messages_come_page_by_page():
    raw = message()
    with FakeExchange(is_validating=False) as fake:
        connector = exchange_connector(fake)
        _, cursor = read_all(connector, ago(days=1))
        for _ in range(100_000):
            fake.store.deliver(raw)
        fake.clear()
        refs: set[str] = set()
        has_more = True
        while has_more:
            page = connector.poll(cursor)
            assert len(page.envelopes) <= 200
            assert len(page.cursor) < 2_000
            refs.update(fingerprint(each.ref) for each in page.envelopes)
            cursor, has_more = page.cursor, page.has_more
            fake.exchanged.clear()
        assert len(refs) == 100_000
        assert fake.requests == 2 * 500 + 2  # changes and properties of each page; at last both folders, idle


def test_a_first_poll_walks_a_hundred_thousand_in_saved_steps():
    raw = message()
    with FakeExchange(is_validating=False) as fake:
        for _ in range(100_000):
            fake.store.deliver(raw, at=ago(days=100))
        fake.store.deliver(new := message())
        polls, found, since = 0, [], ago(days=1)
        while True:
            page = exchange_connector(fake).poll(since)
            polls += 1
            found += page.envelopes
            since = page.cursor
            if not page.has_more:
                break
        assert ids(found) == ids_of(new)
        assert polls == 8  # of 25 pages of 512
        assert fake.operations().count("GetItem") == 1


def test_a_cursor_stays_small_and_forgets_the_listing(exchange):
    exchange.deliver_all(messages(450))
    connector = exchange.connector()
    _, cursor = read_all(connector, LONG_AGO)
    _, cursor = read_all(connector, cursor)
    assert "listed" not in json.dumps(json.loads(cursor))
    assert len(cursor) < 2_000


def test_folders_are_shown_by_path_with_those_that_are_polled(exchange):
    store = exchange.fake.store
    customers = store.add_folder("Customers")
    store.add_folder("Nord", parent=customers.id)
    store.add_folder("Archiv", "archive")
    store.add_folder("Calendar", folder_class="IPF.Appointment")
    chosen = exchange.connector(folders=("inbox", "Nord", "Archive"))
    shown = {each.name: (each.role, each.polled) for each in chosen.folders()}
    assert shown == {
        "Inbox": (FolderRole.INBOX, True),
        "Junk Email": (FolderRole.JUNK, False),
        "Sent Items": (FolderRole.SENT, False),
        "Customers": (None, False),
        "Customers/Nord": (None, True),
        "Archiv": (FolderRole.ARCHIVE, True),
    }


def test_sent_mail_comes_with_addresses_and_other_ids_newest_first_and_bounded(exchange):
    raw = message(To='"Builder, Bob" <bob@customer.test>, eve@customer.test', Cc="Carl <carl@customer.test>")
    raw = b"X-Microsoft-Original-Message-ID: <first@sender.test>\r\n" + raw
    exchange.deliver_all([raw], "Sent", ago(minutes=90))
    connector = exchange.connector()
    (found,) = connector.sent(ago(hours=2), ago(hours=1))
    assert getaddresses([found.headers["to"]]) == [("Builder, Bob", "bob@customer.test"), ("", "eve@customer.test")]
    assert found.headers["cc"] == "Carl <carl@customer.test>"
    assert found.headers["x-microsoft-original-message-id"] == "<first@sender.test>"
    exchange.deliver_all(messages(550), "Sent", ago(minutes=80))
    assert len(connector.sent(ago(hours=2), ago(hours=1))) == 500
    exchange.fake.store.folders.pop(exchange.fake.store.folder("sentitems").id)
    assert connector.sent(ago(hours=2), ago(hours=1)) == []


def test_a_fingerprint_is_short_and_its_own():
    prints = {fingerprint(f"AAMk{number}") for number in range(10_000)}
    assert len(prints) == 10_000
    assert {len(each) for each in prints} == {18}


def test_the_page_is_what_the_contract_says():
    assert exchange.PAGE == 200
