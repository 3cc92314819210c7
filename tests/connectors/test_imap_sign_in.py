"""Getting into an IMAP server, and what a person is told where that fails."""

import ssl
from contextlib import suppress
from datetime import timedelta

import pytest

from connectors import AuthRequired, ConnectorError, ImapSettings, Misconfigured, Security, Throttled, Unavailable
from connectors._tls import tls_context
from connectors.imap import ImapConnector
from connectors.network import dial
from tests.connectors.mailboxes import LONG_AGO, ImapMailbox, Password, fake_connector, message
from tests.fakes.imap import DRIP, DROP, HANG, FakeImap
from tests.live.processes import free_ports

SECRET = "s3cr3t-Passw0rd"


def failure(connector: ImapConnector) -> ConnectorError:
    """Poll, and return the error; it must be one sentence for a person, without a secret."""
    try:
        with pytest.raises(ConnectorError) as caught:
            connector.poll(LONG_AGO)
    finally:
        connector.close()
    sentence = str(caught.value)
    assert sentence.endswith("."), sentence
    assert "\n" not in sentence
    assert SECRET not in sentence
    return caught.value


@pytest.mark.parametrize("security", list(Security))
def test_each_kind_of_security(imap, security):
    imap.deliver_all([message()])
    port = imap.stack.ports.imaps if security is Security.TLS else imap.stack.ports.imap
    assert len(imap.connector(security=security, port=port).poll(LONG_AGO).envelopes) == 1


def test_a_wrong_password_needs_a_person(imap):
    error = failure(imap.connector(password=SECRET))
    assert type(error) is AuthRequired
    assert imap.address in str(error)


@pytest.mark.parametrize("password", ['quotes " and \\ and {5}', "blåbær-żółć-пароль", "two words", "()%*[]"])
def test_passwords_of_any_letters(mail_stack, password):
    address = f"odd{len(password)}@sender.test"
    mail_stack.add_user(address, password)
    mailbox = ImapMailbox(mail_stack, address)
    mailbox.connector(password=password).poll(LONG_AGO)
    assert type(failure(mailbox.connector(password=password + "x"))) is AuthRequired
    mailbox.close()


def test_a_user_name_with_quotes_stays_one_word():
    with FakeImap({"LOGIN": "{tag} NO wrong"}) as fake:
        failure(fake_connector(fake, SECRET, username='al"ice smith\\'))
        assert fake.commands[1].startswith('LOGIN "al\\"ice smith\\\\" ')


@pytest.mark.parametrize("username", ["alice\r\nA1 DELETE INBOX", "ali\0ce"])
def test_a_line_break_in_a_name_never_reaches_the_server(username):
    with FakeImap() as fake:
        assert type(failure(fake_connector(fake, SECRET, username=username))) is AuthRequired
        assert fake.commands == ["CAPABILITY"]


def test_an_unknown_host():
    settings = ImapSettings(host="no-such-host.invalid", username="alice")
    error = failure(ImapConnector(settings, Password(SECRET)))
    assert type(error) is Unavailable
    assert "no-such-host.invalid:993" in str(error)


@pytest.mark.parametrize(
    "where", [{"host": "mail..test"}, {"host": "x" * 70 + ".test"}, {"port": 99_999}, {"port": -1}]
)
def test_what_can_be_no_servers_address(where):
    settings = ImapSettings(**{"host": "localhost", "username": "alice"} | where)
    assert type(failure(ImapConnector(settings, Password(SECRET)))) in (Misconfigured, Unavailable)


def test_a_fault_of_the_credentials_is_not_the_servers():
    class Broken(Password):
        def load(self):
            raise ValueError("no key fits")

    with pytest.raises(ValueError, match="no key fits"):
        ImapConnector(ImapSettings(host="localhost", username="alice"), Broken("")).poll(LONG_AGO)


def test_a_port_where_nobody_listens(imap):
    (port,) = free_ports(1)
    error = failure(imap.connector(port=port))
    assert type(error) is Unavailable
    assert f"localhost:{port}" in str(error)


def test_a_certificate_of_an_unknown_authority(imap):
    error = failure(imap.connector(ca_file=None))
    assert type(error) is Misconfigured
    assert "certificate" in str(error)
    assert "ca_file" in str(error)


def test_a_certificate_for_another_name(imap):
    error = failure(imap.connector(host="127.0.0.2"))
    assert type(error) in (Misconfigured, Unavailable)  # Unavailable where 127.0.0.2 isn't served
    port = imap.stack.ports.imap
    assert type(failure(imap.connector(security=Security.STARTTLS, port=port, ca_file=None))) is Misconfigured


@pytest.mark.parametrize("content", [None, "", "not a certificate"])
def test_a_ca_file_that_is_none(imap, tmp_path, content):
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    error = failure(imap.connector(ca_file=str(path)))
    assert type(error) is Misconfigured
    assert str(path) in str(error)


def test_tls_on_a_port_that_speaks_plain_text(imap):
    error = failure(imap.connector(port=imap.stack.ports.imap))
    assert type(error) is Misconfigured
    assert "TLS" in str(error)


def test_plain_text_on_a_port_that_speaks_tls(imap):
    error = failure(imap.connector(security=Security.NONE, connect_timeout=0.3))
    assert type(error) is Unavailable
    assert "tls" in str(error)


def test_starttls_that_is_not_offered_is_never_done_without():
    with FakeImap() as fake:
        error = failure(fake_connector(fake, SECRET, security=Security.STARTTLS))
        assert type(error) is Misconfigured
        assert not any(command.startswith(("LOGIN", "AUTHENTICATE")) for command in fake.commands)


def test_a_password_is_never_sent_in_the_open_where_the_server_forbids_it():
    with FakeImap({"CAPABILITY": "* CAPABILITY IMAP4rev1 LOGINDISABLED AUTH=PLAIN\r\n{tag} OK done"}) as fake:
        assert type(failure(fake_connector(fake, SECRET))) is Misconfigured
        assert fake.commands == ["CAPABILITY"]


ANSWERS = [
    ("NO [AUTHENTICATIONFAILED] Authentication failed.", AuthRequired, "password"),
    ("NO LOGIN failed.", AuthRequired, "password"),
    ("NO [ALERT] Invalid credentials (Failure)", AuthRequired, "password"),
    ("NO [ALERT] Application-specific password required: https://example.test", AuthRequired, "app password"),
    ("NO [AUTHENTICATIONFAILED] Basic authentication is disabled.", AuthRequired, "modern sign-in"),
    ("NO [WEBALERT https://example.test/x] Web login required.", AuthRequired, "sign in again"),
    ("NO [EXPIRED] That password is expired", AuthRequired, "expired"),
    ("NO [CONTACTADMIN] Account is locked", AuthRequired, "locked"),
    ("NO [PRIVACYREQUIRED] Use TLS", Misconfigured, "tls"),
    ("NO [UNAVAILABLE] Temporary authentication failure.", Unavailable, "tried again"),
    ("NO [INUSE] Mailbox in use", Unavailable, "tried again"),
    ("NO [LIMIT] Maximum number of connections exceeded", Throttled, "left in peace"),
    ("NO [ALERT] Too many simultaneous connections. (Failure)", Throttled, "left in peace"),
    ("NO [OVERQUOTA] Account exceeded command or bandwidth limits.", Throttled, "left in peace"),
    ("BAD [THROTTLED] Slow down", Throttled, "left in peace"),
    ("NO Request is throttled. Suggested Backoff Time: 299961 milliseconds", Throttled, "left in peace"),
    (f"NO unknown password {SECRET}", AuthRequired, "password"),
]


@pytest.mark.parametrize(("answer", "kind", "word"), ANSWERS, ids=[answer for answer, *_ in ANSWERS])
def test_what_a_server_says_to_a_sign_in(answer, kind, word):
    with FakeImap({"LOGIN": "{tag} " + answer}) as fake:
        error = failure(fake_connector(fake, SECRET))
    assert type(error) is kind
    assert word in str(error)


@pytest.mark.parametrize(
    ("host", "words"),
    [
        ("imap.gmail.com", ("app password", "OAuth")),
        ("imap.googlemail.com.", ("app password", "OAuth")),
        ("Outlook.Office365.com", ("takes no passwords", "OAuth")),
        ("imap-mail.outlook.com", ("takes no passwords", "OAuth")),
    ],
)
@pytest.mark.parametrize("answer", ["NO [AUTHENTICATIONFAILED] Invalid credentials (Failure)", "NO LOGIN failed."])
def test_hosts_that_take_no_plain_password_are_said(host, words, answer):
    with FakeImap({"LOGIN": "{tag} " + answer}) as fake:
        settings = ImapSettings(host=host, username="alice", port=fake.port, security=Security.NONE, read_timeout=5.0)
        error = failure(ImapConnector(settings, Password(SECRET), lambda _, port, wait: dial("127.0.0.1", port, wait)))
    assert type(error) is AuthRequired
    assert all(word in str(error) for word in words)


def test_how_long_to_wait_is_the_servers_word():
    with FakeImap({"LOGIN": "{tag} NO Request is throttled. Suggested Backoff Time: 299961 milliseconds"}) as fake:
        assert failure(fake_connector(fake, SECRET)).retry_after == timedelta(milliseconds=299_961)


@pytest.mark.parametrize("bye", ["* BYE [UNAVAILABLE] Down for maintenance", "* BYE Goodbye"])
def test_a_server_that_closes_during_the_sign_in_says_nothing_of_the_password(bye):
    with FakeImap({"LOGIN": bye}) as fake:
        assert type(failure(fake_connector(fake, SECRET))) is Unavailable


COMMANDS = ["CAPABILITY", "LOGIN", "LIST", "STATUS", "EXAMINE", "UID SEARCH", "UID FETCH"]


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("fault", [DROP, HANG, DRIP])
def test_a_server_that_dies_hangs_or_drips_is_unavailable(command, fault):
    with FakeImap({command: fault}) as fake:
        assert type(failure(fake_connector(fake, SECRET, connect_timeout=0.1, read_timeout=0.1))) is Unavailable


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    "answer", ["nonsense", "* 1 FETCH (((\r\n{tag} OK", "\xff\xfe\r\n{tag} OK", "* LIST x\r\n{tag} OK"]
)
def test_nonsense_is_nothing_or_unavailable(command, answer):
    with FakeImap({command: answer}) as fake:
        connector = fake_connector(fake, SECRET, connect_timeout=0.1, read_timeout=0.1)
        with suppress(Unavailable):
            assert all(envelope.headers is None for envelope in connector.poll(LONG_AGO).envelopes)
        connector.close()


@pytest.mark.parametrize("greeting", [DROP, HANG, "HTTP/1.1 400 Bad Request", "* BYE too busy", "220 mail ESMTP"])
def test_what_does_not_greet_as_imap_is_unavailable(greeting):
    with FakeImap(greeting=greeting) as fake:
        error = failure(fake_connector(fake, SECRET, connect_timeout=0.1, read_timeout=0.1))
        assert type(error) in (Unavailable, Throttled)


def test_inboxes_share_one_tls_context(imap):
    contexts = {id(tls_context(imap.settings().ca_file)) for _ in range(3)}
    assert len(contexts) == 1
    assert isinstance(tls_context(imap.settings().ca_file), ssl.SSLContext)
