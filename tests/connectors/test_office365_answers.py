"""Every refusal of Microsoft Graph and its sign-in, in words that a person can act on."""

import json
import re
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from connectors import (
    AuthRequired,
    Cloud,
    ConnectorError,
    CursorExpired,
    MessageGone,
    Misconfigured,
    Office365Settings,
    Throttled,
    Unavailable,
    connect,
    dial,
    from_json,
    to_json,
)
from connectors._graph_clouds import CLOUDS
from connectors._graph_errors import code_of
from connectors.endpoint import endpoint
from connectors.office365 import Office365Connector
from tests.connectors.mailboxes import Password, ago, bearer, ids, ids_of, message, office365_connector, read_all
from tests.fakes.graph import faults
from tests.fakes.graph.server import FakeGraph
from tests.fakes.tokens import FakeTokens, ok, refused

SENTENCE = re.compile(r"[A-Z0-9].*\.", re.DOTALL)

REFUSALS = {
    "token": (faults.error(401, "InvalidAuthenticationToken"), AuthRequired, "get a new one"),
    "not allowed": (faults.error(403, "ErrorAccessDenied"), Misconfigured, "RBAC for Applications"),
    "no right": (faults.error(403, "Authorization_RequestDenied"), Misconfigured, "grant it Mail.Read"),
    "on premises": (faults.error(404, "MailboxNotEnabledForRESTAPI"), Misconfigured, "provider exchange"),
    "no user": (faults.error(404, "ErrorInvalidUser"), Misconfigured, "correct the address"),
    "no resource": (faults.error(404, "ResourceNotFound"), Misconfigured, "Exchange Online"),
    "no user in Entra": (faults.error(404, "Request_ResourceNotFound"), Misconfigured, "Exchange Online"),
    "gone": (faults.error(410, "whatever"), CursorExpired, "read again"),
    "state unknown": (faults.error(404, "SyncStateNotFound"), CursorExpired, "read again"),
    "state invalid": (faults.error(400, "SyncStateInvalid"), CursorExpired, "read again"),
    "resync": (faults.error(400, "resyncRequired"), CursorExpired, "read again"),
    "throttled": (faults.error(429, "TooManyRequests", Retry_After="17"), Throttled, "in peace"),
    "concurrency": (faults.error(429, "ApplicationThrottled"), Throttled, "ApplicationThrottled"),
    "mailbox busy": (faults.error(503, "ErrorServerBusy"), Throttled, "in peace"),
    "unavailable with a time": (faults.error(503, "ServiceUnavailable", Retry_After="30"), Throttled, "in peace"),
    "gateway with a time": (faults.error(504, "GatewayTimeout", Retry_After="30"), Throttled, "in peace"),
    "unavailable": (faults.error(503, "ServiceUnavailable"), Unavailable, "503 ServiceUnavailable"),
    "gateway": (faults.error(504, "UnknownError"), Unavailable, "out of order"),
    "internal": (faults.error(500, "InternalServerError"), Unavailable, "out of order"),
    "not understood": (faults.error(400, "ErrorInvalidUrlQuery"), Unavailable, "ErrorInvalidUrlQuery"),
    "no code": (faults.error(400, ""), Unavailable, "(400)"),
    "a page of somebody else": (
        faults.text(b"<html>Sign in to the Wi-Fi</html>"),
        Unavailable,
        "isn't Microsoft Graph",
    ),
    "a missing page": (faults.text(b"<html>Not here", 404), Unavailable, "isn't Microsoft Graph"),
    "a forbidden page": (faults.text(b"<html>No", 403), Unavailable, "isn't Microsoft Graph"),
    "elsewhere": (faults.text(b"", 302), Misconfigured, "leads elsewhere"),
    "no JSON object": (faults.text(b"[]"), Unavailable, "isn't Microsoft Graph"),
    "deep JSON": (faults.text(b"[" * 100_000), Unavailable, "isn't Microsoft Graph"),
    "no value": (faults.text(b'{"@odata.deltaLink": "x"}'), Unavailable, "isn't"),
    "a value of text": (faults.text(b'{"value": "abc"}'), Unavailable, "isn't"),
    "no link": (faults.text(b'{"value": []}'), Unavailable, "isn't Microsoft Graph"),
    "a link that is none": (faults.text(b'{"value": [], "@odata.nextLink": 7}'), Unavailable, "isn't"),
    "reset": (faults.drop, Unavailable, "can't be reached"),
    "cut": (faults.cut, Unavailable, "can't be reached"),
    "cut unannounced": (faults.cut_unannounced, Unavailable, "isn't Microsoft Graph"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_a_refusal_is_one_sentence_that_says_what_to_do(name):
    act, expected, words = REFUSALS[name]
    with FakeGraph(always=act) as fake, pytest.raises(ConnectorError) as caught:
        office365_connector(fake).poll(ago(days=1))
    assert type(caught.value) is expected
    assert words in str(caught.value)
    assert SENTENCE.fullmatch(str(caught.value))
    assert "token-1" not in str(caught.value)


@pytest.mark.parametrize("wrong", [7, None, "x", [], {}, {"id": 7}, {"id": ""}, {"subject": "no id"}])
def test_an_entry_that_cannot_be_referred_to_is_an_outage_not_a_loss(wrong):
    with FakeGraph() as fake:
        link = f"{fake.api}/v1.0/users/a/mailFolders/b/messages/delta?$deltatoken=x"
        fake.always = faults.text(json.dumps({"value": [wrong], "@odata.deltaLink": link}).encode())
        with pytest.raises(Unavailable, match="isn't Microsoft Graph"):
            office365_connector(fake).poll(ago(days=1))


@pytest.mark.parametrize(
    "strange",
    [
        {"internetMessageHeaders": 7, "singleValueExtendedProperties": "x"},
        {"internetMessageHeaders": [7, {}, {"name": None, "value": {}}], "receivedDateTime": "yesterday"},
        {"singleValueExtendedProperties": [7, {"id": 1, "value": 2}], "conversationId": 7, "subject": ["x"]},
        {"from": "bob", "receivedDateTime": "2026-13-01T00:00:00Z"},
        {"from": {"emailAddress": 7}, "receivedDateTime": None},
    ],
)
def test_a_message_with_strange_properties_is_still_a_message(strange):
    with FakeGraph() as fake:
        link = f"{fake.api}/v1.0/users/a/mailFolders/b/messages/delta?$deltatoken=x"
        page = json.dumps({"value": [{"id": "AAkA1"} | strange], "@odata.deltaLink": link}).encode()
        alone = json.dumps({"id": "AAkA1"} | strange).encode()
        fake.always = faults.then(faults.text(page), faults.text(alone))
        connector = office365_connector(fake, folders=("inbox",))
        assert [each.ref for each in connector.poll(ago(days=1)).envelopes] == ["AAkA1"]


@pytest.mark.parametrize("strange", [{"id": "\ud800"}, {"id": "AAkA1"}])
def test_a_message_that_cannot_be_asked_for_is_no_fault_of_ours(strange):
    """Half a character fits into no address, and an answer without an id is none."""
    with FakeGraph() as fake:
        link = f"{fake.api}/v1.0/users/a/mailFolders/b/messages/delta?$deltatoken=x"
        page = json.dumps({"value": [strange], "@odata.deltaLink": link}).encode()
        fake.always = faults.then(faults.text(page), faults.text(b"{}"))
        connector = office365_connector(fake, folders=("inbox",))
        if strange["id"].isascii():
            with pytest.raises(Unavailable, match="isn't Microsoft Graph"):
                connector.poll(ago(days=1))
        else:
            assert connector.poll(ago(days=1)).envelopes == ()
            with pytest.raises(MessageGone):
                connector.fetch(strange["id"], 100)


def test_the_time_to_wait_is_what_the_server_said():
    later = format_datetime(datetime.now(UTC) + timedelta(minutes=3), usegmt=True)
    for told, low, high in (("17", 17, 17), (later, 170, 181), ("nonsense", 60, 60), ("999999999", 21_600, 21_600)):
        with FakeGraph(always=faults.error(429, "TooManyRequests", Retry_After=told)) as fake:
            with pytest.raises(Throttled) as caught:
                office365_connector(fake).poll(ago(days=1))
            assert low <= caught.value.retry_after.total_seconds() <= high, told


@pytest.mark.parametrize("act", [faults.hang, faults.drip, faults.endless])
def test_no_server_holds_a_poll_or_a_fetch_for_ever(act):
    with FakeGraph(always=act) as fake:
        connector = office365_connector(fake, read_timeout=0.1)
        with pytest.raises(Unavailable):
            connector.poll(ago(days=1))
        with pytest.raises(Unavailable):
            connector.folders()


def test_a_message_of_any_size_is_cut_where_the_caller_wants():
    with FakeGraph() as fake:
        fake.store.deliver(raw := message(body=b"line of text\r\n" * 200_000))
        connector = office365_connector(fake)
        (found,) = connector.poll(ago(days=1)).envelopes
        for size in (1, 1_000, 100_000, len(raw) - 1):
            fetched = connector.fetch(found.ref, size)
            assert (fetched.raw, fetched.truncated) == (raw[:size], True)
        assert connector.fetch(found.ref, len(raw)) == connector.fetch(found.ref, 10**9)


@pytest.mark.parametrize(
    ("act", "expected"),
    [
        (faults.error(404, "ErrorItemNotFound"), MessageGone),
        (faults.error(400, "ErrorInvalidIdMalformed"), MessageGone),
        (faults.error(410, "Gone"), MessageGone),
        (faults.error(404, "MailboxNotEnabledForRESTAPI"), Misconfigured),
        (faults.error(404, "UnknownError"), Unavailable),
        (faults.text(b"<html>Not found", 404), Unavailable),
        (faults.error(429, "ApplicationThrottled"), Throttled),
        (faults.drop, Unavailable),
        (faults.cut, Unavailable),
    ],
)
def test_a_message_is_only_gone_where_graph_itself_says_so(act, expected):
    with FakeGraph(always=act) as fake, pytest.raises(ConnectorError) as caught:
        office365_connector(fake).fetch("AAkALgAA", 10)
    assert type(caught.value) is expected


@pytest.mark.parametrize("act", [None, faults.error(429), faults.error(404, "ErrorItemNotFound"), faults.drop])
def test_after_a_failure_a_connector_goes_on(act):
    with FakeGraph() as fake:
        fake.store.deliver(raw := message())
        connector = office365_connector(fake)
        fake.always = act
        if act is not None:
            with pytest.raises(ConnectorError):
                connector.fetch("AAkALgAA", 10)
        fake.always = None
        assert ids(connector.poll(ago(days=1)).envelopes) == ids_of(raw)


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"null", b'{"error": "x"}', b'{"error": {"code": 7}}', b"\xff", b"[" * 9999]
)
def test_what_is_no_error_of_graph_has_no_code(body):
    assert code_of(body) is None


def test_a_code_is_all_that_is_read_of_an_error():
    body = {"error": {"code": "ErrorX; bob@customer.test wrote", "message": "bob@customer.test"}}
    assert code_of(json.dumps(body).encode()) == "ErrorX"


# Tokens and clouds


class Kept:
    """A `CredentialStore` in memory."""

    def __init__(self, grant: dict) -> None:
        self.secret, self.version = json.dumps(grant), 1

    def load(self) -> tuple[str, int]:
        return self.secret, self.version

    def save(self, secret: str, expected_version: int) -> int:
        assert expected_version == self.version
        self.secret, self.version = secret, self.version + 1
        return self.version


@pytest.fixture
def issued(tmp_path):
    """A token endpoint that gives out token-1, token-2 and so on."""
    numbers = iter(range(1, 100))
    with FakeTokens(tmp_path, lambda form: ok(access_token=f"token-{next(numbers)}", expires_in=3600)) as tokens:
        yield tokens


def connector_with(fake: FakeGraph, tokens: FakeTokens, cloud: Cloud = Cloud.GLOBAL, **grant) -> Office365Connector:
    settings = Office365Settings(api=fake.api, address=fake.store.address, ca_file=tokens.ca_file, cloud=cloud)
    connector = Office365Connector(settings, Kept(tokens.microsoft(**grant)), dial)
    fake.clients.append(connector)
    return connector


def test_a_refused_token_is_renewed_once_and_nobody_notices(issued):
    with FakeGraph(tokens={"token-2"}) as fake:
        fake.store.deliver(raw := message())
        connector = connector_with(fake, issued)
        assert ids(read_all(connector, ago(days=1))[0]) == ids_of(raw)
        assert len(issued.forms) == 2
        connector.close()
        connector.poll(ago(days=1))
        assert len(issued.forms) == 2  # the renewed one was kept


def test_a_token_that_is_refused_again_is_the_persons_to_renew(issued):
    with FakeGraph(tokens=set()) as fake:
        connector = connector_with(fake, issued)
        with pytest.raises(AuthRequired, match="connect the inbox again"):
            connector.poll(ago(days=1))
        assert (len(issued.forms), fake.requests) == (2, 2)


def test_a_token_that_ends_while_pages_are_read_loses_nothing(issued):
    with FakeGraph() as fake:
        raws = [message(f"{number}") for number in range(250)]
        for raw in raws:
            fake.store.deliver(raw)
        connector = connector_with(fake, issued)
        first = connector.poll(ago(days=1))
        fake.tokens = {"token-2"}
        rest, _ = read_all(connector, first.cursor)
        assert ids([*first.envelopes, *rest]) == ids_of(*raws)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (refused("invalid_grant", "AADSTS50173: The provided grant has expired."), AuthRequired),
        (refused("invalid_client", "AADSTS7000222: The provided client secret keys are expired."), AuthRequired),
        (refused("temporarily_unavailable", status=503), Unavailable),
    ],
)
def test_a_sign_in_that_fails_is_told_before_any_mail_is_asked_for(tmp_path, error, expected):
    with FakeTokens(tmp_path, lambda form: error) as tokens, FakeGraph() as fake:
        with pytest.raises(expected):
            connector_with(fake, tokens).poll(ago(days=1))
        assert fake.requests == 0


@pytest.mark.parametrize("cloud", Cloud)
def test_each_cloud_has_its_own_rights_and_its_own_sign_in(issued, cloud):
    with FakeGraph() as fake:
        fake.tokens = {"token-1", "token-2"}
        connector_with(fake, issued, cloud).poll(ago(days=1))
        connector_with(fake, issued, cloud, refresh_token=None).folders()
    by_user, by_app = (form["scope"].split() for form in issued.forms)
    assert f"{CLOUDS[cloud].graph}/Mail.Read" in by_user
    assert by_app == [f"{CLOUDS[cloud].graph}/.default"]
    assert CLOUDS[cloud].resource.authority == CLOUDS[cloud].sign_in


@pytest.mark.parametrize("cloud", Cloud)
def test_without_an_address_of_its_own_an_inbox_is_at_its_clouds(cloud):
    place = endpoint(Office365Settings(address="alice@sender.test", cloud=cloud))
    assert (f"https://{place.host}", place.port, place.tls) == (CLOUDS[cloud].graph, 443, True)


def test_another_address_of_the_api_is_taken_with_or_without_a_slash():
    with FakeGraph() as fake:
        fake.store.deliver(raw := message())
        settings = Office365Settings(address=fake.store.address, api=f"{fake.api}/")
        connector = connect(from_json("office365", to_json(settings)), Password(bearer("token-1")))
        fake.clients.append(connector)
        found, cursor = read_all(connector, ago(days=1))
        assert ids(found) == ids_of(raw)
        assert read_all(connector, cursor)[0] == []
        assert str(endpoint(settings)) == fake.api.removeprefix("http://")


def test_a_token_goes_over_no_open_line():
    with pytest.raises(Misconfigured, match="isn't https"):
        Office365Connector(
            Office365Settings(address="alice@sender.test", api="http://graph.test"), Password(bearer("token-1"))
        ).poll(ago(days=1))


def test_what_is_stored_for_an_inbox_must_be_a_grant():
    with FakeGraph() as fake:
        connector = Office365Connector(
            Office365Settings(address=fake.store.address, api=fake.api), Password("a password")
        )
        with pytest.raises(AuthRequired, match="no OAuth grant"):
            connector.poll(ago(days=1))
        assert fake.requests == 0
