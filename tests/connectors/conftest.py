import pytest

from tests.connectors.mailboxes import ExchangeMailbox, ImapMailbox, MaildirMailbox
from tests.fakes.ews.server import FakeExchange


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


@pytest.fixture(params=["imap", "maildir", "exchange"])
def mailbox(request):
    """Every kind of mailbox in turn."""
    return request.getfixturevalue(request.param)
