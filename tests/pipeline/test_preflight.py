"""`inbox check`: what a person reads before trusting an inbox to us."""

import json
import socket
import ssl
import subprocess
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from connectors import AuthRequired, Folder, FolderRole, ImapSettings, SignIn
from connectors.endpoint import Endpoint, Greeting, endpoint, greet
from connectors.network import Guard, dial
from tests.fakes.mailbox import FakeMailbox
from tests.fakes.notices import NOW, dsn, ordinary
from tests.fakes.world import World
from worker import admin
from worker import preflight as room
from worker.preflight import preflight

INBOX = Folder(name="INBOX", role=FolderRole.INBOX, messages=1_203, polled=True)
JUNK = Folder(name="Søppelpost", role=FolderRole.JUNK, messages=4, polled=True)
SENT = Folder(name="Sendt", role=FolderRole.SENT)


def steps(world: World, inbox=None) -> dict[str, tuple[str, str]]:
    found = list(preflight(world.context, inbox or world.inbox()))
    return {step.name: (step.state, step.said) for step in found}


def see_folders(world: World, monkeypatch, *folders: Folder):
    inbox = world.inbox()
    monkeypatch.setattr(world.mailboxes["acme/alice"], "folders", lambda: folders)
    return inbox


def test_a_good_inbox_is_shown_from_its_folders_to_its_notices(world: World, monkeypatch):
    inbox = see_folders(world, monkeypatch, INBOX, JUNK, SENT, Folder(name="Kunder"))
    for raw in (ordinary(1), dsn(), ordinary(2)):
        world.deliver(raw)
    assert steps(world, inbox) == {
        "folders": ("ok", "Read: INBOX (1,203), Søppelpost (4). Not read: Kunder, Sendt."),
        "mail": ("ok", "3 messages came in the last day, the newest at 2026-11-22 12:00 UTC."),
        "notices": ("ok", "1 of them may be notices; the newest: bounce about bob@customer.example."),
    }
    assert world.mailboxes["acme/alice"].closed == 1


@pytest.mark.parametrize(
    ("folders", "words"),
    [
        ((JUNK, SENT), "inbox itself is not among the folders read"),
        ((INBOX, SENT), "No junk folder is read"),
        ((INBOX, JUNK), "No folder of sent mail"),
    ],
)
def test_a_folder_that_is_missing_is_named(world: World, monkeypatch, folders, words):
    state, said = steps(world, see_folders(world, monkeypatch, *folders))["folders"]
    assert state == "warning"
    assert words in said


def test_an_empty_inbox_is_doubted(world: World):
    assert steps(world)["mail"] == (
        "warning",
        "No mail came in the last 30 days: is this the inbox that people write to?",
    )


def test_a_clock_that_is_wrong_is_said(world: World):
    inbox = world.inbox()
    world.mailboxes["acme/alice"].deliver(ordinary(), NOW + timedelta(hours=1))
    state, said = steps(world, inbox)["mail"]
    assert state == "warning"
    assert "in the future: set this machine's clock" in said


def test_refused_credentials_end_it_with_what_to_do(world: World):
    inbox = world.inbox()
    world.mailboxes["acme/alice"].broken = lambda: AuthRequired("Create an app password.")
    assert steps(world, inbox) == {"folders": ("failed", "Create an app password.")}
    inbox = replace(inbox, provider="imap", settings='{"host": "no-such-host.invalid", "username": "u"}')
    assert steps(world, inbox) == {"sign-in": ("failed", "Create an app password.")}


def test_a_host_that_a_tenant_may_not_name_is_told_first(world: World, monkeypatch):
    object.__setattr__(world.context, "dial", lambda _: Guard())
    inbox = replace(world.inbox(), provider="imap", settings='{"host": "127.0.0.1", "username": "u"}')
    (step,) = preflight(world.context, inbox)
    assert (step.name, step.state) == ("reach", "failed")
    assert "inside the operator's network" in step.said


def test_a_certificate_that_expires_soon_is_told_before_it_does(world: World, monkeypatch):
    soon = NOW + timedelta(days=3)
    greeting = Greeting(peer="192.0.2.1", protocol="TLSv1.3", issuer="Acme CA", valid_until=soon)
    monkeypatch.setattr(room, "greet", lambda *_: greeting)
    inbox = replace(world.inbox(), provider="imap", settings='{"host": "imap.acme.example", "username": "u"}')
    found = steps(world, inbox)
    assert found["reach"] == ("ok", "imap.acme.example:993 answers, at 192.0.2.1.")
    state, said = found["encryption"]
    assert state == "warning"
    assert said.startswith("TLSv1.3, certificate of Acme CA, valid until 2026-11-25. It expires in 3 days")


def test_settings_that_no_longer_fit_are_a_step_too(world: World):
    inbox = replace(world.inbox(), provider="pop3")
    assert steps(world, inbox)["settings"][0] == "failed"


def test_a_handshake_shows_whose_certificate_it_is(tmp_path):
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-days", "30", "-subj", "/O=Acme Certificates/CN=localhost", "-addext", "subjectAltName=DNS:localhost"),
            *("-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            with context.wrap_socket(server.accept()[0], server_side=True) as opened:
                opened.recv(1)

        thread = threading.Thread(target=answer)
        thread.start()
        port = server.getsockname()[1]
        found = greet(Endpoint(host="localhost", port=port, tls=True, ca_file=str(certificate), timeout=5.0), dial)
        thread.join()
    assert (found.peer, found.issuer) == ("127.0.0.1", "Acme Certificates")
    assert found.valid_until is not None
    assert timedelta(days=29) < found.valid_until - datetime.now(UTC) < timedelta(days=31)


def test_where_a_server_is_is_read_from_the_settings():
    place = endpoint(ImapSettings(host="imap.acme.example", username="u"))
    assert (str(place), place and place.tls) == ("imap.acme.example:993", True)


def with_grant(world: World, **grant):
    settings = ImapSettings(host="localhost", username="alice", sign_in=SignIn.XOAUTH2)
    secret = json.dumps({"type": "microsoft", **grant})
    request = admin.InboxRequest(
        account="acme", name="alice", address="alice@acme.example", settings=settings, secret=secret, trusted=True
    )
    world.mailboxes["acme/alice"] = FakeMailbox()
    return admin.add_inbox(world.context, request)


@pytest.mark.parametrize(
    ("days", "state", "words"), [(3, "warning", "They end on 2026-11-25"), (300, "ok", "They end on 2027-09-18")]
)
def test_the_end_of_a_sign_in_is_told_before_it_comes(world: World, days, state, words):
    inbox = with_grant(world, ends_at=(NOW + timedelta(days=days)).timestamp())
    found, said = steps(world, inbox)["sign-in"]
    assert found == state
    assert words in said


def test_whose_sign_in_it_is_is_told(world: World):
    inbox = with_grant(world, user="olaf@acme.example")
    assert steps(world, inbox)["sign-in"] == ("ok", "The server accepts the sign-in of olaf@acme.example.")


def test_a_poll_asks_for_a_new_sign_in_three_days_ahead(world: World):
    inbox = with_grant(world, ends_at=(NOW + timedelta(days=7)).timestamp())
    world.work()
    assert admin.the_inbox(world.context, inbox.name, inbox.account).attention is None
    world.now = NOW + timedelta(days=5)
    world.work()
    attention = admin.the_inbox(world.context, inbox.name, inbox.account).attention
    assert attention == "The sign-in ends on 2026-11-29 at 12:00 UTC: sign in again before (inbox sign-in)."


@pytest.mark.parametrize(
    ("rights", "state", "words"),
    [
        ("https://outlook.office.com/IMAP.AccessAsUser.All openid", "ok", "Granted: IMAP.AccessAsUser.All."),
        ("https://mail.google.com/", "ok", "Granted: https://mail.google.com/."),
        ("IMAP.AccessAsUser.All Mail.Send", "ok", "Never used, and granted as well: Mail.Send."),
        ("IMAP.AccessAsApp", "ok", "Granted: IMAP.AccessAsApp."),
        ("openid Mail.Send", "warning", "not granted: IMAP.AccessAsApp or IMAP.AccessAsUser.All or https://mail."),
    ],
)
def test_the_rights_of_a_sign_in_are_named(world: World, rights, state, words):
    found, said = steps(world, with_grant(world, granted=rights))["rights"]
    assert found == state
    assert words in said
