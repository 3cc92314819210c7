"""A mailbox of Microsoft 365 by tokens that msal gets from emulate's Microsoft service, as a user and as an app."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import urllib3

from connectors import AuthRequired, Office365Settings, dial, sign_in
from connectors._graph_clouds import CLOUDS
from connectors.office365 import Office365Connector
from tests.connectors.mailboxes import ago, ids, ids_of, message, read_all
from tests.connectors.test_office365_answers import Kept
from tests.fakes.front import TlsFront
from tests.fakes.graph.server import FakeGraph
from tests.live import emulate
from tests.live.processes import free_ports, listens, public_folder, remove, start, stop, until

ADDRESS = "alice@sender.test"
CLIENT = {"client_id": "app-1", "client_secret": "s3cret", "tenant": "11111111-1111-1111-1111-111111111111"}
REDIRECT = "http://localhost:1/callback"


@dataclass
class Issued:
    """The tokens that emulate issues, as `FakeGraph.tokens`, until they are revoked."""

    revoked: set[str] = field(default_factory=set)
    seen: list[str] = field(default_factory=list)

    def __contains__(self, token: str) -> bool:
        self.seen.append(token)
        return token.startswith("microsoft_") and token not in self.revoked


@pytest.fixture(scope="module")
def front() -> Iterator[TlsFront]:
    """emulate's Microsoft service, which thinks that it is at the address of the front before it."""
    port, behind = free_ports(2)
    folder = public_folder("microsoft")
    seed = folder / "seed.json"
    client = {name: CLIENT[name] for name in ("client_id", "client_secret")} | {"name": "app"}
    users = [{"email": ADDRESS, "tenant_id": CLIENT["tenant"]}]
    seed.write_text(
        json.dumps({"microsoft": {"users": users, "oauth_clients": [client | {"redirect_uris": [REDIRECT]}]}})
    )
    loopback = Path(__file__).parents[1] / "setup" / "loopback.cjs"
    command = [emulate._node(), "--require", loopback, emulate._program(), "start", "--service", "microsoft"]
    place = ["--port", str(behind), "--base-url", f"https://localhost:{port}", "--seed", seed]
    server = start([*command, *place], folder / "out")
    try:
        until(lambda: listens(behind), "emulate to listen")
        with TlsFront(folder, port, behind) as found:
            yield found
    finally:
        stop(server)
        remove(folder)


@pytest.fixture
def graph() -> Iterator[FakeGraph]:
    with FakeGraph(tokens=Issued()) as fake:
        yield fake


def connector_with(graph: FakeGraph, front: TlsFront, kept: Kept) -> Office365Connector:
    settings = Office365Settings(api=graph.api, address=ADDRESS, ca_file=front.ca_file)
    connector = Office365Connector(settings, kept, dial)
    graph.clients.append(connector)
    return connector


def signed_in(front: TlsFront) -> Kept:
    """Sign a user in, as a browser would."""
    client = sign_in.read_client(json.dumps(CLIENT | {"authority": front.url}))
    begun = sign_in.begin(client, CLOUDS["global"].resource, REDIRECT, ADDRESS, dial, ca_file=front.ca_file)
    asked = {name: values[0] for name, values in parse_qs(urlsplit(begun.url).query).items()}
    with urllib3.PoolManager(ca_certs=front.ca_file) as browser:
        answer = browser.request(
            "POST",
            f"{front.url}/oauth2/v2.0/authorize/callback",
            fields=asked | {"email": ADDRESS},
            encode_multipart=False,
            redirect=False,
        )
    back = {name: values[0] for name, values in parse_qs(urlsplit(answer.headers["Location"]).query).items()}
    return Kept(json.loads(sign_in.finish(begun.flow, back, dial, ca_file=front.ca_file)))


def revoke(front: TlsFront, token: str) -> None:
    with urllib3.PoolManager(ca_certs=front.ca_file) as anybody:
        anybody.request("POST", f"{front.url}/oauth2/v2.0/revoke", fields={"token": token}, encode_multipart=False)


def test_an_app_reads_a_mailbox_by_its_own_access(front, graph):
    graph.store.deliver(raw := message())
    kept = Kept(CLIENT | {"type": "microsoft", "authority": front.url})
    found, cursor = read_all(connector_with(graph, front, kept), ago(days=1))
    assert ids(found) == ids_of(raw)
    assert len(set(graph.tokens.seen)) == 1
    graph.tokens.revoked.update(graph.tokens.seen)
    assert read_all(connector_with(graph, front, kept), cursor)[0] == []
    assert len(set(graph.tokens.seen)) == 2
    assert kept.version == 3


def test_an_app_whose_secret_is_wrong_is_told_so(front, graph):
    kept = Kept(CLIENT | {"type": "microsoft", "authority": front.url, "client_secret": "another"})
    with pytest.raises(AuthRequired, match="client_id and client_secret"):
        connector_with(graph, front, kept).poll(ago(days=1))
    assert graph.requests == 0


def test_a_user_signs_in_and_the_mailbox_is_read_past_the_life_of_the_token(front, graph):
    graph.store.deliver(raw := message())
    kept = signed_in(front)
    found, cursor = read_all(connector_with(graph, front, kept), ago(days=1))
    assert ids(found) == ids_of(raw)
    for _ in range(2):  # refresh tokens are good for one use each
        graph.tokens.revoked.update(graph.tokens.seen)
        graph.store.deliver(raw := message())
        found, cursor = read_all(connector_with(graph, front, kept), cursor)
        assert ids(found) == ids_of(raw)
    assert len(set(graph.tokens.seen)) == 3


def test_a_sign_in_that_was_taken_back_needs_the_user_again(front, graph):
    kept = signed_in(front)
    cache = json.loads(json.loads(kept.secret)["cache"])
    (refresh,) = cache["RefreshToken"].values()
    connector = connector_with(graph, front, kept)
    _, cursor = read_all(connector, ago(days=1))
    revoke(front, refresh["secret"])
    graph.tokens.revoked.update(graph.tokens.seen)
    with pytest.raises(AuthRequired, match="connect the inbox again"):
        connector.poll(cursor)
