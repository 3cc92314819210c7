import pytest

from tests.connectors.mailboxes import ImapMailbox, MaildirMailbox


@pytest.fixture
def imap(mail_stack):
    """A fresh inbox on a real Dovecot."""
    mailbox = ImapMailbox(mail_stack)
    yield mailbox
    mailbox.close()


@pytest.fixture
def maildir(tmp_path):
    return MaildirMailbox(tmp_path / "Maildir")


@pytest.fixture(params=["imap", "maildir"])
def mailbox(request):
    """Every kind of mailbox in turn."""
    return request.getfixturevalue(request.param)
