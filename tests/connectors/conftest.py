import pytest

from tests.connectors.mailboxes import (
    ExchangeMailbox,
    GmailMailbox,
    ImapMailbox,
    MaildirMailbox,
    Office365Mailbox,
    WeakMailbox,
)
from tests.fakes.ews.server import FakeExchange
from tests.fakes.gmail.server import FakeGmail
from tests.fakes.graph.server import FakeGraph


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
def office365():
    """A mailbox on a fake Microsoft Graph."""
    with FakeGraph() as fake:
        yield Office365Mailbox(fake)


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


@pytest.fixture(params=["imap", "weak", "maildir", "exchange", "gmail", "office365"])
def mailbox(request):
    """Every kind of mailbox in turn."""
    return request.getfixturevalue(request.param)
