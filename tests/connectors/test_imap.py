"""What is peculiar to IMAP: UIDs, UIDVALIDITY, folders, and servers that differ from the book."""

import json
from datetime import UTC, datetime, timedelta

import pytest

import connectors._imap_commands as ask
from connectors import CursorExpired, MessageGone, Misconfigured, Unavailable
from tests.connectors.mailboxes import LONG_AGO, ago, fake_connector, ids, ids_of, message, messages, read_all
from tests.fakes.imap import FakeImap


def test_renumbered_folder_expires_the_cursor_and_its_references(imap):
    imap.deliver_all([raw := message()])
    page = imap.connector().poll(LONG_AGO)
    imap.expire_cursor()
    with pytest.raises(CursorExpired):
        imap.connector().poll(page.cursor)
    with pytest.raises(MessageGone):
        imap.connector().fetch(page.envelopes[0].ref, 1000)
    assert ids(read_all(imap.connector(), LONG_AGO)[0]) == ids_of(raw)


def test_uids_that_run_backwards_expire_the_cursor(imap):
    imap.deliver_all(messages(1))
    cursor = imap.connector().poll(LONG_AGO).cursor
    fields = json.loads(cursor)
    fields["folders"]["INBOX"][1] += 5  # as after a restore from yesterday's backup
    with pytest.raises(CursorExpired):
        imap.connector().poll(json.dumps(fields))


def test_a_kicked_connection_is_unavailable_once_and_then_opened_again(imap):
    imap.deliver_all([raw := message()])
    connector = imap.connector()
    page = connector.poll(LONG_AGO)
    imap.stack.kick(imap.address)
    with pytest.raises(Unavailable):
        connector.fetch(page.envelopes[0].ref, 1000)
    assert connector.fetch(page.envelopes[0].ref, 1000).raw == raw


@pytest.mark.parametrize("gap", [5_000, 4_000_000_000])
def test_sparse_uids(imap, gap):
    imap.deliver_all([first := message()])
    imap.stack.set_next_uid(gap, user=imap.address)
    imap.deliver_all([second := message()])
    found, cursor = read_all(imap.connector(), LONG_AGO)
    assert ids(found) == ids_of(first, second)
    imap.stack.set_next_uid(gap + 70_000, user=imap.address)
    imap.deliver_all([third := message()])
    assert ids(read_all(imap.connector(), cursor)[0]) == ids_of(third)


def test_a_large_folder_is_searched_in_windows_and_never_for_ever(imap, monkeypatch):
    for name, value in (("FIRST_SPAN", 3), ("SPAN", 4), ("SEARCHES", 2)):
        monkeypatch.setattr(ask, name, value)
    imap.deliver_all(first := messages(9))
    imap.stack.set_next_uid(100, user=imap.address)
    imap.deliver_all(last := messages(2))
    connector = imap.connector()
    page = connector.poll(LONG_AGO)
    assert len(page.envelopes) == 7
    assert page.has_more
    rest, _ = read_all(connector, page.cursor)
    assert ids([*page.envelopes, *rest]) == ids_of(*first, *last)


def test_an_emptied_folder(imap):
    imap.deliver_all([raw := message()])
    cursor = imap.connector().poll(LONG_AGO).cursor
    imap.remove(raw)
    page = imap.connector().poll(cursor)
    assert (page.envelopes, page.has_more) == ((), False)


def test_an_idle_poll_opens_no_folder_and_lists_none():
    with FakeImap() as fake:
        places = {"INBOX": [1, 7, 0], "Junk": [1, 7, 0]}
        fields = {"since": "2026-01-01T00:00:00+00:00", "folders": places, "roles": {"junk": "Junk"}}
        cursor = json.dumps(fields | {"looked_at": datetime.now(UTC).isoformat()})  # there is no archive
        connector = fake_connector(fake)
        connector.poll(cursor)
        connector.poll(cursor)
        connector.close()
    names = [command.split()[0] for command in fake.commands]
    assert names == ["CAPABILITY", "LOGIN", "STATUS", "STATUS", "STATUS", "STATUS", "LOGOUT"]


def test_a_chosen_folder_that_does_not_exist(imap):
    with pytest.raises(Misconfigured, match=r"'Returned mail'.* Archive, INBOX, Junk, Sent\.$"):
        imap.connector(folders=("INBOX", "Returned mail")).poll(LONG_AGO)


@pytest.mark.parametrize("folder", ["Отскоки", 'Zwroty & "ąć"', "Ordner/Unzustellbar", "a b\\c"])
def test_folders_of_any_name(imap, folder):
    imap.stack.create_folder(folder, imap.address)
    connector = imap.connector(folders=(folder,))
    _, cursor = read_all(connector, ago(days=1))
    imap.deliver_all([raw := message()], folder)
    (envelope,) = connector.poll(cursor).envelopes
    assert connector.fetch(envelope.ref, 1000).raw == raw


def test_chosen_folders_and_no_others_are_read(imap):
    imap.deliver_all(messages(1))
    imap.deliver_all([raw := message()], "Archive")
    assert ids(imap.connector(folders=("Archive",)).poll(LONG_AGO).envelopes) == ids_of(raw)
    assert len(imap.connector(folders=("inbox",)).poll(LONG_AGO).envelopes) == 1


def test_folders_are_chosen_by_what_they_are_for(imap):
    imap.deliver_all(messages(1))
    raws = {folder: message(folder) for folder in ("Archive", "Sent", "Junk")}
    for folder, raw in raws.items():
        imap.deliver_all([raw], folder)
    for chosen in (r"\Archive", r"\SENT", r"\junk"):
        connector = imap.connector(folders=(chosen,))
        found, cursor = read_all(connector, LONG_AGO)
        assert ids(found) == ids_of(raws[chosen[1:].capitalize()])
        assert [folder.name for folder in connector.folders() if folder.polled] == [chosen[1:].capitalize()]
        assert read_all(imap.connector(folders=(chosen,)), cursor)[0] == []
    assert len(read_all(imap.connector(folders=(r"\Inbox", "Archive", r"\Archive")), LONG_AGO)[0]) == 2


def test_a_folder_that_is_chosen_by_its_role_has_any_name_and_is_looked_for_once():
    listing = '* LIST () "/" INBOX\r\n* LIST (\\Archive) "/" "P&APU-himõte"'.replace("õ", "&APU-")
    with FakeImap({"LIST": listing + "\r\n{tag} OK done"}) as fake:
        connector = fake_connector(fake, folders=("INBOX", r"\Archive"))
        cursor = connector.poll(datetime.now(UTC)).cursor
        connector.poll(cursor)
        connector.close()
    assert list(json.loads(cursor)["folders"]) == ["INBOX", "Põhimõte"]
    assert [command.split()[0] for command in fake.commands].count("LIST") == 1


def test_a_role_that_no_folder_has():
    with FakeImap() as fake:
        connector = fake_connector(fake, folders=(r"\Archive",))
        with pytest.raises(Misconfigured, match=r"no folder '\\\\Archive' in this inbox: choose among INBOX"):
            connector.poll(datetime.now(UTC))
        connector.close()


def test_a_folder_that_is_chosen_later_is_read_since_the_first_moment(imap):
    imap.deliver_all([message("Old")], "Archive", at=ago(days=9))
    imap.deliver_all([raw := message("New")], "Archive", at=ago(days=1))
    _, cursor = read_all(imap.connector(folders=("INBOX",)), ago(days=2))
    found, _ = read_all(imap.connector(folders=("INBOX", "Archive")), cursor)
    assert ids(found) == ids_of(raw)


def test_folders_that_are_no_longer_chosen_are_left(imap):
    _, cursor = read_all(imap.connector(folders=("INBOX", "Archive")), LONG_AGO)
    imap.deliver_all([message()], "Archive")
    imap.deliver_all([raw := message()], "Junk")
    assert ids(read_all(imap.connector(folders=("INBOX", "Junk")), cursor)[0]) == ids_of(raw)


def test_a_deleted_folder_takes_its_messages_along(imap):
    imap.stack.create_folder("Bounces", imap.address)
    imap.deliver_all([message()], "Bounces")
    (envelope,) = imap.connector(folders=("Bounces",)).poll(LONG_AGO).envelopes
    imap.stack.delete_folder("Bounces", imap.address)
    with pytest.raises(MessageGone):
        imap.connector().fetch(envelope.ref, 1000)


def test_a_junk_folder_that_moves_is_found_again(imap):
    connector = imap.connector()
    _, cursor = read_all(connector, ago(days=1))
    fields = json.loads(cursor)
    fields["roles"]["junk"] = "Former junk"
    fields["folders"]["Former junk"] = fields["folders"].pop("Junk")
    imap.deliver_all([raw := message()], "Junk")
    assert ids(read_all(connector, json.dumps(fields))[0]) == ids_of(raw)


def test_an_inbox_without_junk_folder_looks_for_one_again_after_an_hour():
    def asked() -> int:
        return sum(command.startswith("LIST") for command in fake.commands)

    with FakeImap() as fake:
        connector = fake_connector(fake)
        cursor = connector.poll(datetime.now(UTC)).cursor
        cursor = connector.poll(cursor).cursor
        assert asked() == 1
        for then in (ago(minutes=61), datetime.now(UTC) + timedelta(hours=2)):  # and where a clock once ran ahead
            before = asked()
            connector.poll(json.dumps(json.loads(cursor) | {"looked_at": then.isoformat()}))
            assert asked() == before + 1
        connector.close()


def test_the_archive_is_read_too_so_that_nobody_hides_a_notice_by_putting_it_away(imap):
    _, cursor = read_all(imap.connector(), LONG_AGO)
    imap.deliver_all([raw := message()], "Archive")
    assert ids(read_all(imap.connector(), cursor)[0]) == ids_of(raw)


@pytest.mark.parametrize(
    ("listing", "junk"),
    [
        ('* LIST (\\HasNoChildren \\Junk) "/" "Uønsket"', "Uønsket"),
        ('* LIST (\\HasNoChildren) "." INBOX.Spam', "INBOX.Spam"),
        ('* LIST () "/" "Junk E-mail"', "Junk E-mail"),
        ('* LIST () "/" Old/Junk\r\n* LIST () "/" Junk', "Junk"),
        ('* LIST () "/" Spam\r\n* LIST (\\Junk) "/" "Bruxelles"', "Bruxelles"),
        ('* LIST () "/" "Uønsket e-post"', "Uønsket e-post"),
        ('* LIST (\\Noselect \\Junk) "/" Junk', None),
        ("* LIST () NIL Post", None),
        ('* LIST (\\NonExistent) "/" Spam\r\n* LIST () "/" "[Gmail]/Spam"', "[Gmail]/Spam"),
    ],
)
def test_which_folder_is_junk(listing, junk):
    listing = listing.replace("ø", "&APg-")
    with FakeImap({"LIST": listing + "\r\n{tag} OK done"}) as fake:
        connector = fake_connector(fake)
        cursor = connector.poll(datetime.now(UTC)).cursor
        connector.close()
    assert list(json.loads(cursor)["folders"]) == (["INBOX", junk] if junk else ["INBOX"])


def test_a_server_that_will_not_close_a_folder_is_polled_all_the_same():
    with FakeImap({"CLOSE": "{tag} NO [READ-ONLY] Mailbox is read-only."}) as fake:
        connector = fake_connector(fake, folders=("INBOX",))
        page = connector.poll(datetime.now(UTC))
        assert connector.poll(page.cursor).envelopes == ()
        connector.close()
    assert "CLOSE" in fake.commands
