"""Signing in to Exchange, TLS, and which endpoints are refused before any connection."""

import json
import logging
import socket
import ssl
import threading
from typing import ClassVar

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from exchangelib.protocol import CachingProtocol

from connectors import AuthRequired, Misconfigured, SignIn, Unavailable, _exchange_sign_in
from connectors._exchange_url import EwsUrl
from connectors.network import Guard
from tests.connectors.mailboxes import LONG_AGO, ago, exchange_connector, ids, ids_of, message
from tests.fakes.ews import faults
from tests.fakes.ews.ntlm import NtlmGate
from tests.fakes.ews.server import FakeExchange
from tests.fakes.ews.store import Store

GRANT = json.dumps({"type": "bearer", "access_token": "tok-en"})
NTLM = {"sign_in": SignIn.NTLM, "username": "ACME\\alice"}


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate for localhost that signed itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(ago(days=1)).not_valid_after(ago(days=-1))
    names = x509.SubjectAlternativeName([x509.DNSName("localhost")])
    for extension in (names, x509.BasicConstraints(ca=True, path_length=0)):
        builder = builder.add_extension(extension, critical=False)
    folder = tmp_path_factory.mktemp("tls")
    cert, secret = folder / "cert.pem", folder / "key.pem"
    cert.write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM))
    secret.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return cert, secret


@pytest.fixture
def tls(certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    return context


@pytest.fixture
def ntlm_user(tmp_path, monkeypatch):
    monkeypatch.setenv("NTLM_USER_FILE", NtlmGate.user_file(tmp_path, "ACME", "alice", "secret"))


def forbidden_dial(host, port, timeout):
    raise AssertionError("nothing may be contacted")


def test_basic():
    with FakeExchange() as fake:
        fake.store.deliver(raw := message())
        assert ids(exchange_connector(fake).poll(LONG_AGO).envelopes) == ids_of(raw)
        assert fake.connections == 1


def test_a_password_of_any_letters():
    with FakeExchange(users={"ålice@sender.test": "pæss:wörd ☃"}) as fake:
        exchange_connector(fake, "pæss:wörd ☃", username="ålice@sender.test").poll(LONG_AGO)


def test_oauth():
    with FakeExchange(tokens={"tok-en"}, offers=("Bearer",)) as fake:
        exchange_connector(fake, GRANT, sign_in=SignIn.OAUTH).poll(LONG_AGO)
        assert {each["Authorization"] for each in fake.headers} == {"Bearer tok-en"}


@pytest.mark.parametrize(
    "grant", ["", "nonsense", "{}", "[]", '{"type": "bearer"}', '{"type": "bearer", "access_token": "a\\nb"}']
)
def test_a_grant_that_cannot_be_read_asks_for_a_new_sign_in(grant):
    with FakeExchange() as fake, pytest.raises(AuthRequired, match=r"grant|token"):
        exchange_connector(fake, grant, sign_in=SignIn.OAUTH).poll(LONG_AGO)


def test_a_refused_token_is_renewed_once(monkeypatch):
    class Granted:
        refused: ClassVar[list[str | None]] = []

        @classmethod
        def token(cls, _credentials, _dial, *, refused=None):
            cls.refused.append(refused)
            return f"tok-{len(cls.refused)}"

    monkeypatch.setattr(_exchange_sign_in, "access_token", Granted.token)
    with FakeExchange(tokens={"tok-2"}, offers=("Bearer",)) as fake:
        fake.store.deliver(raw := message())
        connector = exchange_connector(fake, sign_in=SignIn.OAUTH)
        assert ids(connector.poll(LONG_AGO).envelopes) == ids_of(raw)
        assert Granted.refused == [None, "tok-1"]
        fake.tokens.clear()
        with pytest.raises(AuthRequired, match="sign in again"):
            connector.poll(LONG_AGO)


@pytest.mark.parametrize("scheme", ["NTLM", "Negotiate"])
def test_ntlm_signs_in_a_connection_once(ntlm_user, scheme):
    gate = NtlmGate(scheme)
    with FakeExchange(gate=gate) as fake:
        fake.store.deliver(raw := message())
        connector = exchange_connector(fake, **NTLM)
        page = connector.poll(LONG_AGO)
        assert ids(page.envelopes) == ids_of(raw)
        connector.poll(page.cursor)
        assert (gate.handshakes, fake.connections) == (1, 1)


def test_ntlm_signs_in_again_where_the_connection_was_lost(ntlm_user):
    gate = NtlmGate()
    with FakeExchange(gate=gate) as fake:
        connector = exchange_connector(fake, **NTLM)
        cursor = connector.poll(LONG_AGO).cursor
        fake.faults[fake.requests] = faults.drop
        connector.poll(cursor)
        assert (gate.handshakes, fake.connections) == (2, 2)


def test_ntlm_is_bound_to_the_certificate(ntlm_user, certificate, tls):
    der = ssl.PEM_cert_to_DER_cert(certificate[0].read_text())
    with FakeExchange(gate=NtlmGate(certificate=der), tls=tls) as fake:
        exchange_connector(fake, ca_file=str(certificate[0]), **NTLM).poll(LONG_AGO)
    with (
        FakeExchange(gate=NtlmGate(certificate=b"another"), tls=tls) as fake,
        pytest.raises(AuthRequired, match="refuses the sign-in"),
    ):
        exchange_connector(fake, ca_file=str(certificate[0]), **NTLM).poll(LONG_AGO)


def test_a_wrong_ntlm_password(ntlm_user):
    with (
        FakeExchange(gate=NtlmGate()) as fake,
        pytest.raises(AuthRequired, match="enter the current password") as caught,
    ):
        exchange_connector(fake, "wrong-1", **NTLM).poll(LONG_AGO)
    assert "wrong-1" not in str(caught.value)


@pytest.mark.parametrize("challenge", ["!!!", "TlRMTVNTUAAC", "AAAA"])
def test_a_challenge_that_is_none(challenge):
    gate = lambda handler, _given: handler.refuse((f"NTLM {challenge}",)) or False  # noqa: E731
    with FakeExchange(gate=gate) as fake, pytest.raises(Unavailable):
        exchange_connector(fake, **NTLM).poll(LONG_AGO)


@pytest.mark.parametrize(
    ("sign_in", "offers", "words"),
    [
        (SignIn.BASIC, ("Basic realm=x",), "enter the current password"),
        (SignIn.BASIC, ("Negotiate", "NTLM"), "has basic sign-in switched off; it offers negotiate, ntlm"),
        (SignIn.BASIC, ("Negotiate, NTLM",), "has basic sign-in switched off; it offers negotiate, ntlm"),
        (SignIn.BASIC, (), "enter the current password"),
        (SignIn.NTLM, ('Basic realm="mail, all"',), "has ntlm sign-in switched off; it offers basic"),
        (SignIn.NTLM, (), "ask its administrator"),
        (SignIn.OAUTH, ("Basic realm=x",), "has oauth sign-in switched off; it offers basic"),
        (SignIn.OAUTH, ('Bearer client_id="x", error="invalid_token"',), "get a new one"),
    ],
)
def test_a_refusal_says_what_to_do(sign_in, offers, words):
    secret = GRANT if sign_in is SignIn.OAUTH else "wrong-1"
    with FakeExchange(offers=offers) as fake, pytest.raises(AuthRequired, match=words) as caught:
        exchange_connector(fake, secret, sign_in=sign_in).poll(LONG_AGO)
    assert "wrong-1" not in str(caught.value)
    assert "tok-en" not in str(caught.value)


def test_a_new_secret_is_loaded_after_a_refusal():
    class Changing:
        secret = "old"

        def load(self):
            return self.secret, 1

    with FakeExchange() as fake:
        connector = exchange_connector(fake)
        connector._session._credentials = credentials = Changing()
        with pytest.raises(AuthRequired):
            connector.poll(LONG_AGO)
        credentials.secret = "secret"
        connector.poll(LONG_AGO)


def test_nothing_that_fails_carries_the_secret():
    """A server may echo what it was sent."""
    with FakeExchange(always=faults.error("ErrorInternalServerError", "you sent secret")) as fake:
        for secret, sign_in in (("secret", SignIn.BASIC), (GRANT.replace("tok-en", "secret"), SignIn.OAUTH)):
            with pytest.raises(Unavailable) as caught:
                exchange_connector(fake, secret, sign_in=sign_in).poll(LONG_AGO)
            assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "endpoint",
    [
        "https://outlook.office365.com/EWS/Exchange.asmx",
        "https://OUTLOOK.office365.com./EWS/Exchange.asmx",
        "https://outlook.office.com/ews",
        "https://mail.office365.us/EWS/Exchange.asmx",
        "https://partner.outlook.cn/EWS/Exchange.asmx",
        "https://outlook.office.de/EWS/Exchange.asmx",
        "https://eu-west.outlook.com/EWS/Exchange.asmx",
    ],
)
def test_the_cloud_is_refused_before_any_connection(endpoint):
    with FakeExchange() as fake, pytest.raises(Misconfigured, match=r"1 April 2027.*office365 instead"):
        exchange_connector(fake, dial=forbidden_dial, endpoint=endpoint).poll(LONG_AGO)


@pytest.mark.parametrize(
    ("endpoint", "words"),
    [
        ("", "no address"),
        ("mail.acme.example", "no address"),
        ("ftp://mail.acme.example/", "no address"),
        ("https:///EWS", "no address"),
        ("https://mail.acme.example:99999/", "no address"),
        ("https://[::1/", "no address"),
        ("https://mail.acme.example/a b", "no address"),
        ("https://mail.acme.example/\r\nX: y", "no address"),
        ("https://alice:hunter2@mail.acme.example/", "take it out"),
        ("http://mail.acme.example/EWS/Exchange.asmx", "unencrypted"),
        ("http://localhost.acme.example/", "unencrypted"),
    ],
)
def test_an_endpoint_that_cannot_be_right(endpoint, words):
    with FakeExchange() as fake, pytest.raises(Misconfigured, match=words) as caught:
        exchange_connector(fake, dial=forbidden_dial, endpoint=endpoint).poll(LONG_AGO)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("address", ["", "alice", "ålice@sender.test", "alice@sender.test\r\nX: y"])
def test_an_address_that_cannot_be_right(address):
    with FakeExchange() as fake, pytest.raises(Misconfigured, match="primary SMTP address"):
        exchange_connector(fake, dial=forbidden_dial, address=address).poll(LONG_AGO)


def test_a_user_name_that_basic_cannot_carry():
    with FakeExchange() as fake, pytest.raises(Misconfigured, match="choose ntlm"):
        exchange_connector(fake, dial=forbidden_dial, username="a:b").poll(LONG_AGO)


def test_no_secret_is_logged(ntlm_user, caplog):
    caplog.set_level(logging.DEBUG)
    with FakeExchange(gate=NtlmGate()) as fake:
        exchange_connector(fake, **NTLM).poll(LONG_AGO)
        with pytest.raises(AuthRequired):
            exchange_connector(fake, "wrong-1", **NTLM).poll(LONG_AGO)
    with FakeExchange(always=faults.error("ErrorInternalServerError")) as fake, pytest.raises(Unavailable):
        exchange_connector(fake).poll(LONG_AGO)
    assert "secret" not in caplog.text
    assert "wrong-1" not in caplog.text


def test_nothing_is_left_in_what_exchangelib_keeps_for_all_of_the_process():
    with FakeExchange() as fake:
        exchange_connector(fake).poll(LONG_AGO)
    assert not CachingProtocol._protocol_cache


def test_an_endpoint_s_parts():
    assert EwsUrl.parse("https://Mail.Acme.example/EWS/Exchange.asmx") == EwsUrl(
        "mail.acme.example", 443, "/EWS/Exchange.asmx", is_tls=True
    )
    assert EwsUrl.parse("http://[::1]:8080") == EwsUrl("::1", 8080, "/", is_tls=False)


def test_tls_with_an_authority_of_one_s_own(certificate, tls):
    with FakeExchange(tls=tls) as fake:
        exchange_connector(fake, ca_file=str(certificate[0])).poll(LONG_AGO)
        with pytest.raises(Misconfigured, match="set ca_file"):
            exchange_connector(fake).poll(LONG_AGO)
        other = fake.endpoint.replace("localhost", "127.0.0.1")
        with pytest.raises(Misconfigured, match="certificate"):
            exchange_connector(fake, ca_file=str(certificate[0]), endpoint=other).poll(LONG_AGO)


def test_a_ca_file_that_cannot_be_used(tmp_path):
    (tmp_path / "empty.pem").touch()
    with FakeExchange() as fake:
        endpoint = fake.endpoint.replace("http:", "https:")
        for name in ("empty.pem", "missing.pem"):
            with pytest.raises(Misconfigured, match="ca_file"):
                exchange_connector(fake, endpoint=endpoint, ca_file=str(tmp_path / name)).poll(LONG_AGO)


def test_https_on_a_port_without_tls():
    with FakeExchange() as fake, pytest.raises(Misconfigured, match="doesn't speak TLS"):
        exchange_connector(fake, endpoint=fake.endpoint.replace("http:", "https:")).poll(LONG_AGO)


def test_the_guard_keeps_us_out_of_the_operator_s_network():
    with FakeExchange() as fake:
        with pytest.raises(Misconfigured, match="inside the operator's network"):
            exchange_connector(fake, dial=Guard()).poll(LONG_AGO)
        assert fake.requests == 0
        exchange_connector(fake, dial=Guard.parse(["127.0.0.0/8"])).poll(LONG_AGO)


def test_a_proxy_of_the_environment_is_not_used(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    with FakeExchange() as fake:
        exchange_connector(fake).poll(LONG_AGO)


def test_nobody_listens():
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with FakeExchange() as fake, pytest.raises(Unavailable, match="refuses connections"):
        exchange_connector(fake, endpoint=f"http://127.0.0.1:{port}/EWS/Exchange.asmx").poll(LONG_AGO)


def test_no_such_host():
    def dial(host, port, timeout):
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    with FakeExchange() as fake, pytest.raises(Unavailable, match="no address in DNS"):
        exchange_connector(fake, dial=dial, endpoint="https://mail.acme.example/EWS/Exchange.asmx").poll(LONG_AGO)


def test_two_accounts_on_one_server_stay_apart():
    stores = [Store("alice@sender.test"), Store("bob@sender.test")]
    with FakeExchange(stores=stores, users={"alice": "secret", "bob": "hush"}) as fake:
        mails = [message(), message()]
        for store, raw in zip(stores, mails, strict=True):
            store.deliver(raw)
        alice = exchange_connector(fake)
        bob = exchange_connector(fake, "hush", username="bob", address="bob@sender.test")
        impostor = exchange_connector(fake, "guess", username="alice")
        for _ in range(2):
            assert ids(alice.poll(LONG_AGO).envelopes) == ids_of(mails[0])
            with pytest.raises(AuthRequired):
                impostor.poll(LONG_AGO)
        bob_asks = fake.requests
        assert ids(bob.poll(LONG_AGO).envelopes) == ids_of(mails[1])
        assert len({each["Authorization"] for each in fake.headers[bob_asks:]}) == 1
        alice.close()
        assert bob.poll(LONG_AGO).cursor


def test_many_threads_each_with_a_connector_of_its_own():
    stores = [Store(f"user{number}@sender.test") for number in range(8)]
    for store in stores:
        store.deliver(message(store.address))
    wrong: list[str] = []
    with FakeExchange(stores=stores) as fake:

        def read(store: Store) -> None:
            connector = exchange_connector(fake, address=store.address)
            for _ in range(5):
                found = connector.poll(LONG_AGO).envelopes
                wrong.extend(each.headers["subject"] for each in found if each.headers["subject"] != store.address)
                wrong.extend([] if found else ["nothing"])

        threads = [threading.Thread(target=read, args=(store,)) for store in stores]
        for each in threads:
            each.start()
        for each in threads:
            each.join(30)
    assert wrong == []
