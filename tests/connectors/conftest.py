import pytest

from tests.connectors.mailboxes import ExchangeMailbox, GmailMailbox, ImapMailbox, MaildirMailbox, WeakMailbox
from tests.fakes.ews.server import FakeExchange
from tests.fakes.gmail.server import FakeGmail


@pytest.fixture
def imap(mail_stack):
    """A fresh inbox on a real Dovecot."""
    mailbox = ImapMailbox(mail_stack)
    yield mailbox
    mailbox.close()


@pytest.fixture
def maildir(tmp_path):
    return MaildirMailbox(tmp_path / "Maildir")


@pytest.fixture
def exchange():
    """A mailbox on a fake Exchange server."""
    with FakeExchange() as fake:
        yield ExchangeMailbox(fake)


@pytest.fixture
def gmail(emulate):
    """A mailbox of emulate behind the fake Gmail API."""
    with FakeGmail(emulate.fresh_mailbox()) as fake:
        yield GmailMailbox(fake)


@pytest.fixture
def weak(weak_port):
    """A fresh inbox on a weak IMAP server."""
    mailbox = WeakMailbox(weak_port)
    yield mailbox
    mailbox.close()


@pytest.fixture(params=["imap", "weak", "maildir", "exchange", "gmail"])
def mailbox(request):
    """Every kind of mailbox in turn."""
    return request.getfixturevalue(request.param)
