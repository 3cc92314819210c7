"""A server that tells of new mail: real Dovecot, and servers that hang up or have never heard of IDLE."""

import select

import pytest

from connectors import ConnectorError, ImapSettings, Misconfigured, Security, Unavailable, doorbell
from tests.connectors.mailboxes import ImapMailbox, Password, message
from tests.fakes.imap import FakeImap

WAIT = 10.0


@pytest.fixture
def bell(imap: ImapMailbox):
    bell = doorbell(imap.settings(), Password(imap.stack.password))
    assert bell is not None
    bell.open()
    yield bell
    bell.close()


def heard(bell) -> bool:
    """Wait until the server has said anything; tell whether it was of new mail."""
    readable, _, _ = select.select([bell], [], [], WAIT)
    assert readable
    return bell.rung()


def rings(bell) -> bool:
    """Dovecot also says OK now and then."""
    return any(heard(bell) for _ in range(5))


def test_mail_that_comes_rings(imap, bell):
    imap.deliver_all([message()])
    assert rings(bell)
    imap.deliver_all([message()])
    assert rings(bell)


def test_a_renewed_wait_goes_on_ringing(imap, bell):
    assert bell.renew() is False
    imap.deliver_all([message()])
    assert rings(bell)
    imap.deliver_all([message()])
    assert rings(bell) or bell.renew()


def test_what_is_not_mail_does_not_ring(imap):
    imap.deliver_all([raw := message()])
    bell = doorbell(imap.settings(), Password(imap.stack.password))
    bell.open()
    imap.remove(raw)
    assert not heard(bell)  # * 1 EXPUNGE
    bell.close()


def test_a_connection_that_is_cut_is_noticed(imap, bell):
    imap.stack.doveadm("kick", imap.address)
    with pytest.raises(Unavailable):
        rings(bell)


def test_a_server_without_idle_is_left_to_polling():
    with FakeImap() as fake:
        settings = ImapSettings(host="127.0.0.1", port=fake.port, security=Security.NONE, username="alice")
        bell = doorbell(settings, Password("secret"))
        with pytest.raises(Misconfigured, match="offers no IDLE"):
            bell.open()
        bell.close()


def test_a_doorbell_that_cannot_be_opened_says_why(imap):
    bell = doorbell(imap.settings(), Password("wrong"))
    with pytest.raises(ConnectorError):
        bell.open()
    bell.close()
