"""A Gmail mailbox by tokens that emulate's Google service issues: its sign-in page, codes, renewal, revocation."""

import json
from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import pytest
import urllib3

from connectors import AuthRequired, ConnectorError, GmailSettings, Misconfigured, dial, sign_in
from connectors.gmail import GmailConnector
from connectors.oauth import GMAIL, granted
from tests.connectors.mailboxes import GmailMailbox, ago, ids, ids_of, message, read_all
from tests.connectors.test_office365_answers import Kept
from tests.fakes.gmail.server import FakeGmail
from tests.live.emulate import Emulate

HERE = "http://127.0.0.1:1"


class Issued(set):
    """The access tokens that emulate has issued, until they are revoked."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.revoked: set[str] = set()

    def __contains__(self, token: object) -> bool:
        self.seen.append(str(token))
        return str(token).startswith("google_") and token not in self.revoked


@pytest.fixture
def gmail(emulate: Emulate) -> Iterator[GmailMailbox]:
    with FakeGmail(emulate.fresh_mailbox(), tokens=Issued()) as fake:
        yield GmailMailbox(fake)


def service(emulate: Emulate) -> str:
    return f"http://127.0.0.1:{emulate.port}"


def client(emulate: Emulate) -> dict:
    registered = {
        "client_id": "app-1",
        "client_secret": "s3cret",
        "auth_uri": "https://accounts.test/o/oauth2/v2/auth",  # emulate's page, as its browser finds it below
        "token_uri": f"{service(emulate)}/oauth2/token",
    }
    return dict(sign_in.read_client(json.dumps({"installed": registered})))


def browsed(begun: sign_in.Begun, emulate: Emulate, address: str) -> dict[str, str]:
    """Agree as a person does: open the page, and choose the account on it."""
    asked = {name: values[0] for name, values in parse_qs(urlsplit(begun.url).query).items()}
    with urllib3.PoolManager() as browser:
        place = urlsplit(begun.url)
        assert browser.request("GET", f"{service(emulate)}{place.path}?{place.query}").status == 200
        answer = browser.request(
            "POST",
            f"{service(emulate)}/o/oauth2/v2/auth/callback",
            fields=asked | {"email": address},
            encode_multipart=False,
            redirect=False,
        )
    return {name: values[0] for name, values in parse_qs(urlsplit(answer.headers["Location"]).query).items()}


def signed_in(emulate: Emulate, address: str) -> Kept:
    begun = sign_in.begin(client(emulate), GMAIL, HERE, address, dial)
    return Kept(json.loads(sign_in.finish(begun.flow, browsed(begun, emulate, address), dial)))


def connector_with(gmail: GmailMailbox, kept: Kept) -> GmailConnector:
    settings = GmailSettings(api=gmail.fake.url, address=gmail.fake.mailbox.address, units_per_minute=100_000)
    connector = GmailConnector(settings, kept, dial)
    gmail.fake.clients.append(connector)
    return connector


def test_a_person_signs_in_and_the_mailbox_is_read_past_the_life_of_each_token(emulate, gmail):
    gmail.deliver_all([raw := message()])
    kept = signed_in(emulate, gmail.fake.mailbox.address)
    assert granted(kept.secret) == (GMAIL.google_scope,)
    found, cursor = read_all(connector_with(gmail, kept), ago(days=1))
    assert ids(found) == ids_of(raw)
    for _ in range(2):
        gmail.fake.tokens.revoked.update(gmail.fake.tokens.seen)
        gmail.deliver_all([raw := message()])
        found, cursor = read_all(connector_with(gmail, kept), cursor)
        assert ids(found) == ids_of(raw)
    assert len(set(gmail.fake.tokens.seen)) == 3


def test_a_sign_in_that_was_taken_back_needs_the_person_again(emulate, gmail):
    kept = signed_in(emulate, gmail.fake.mailbox.address)
    connector = connector_with(gmail, kept)
    _, cursor = read_all(connector, ago(days=1))
    with urllib3.PoolManager() as anybody:
        for token in (json.loads(kept.secret)["refresh_token"], json.loads(kept.secret)["access_token"]):
            anybody.request(
                "POST", f"{service(emulate)}/oauth2/revoke", fields={"token": token}, encode_multipart=False
            )
    gmail.fake.tokens.revoked.update(gmail.fake.tokens.seen)
    with pytest.raises(AuthRequired, match="connect the inbox again"):
        connector.poll(cursor)


def test_who_signs_in_to_another_account_is_told_and_reads_nothing(emulate, gmail):
    other = emulate.fresh_mailbox()
    kept = signed_in(emulate, other.address)
    gmail.fake.mailbox, gmail.fake.answers.mailbox = other, other
    settings = GmailSettings(api=gmail.fake.url, address="gina@sender.test")
    connector = GmailConnector(settings, kept, dial)
    gmail.fake.clients.append(connector)
    with pytest.raises(Misconfigured, match=f"leads to the mailbox {other.address}"):
        connector.poll(ago(days=1))


def test_a_code_counts_once_and_only_with_its_own_proof(emulate, gmail):
    address = gmail.fake.mailbox.address
    begun = sign_in.begin(client(emulate), GMAIL, HERE, address, dial)
    answer = browsed(begun, emulate, address)
    other = sign_in.begin(client(emulate), GMAIL, HERE, address, dial)
    with pytest.raises(ConnectorError):  # somebody else's code, slipped into one's own sign-in
        sign_in.finish(other.flow, answer | {"state": other.state}, dial)
    sign_in.finish(begun.flow, answer, dial)
    with pytest.raises(AuthRequired):
        sign_in.finish(begun.flow, answer, dial)
