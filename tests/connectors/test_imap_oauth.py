"""Signing in to a real Dovecot by access tokens (signed JWTs), and what a person is told where that fails."""

import json
import time
from contextlib import closing

import pytest

from connectors import AuthRequired, ImapSettings, Misconfigured, Security, SignIn, Unavailable
from connectors.imap import ImapConnector
from tests.connectors.mailboxes import LONG_AGO, message
from tests.connectors.test_oauth import Store
from tests.fakes.imap import FakeImap

BY_TOKEN = [SignIn.XOAUTH2, SignIn.OAUTHBEARER]


def poll(imap, token: str, sign_in: SignIn, **changes):
    store = Store({"type": "bearer", "access_token": token})
    connector = ImapConnector(imap.settings(sign_in=sign_in, **changes), store)
    try:
        return connector.poll(LONG_AGO)
    finally:
        connector.close()


@pytest.mark.parametrize("sign_in", BY_TOKEN)
def test_a_good_token_opens_the_inbox(imap, sign_in):
    imap.deliver_all([message()])
    assert len(poll(imap, imap.stack.token(imap.address), sign_in).envelopes) == 1


@pytest.mark.parametrize("sign_in", BY_TOKEN)
@pytest.mark.parametrize("what", ["expired", "of another user", "signed by another", "no token at all"])
def test_a_bad_token_needs_a_person(imap, sign_in, what):
    tokens = {
        "expired": imap.stack.token(imap.address, life=-30),
        "of another user": imap.stack.token("mallory@sender.test"),
        "signed by another": imap.stack.token(imap.address, key=b"some other key, as long as the first"),
        "no token at all": "nonsense",
    }
    with pytest.raises(AuthRequired) as caught:
        poll(imap, tokens[what], sign_in)
    assert tokens[what] not in str(caught.value)


@pytest.mark.parametrize("sign_in", BY_TOKEN)
def test_over_starttls_too(imap, sign_in):
    token = imap.stack.token(imap.address)
    poll(imap, token, sign_in, security=Security.STARTTLS, port=imap.stack.ports.imap)


@pytest.mark.parametrize("sign_in", BY_TOKEN)
def test_a_token_that_is_refused_is_renewed_once(imap, sign_in, monkeypatch):
    """A provider may revoke a token before its end."""
    import connectors._imap_session as room

    good, given = imap.stack.token(imap.address), []

    def access_token(_credentials, _dial, *, refused=None):
        given.append(refused)
        return good if refused == "revoked" else "revoked"

    monkeypatch.setattr(room, "access_token", access_token)
    poll(imap, "whatever", sign_in)
    assert given == [None, "revoked"]


def test_a_connection_that_comes_after_the_end_of_the_call_is_broken_at_once(monkeypatch):
    """Renewing takes time as well, and nothing is open meanwhile that the deadline could break."""
    import connectors._imap_session as room

    def access_token(_credentials, _dial, *, refused=None):
        if refused:
            time.sleep(0.6)
        return refused or "revoked"

    monkeypatch.setattr(room, "CALL_LIMIT", 0.3)
    monkeypatch.setattr(room, "access_token", access_token)
    answers = {"CAPABILITY": "* CAPABILITY IMAP4rev1 AUTH=XOAUTH2\r\n{tag} OK done", "AUTHENTICATE": "{tag} NO no"}
    with FakeImap(answers) as fake:
        connector = ImapConnector(settings(fake), Store({"type": "bearer", "access_token": "t"}))
        with closing(connector), pytest.raises(Unavailable, match="too slow"):
            connector.poll(LONG_AGO)
        assert len([command for command in fake.commands if command.startswith("AUTHENTICATE")]) == 1


def settings(fake: FakeImap, sign_in: SignIn = SignIn.XOAUTH2) -> ImapSettings:
    return ImapSettings(
        host="127.0.0.1", port=fake.port, security=Security.NONE, username="alice", sign_in=sign_in, read_timeout=5.0
    )


def test_a_server_that_takes_no_tokens_is_said():
    with FakeImap({"CAPABILITY": "* CAPABILITY IMAP4rev1 AUTH=PLAIN AUTH=LOGIN\r\n{tag} OK done"}) as fake:
        connector = ImapConnector(settings(fake), Store({"type": "bearer", "access_token": "t"}))
        with pytest.raises(Misconfigured, match=r"doesn't offer XOAUTH2, but LOGIN, PLAIN: change --sign-in\.$"):
            connector.poll(LONG_AGO)
        connector.close()


def test_a_password_in_the_place_of_a_grant_is_said():
    with FakeImap() as fake:

        class Password(Store):
            def load(self) -> tuple[str, int]:
                return "hunter2", 1

        connector = ImapConnector(settings(fake), Password({}))
        with pytest.raises(AuthRequired, match="no OAuth grant") as caught:
            connector.poll(LONG_AGO)
        assert "hunter2" not in str(caught.value)
        assert fake.commands == []


def test_the_servers_reason_is_told(monkeypatch):
    from connectors._imap_bearer import _status

    assert _status(json.dumps({"status": "invalid_token", "scope": "x"}).encode()) == "invalid_token"
    assert _status(b"\xff") == "no reason given"
    assert _status(json.dumps({"status": "a\nb" + "c" * 900}).encode()) == "ab" + "c" * 58
