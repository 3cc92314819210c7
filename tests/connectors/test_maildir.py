"""What is peculiar to a Maildir: no numbers, only files that appear, move and change their names."""

import json
import os
import shutil
import time
from datetime import UTC, datetime

import pytest

from connectors import (
    AuthRequired,
    CursorExpired,
    MaildirSettings,
    MessageGone,
    Misconfigured,
    Unavailable,
    connect,
)
from connectors import (
    maildir as module,
)
from connectors.maildir import MaildirConnector, Place, Reading
from tests.connectors.mailboxes import LONG_AGO, MaildirMailbox, ago, ids, ids_of, message, messages, read_all
from tests.live.needs import need_root
from tests.live.processes import public_folder, remove

FUTURE = 2**33  # seconds since 1970: the year 2242


def only_file(maildir: MaildirMailbox):
    (path,) = [*maildir.root.glob("new/*"), *maildir.root.glob("cur/*")]
    return path


def open_by_a_person(maildir: MaildirMailbox, flags: str = "S") -> None:
    path = only_file(maildir)
    path.rename(maildir.root / "cur" / f"{path.name.partition(':')[0]}:2,{flags}")


def test_a_reference_survives_that_a_person_opens_and_flags_the_message(maildir):
    maildir.deliver_all([raw := message()])
    connector = maildir.connector()
    page = connector.poll(LONG_AGO)
    for flags in ("", "S", "FRS"):
        open_by_a_person(maildir, flags)
        assert connector.fetch(page.envelopes[0].ref, 1000).raw == raw
        assert connector.poll(page.cursor).envelopes == ()


def test_a_message_that_moves_while_it_is_read_is_found(maildir, monkeypatch):
    maildir.deliver_all([raw := message()])
    listed = module.files.messages(maildir.root)
    monkeypatch.setattr(module.files, "messages", lambda folder: listed if folder == maildir.root else [])
    open_by_a_person(maildir)
    assert ids(maildir.connector().poll(LONG_AGO).envelopes) == ids_of(raw)
    only_file(maildir).unlink()
    assert maildir.connector().poll(LONG_AGO).envelopes == ()


def test_copied_mail_is_found_whatever_its_date(maildir, tmp_path):
    maildir.deliver_all([message()])
    connector = maildir.connector()
    _, cursor = read_all(connector, LONG_AGO)
    (tmp_path / "old").write_bytes(raw := message())
    os.utime(tmp_path / "old", (1, 1))
    shutil.copy2(tmp_path / "old", maildir.root / "cur" / "999.old:2,S")
    assert ids(connector.poll(cursor).envelopes) == ids_of(raw)


def test_an_arrival_that_a_listing_missed_is_found_within_the_overlap(maildir, monkeypatch):
    maildir.deliver_all(raws := messages(3))
    connector = maildir.connector()
    everything = module.files.messages(maildir.root)
    with monkeypatch.context() as patch:
        patch.setattr(module.files, "messages", lambda folder: everything[1:] if folder == maildir.root else [])
        found, cursor = read_all(connector, LONG_AGO)
    assert len(found) == 2
    rest, _ = read_all(connector, cursor)
    assert ids([*found, *rest]) == ids_of(*raws)


def test_the_cursor_stays_small_and_still_returns_nothing_twice(maildir, monkeypatch):
    monkeypatch.setattr(module, "SEEN_LIMIT", 20)
    connector = maildir.connector()
    found, cursor = read_all(connector, LONG_AGO)
    sent = []
    for _ in range(10):
        time.sleep(0.005)  # the kernel's clock ticks every 4 ms, and what shares a tick is kept or left together
        maildir.deliver_all(batch := messages(15))
        sent += batch
        new, cursor = read_all(connector, cursor)
        found += new
        assert len(json.loads(cursor)["folders"]["INBOX"][2]) <= 20
    assert ids(found) == ids_of(*sent)


def test_a_folder_that_arrived_within_one_tick_of_the_clock(maildir, monkeypatch):
    monkeypatch.setattr(module, "SEEN_LIMIT", 5)
    maildir.deliver_all(raws := messages(30))
    same = [module.replace(each, arrived=1_000) for each in module.files.messages(maildir.root)]
    monkeypatch.setattr(module.files, "messages", lambda folder: same if folder == maildir.root else [])
    connector = maildir.connector()
    found, cursor = read_all(connector, LONG_AGO)
    assert ids(found) == ids_of(*raws)
    assert read_all(connector, cursor)[0] == []


def test_a_clock_that_went_back_expires_the_cursor(maildir):
    reading = Reading(LONG_AGO, {"INBOX": Place(floor=FUTURE * 10**9, walk_end=0)})
    with pytest.raises(CursorExpired):
        maildir.connector().poll(reading.cursor())


def test_a_file_from_the_future_blocks_nothing(maildir):
    maildir.deliver_all([first := message()], at=datetime.fromtimestamp(FUTURE, UTC))
    connector = maildir.connector()
    found, cursor = read_all(connector, ago(days=1))
    assert ids(found) == ids_of(first)
    maildir.deliver_all([second := message()])
    assert ids(read_all(connector, cursor)[0]) == ids_of(second)


def test_an_inode_from_the_future_blocks_nothing(maildir, monkeypatch):
    maildir.deliver_all([first := message()])
    connector = maildir.connector()
    with monkeypatch.context() as patch:
        patch.setattr(module.files.time, "time_ns", lambda: 10**18)  # a clock of 2001: all that lies there is future
        found, cursor = read_all(connector, LONG_AGO)
    maildir.deliver_all([second := message()])
    again, _ = read_all(connector, cursor)
    assert set(ids([*found, *again])) == set(ids_of(first, second))


@pytest.mark.parametrize("seconds", [-(10**9), 2**33])
def test_any_date_of_a_file_will_do(maildir, seconds):
    maildir.deliver_all([message()])
    os.utime(only_file(maildir), (seconds, seconds))
    (envelope,) = maildir.connector().poll(datetime.min.replace(tzinfo=UTC)).envelopes
    assert envelope.received_at == datetime.fromtimestamp(seconds, UTC)


def test_a_date_beyond_all_calendars_is_none():
    assert module._moment(400_000 * 365 * 86_400 * 10**9) is None


def test_what_is_no_plain_file_is_no_mail_and_never_waited_for(maildir, tmp_path):
    (tmp_path / "secret").write_bytes(message())
    new = maildir.root / "new"
    os.mkfifo(new / "1.fifo")
    (new / "2.link").symlink_to(tmp_path / "secret")
    (new / "3.dangling").symlink_to(tmp_path / "nothing")
    (new / "4.folder").mkdir()
    (new / ".hidden").write_bytes(message())
    assert maildir.connector().poll(LONG_AGO).envelopes == ()
    with pytest.raises(MessageGone):
        maildir.connector().fetch("INBOX:1.fifo", 1000)
    with pytest.raises((MessageGone, Unavailable)):
        maildir.connector().fetch("INBOX:2.link", 1000)


def test_file_names_of_any_bytes(maildir):
    maildir.deliver_all([raw := message()])
    path = only_file(maildir)
    path.rename(path.with_name(os.fsdecode(b"1.\xff \xc3\xb8%41,S=1:2,S")))
    connector = maildir.connector()
    page = connector.poll(LONG_AGO)
    assert page.envelopes[0].ref.isascii()
    assert connector.fetch(page.envelopes[0].ref, 1000).raw == raw
    assert connector.poll(page.cursor).envelopes == ()


@pytest.fixture
def closed_maildir():
    """A Maildir with one message that our user may not read, and a user who isn't almighty."""
    need_root("Tests that become another user")
    folder = public_folder("maildir")
    mailbox = MaildirMailbox(folder / "Maildir")
    mailbox.deliver_all([message()])
    os.seteuid(65534)
    yield mailbox
    os.seteuid(0)
    remove(folder)


def test_an_unreadable_message_still_has_an_envelope_and_cannot_be_fetched_now(closed_maildir):
    os.seteuid(0)
    only_file(closed_maildir).chmod(0o600)
    os.seteuid(65534)
    connector = closed_maildir.connector()
    (envelope,) = connector.poll(LONG_AGO).envelopes
    assert envelope.headers is None
    with pytest.raises(Unavailable, match="right to read"):
        connector.fetch(envelope.ref, 1000)


def test_an_unreadable_folder_is_a_persons_business(closed_maildir):
    os.seteuid(0)
    (closed_maildir.root / "new").chmod(0o700)
    os.seteuid(65534)
    with pytest.raises(Misconfigured, match=r"new can't be read: .*\.$"):
        closed_maildir.connector().poll(LONG_AGO)


@pytest.mark.parametrize("name", ["nowhere", "a-file", "plain-folder"])
def test_what_is_no_maildir(tmp_path, name):
    (tmp_path / "a-file").touch()
    (tmp_path / "plain-folder").mkdir()
    with pytest.raises(Misconfigured, match=rf"{name} is no Maildir"):
        MaildirConnector(MaildirSettings(path=str(tmp_path / name))).poll(LONG_AGO)


@pytest.mark.parametrize("folder", ["Returned", "", "..", "../Maildir", "/etc"])
def test_a_chosen_folder_that_does_not_exist(maildir, folder):
    with pytest.raises(Misconfigured, match=r"choose among INBOX, \.Junk, \.Sent\.$"):
        maildir.connector(folders=(folder,)).poll(LONG_AGO)


@pytest.mark.parametrize("name", [".Bounces", "Bounces", "inbox"])
def test_chosen_folders_and_no_others_are_read(maildir, name):
    for sub in ("tmp", "new", "cur"):
        (maildir.root / ".Bounces" / sub).mkdir(parents=True)
    folder = "INBOX" if name == "inbox" else "Bounces"
    maildir.deliver_all([message()], "Junk")
    maildir.deliver_all([raw := message()], folder)
    connector = maildir.connector(folders=(name,))
    (envelope,) = connector.poll(LONG_AGO).envelopes
    assert connector.fetch(envelope.ref, 1000).raw == raw


def test_a_junk_folder_that_appears_later_is_read(maildir):
    shutil.rmtree(maildir.path("Junk"))
    connector = maildir.connector()
    _, cursor = read_all(connector, ago(days=1))
    for sub in ("tmp", "new", "cur"):
        (maildir.path("Junk") / sub).mkdir(parents=True)
    maildir.deliver_all([message()], "Junk", at=ago(days=2))
    maildir.deliver_all([raw := message()], "Junk")
    assert ids(connector.poll(cursor).envelopes) == ids_of(raw)


def test_a_lost_empty_subfolder_is_no_fault(maildir):
    maildir.deliver_all([raw := message()])
    (maildir.root / "cur").rmdir()
    assert ids(maildir.connector().poll(LONG_AGO).envelopes) == ids_of(raw)


def test_connect_gives_the_connector_of_the_settings(maildir):
    class NoCredentials:
        def load(self):
            raise AuthRequired("A Maildir has no password.")

    connector = connect(MaildirSettings(path=str(maildir.root)), NoCredentials())
    assert isinstance(connector, MaildirConnector)
    assert connector.poll(LONG_AGO).envelopes == ()
