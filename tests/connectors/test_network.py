"""Where a tenant's host may lead."""

import socket
from unittest.mock import Mock

import pytest

from connectors.errors import Misconfigured
from connectors.network import Guard

INSIDE = [
    "127.0.0.1",
    "10.1.2.3",
    "172.31.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "0.0.0.0",
    "224.0.0.1",
    "255.255.255.255",
    "::1",
    "::",
    "fe80::1%eth0",
    "fd00::1",
    "ff02::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "2002:7f00:1::",
]
OUTSIDE = ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]


@pytest.mark.parametrize("address", INSIDE)
def test_no_tenant_reaches_inside(address):
    assert not Guard().allows("mail.example", address)


@pytest.mark.parametrize("address", OUTSIDE)
def test_the_internet_is_open(address):
    assert Guard().allows("mail.example", address)


@pytest.mark.parametrize(
    ("allowed", "host", "address", "opens"),
    [
        ("Mail.Acme.Example.", "mail.acme.example", "10.0.0.5", True),
        ("mail.acme.example", "evil.example", "10.0.0.5", False),
        ("10.0.0.0/24", "anything.example", "10.0.0.5", True),
        ("10.0.0.0/24", "anything.example", "10.0.1.5", False),
        ("10.0.0.5", "anything.example", "::ffff:10.0.0.5", True),
        ("fd00::/8", "anything.example", "fd00::7", True),
    ],
)
def test_the_operator_opens_hosts_and_networks(allowed, host, address, opens):
    assert Guard.parse([allowed]).allows(host, address) is opens


def test_a_network_that_is_none_is_said():
    with pytest.raises(ValueError, match=r"10\.0\.0\.0/99"):
        Guard.parse(["10.0.0.0/99"])


def test_the_judged_address_is_the_one_connected_to(monkeypatch):
    """DNS that answers otherwise the second time is never asked a second time."""
    answers = iter(["8.8.8.8", "127.0.0.1"])
    connected = []

    def resolve(host, port, **_):
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (next(answers), port))]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr(socket, "create_connection", lambda *where: connected.append(where) or Mock())
    Guard()("rebind.example", 993, 3.0)
    assert connected == [(("8.8.8.8", 993), 3.0)]


def test_a_name_that_leads_inside_is_refused_in_words(monkeypatch):
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("169.254.169.254", 80))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    monkeypatch.setattr(socket, "create_connection", lambda *_: pytest.fail("connected"))
    with pytest.raises(
        Misconfigured, match=r"^metadata\.example leads to 169\.254\.169\.254, inside the operator's network"
    ):
        Guard()("metadata.example", 80, 1.0)


def test_an_allowed_host_is_really_reached():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with Guard.parse(["localhost"])("localhost", port, 5.0) as opened:
            assert opened.getpeername() == ("127.0.0.1", port)
        with pytest.raises(Misconfigured):
            Guard()("localhost", port, 5.0)
