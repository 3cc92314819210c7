"""Opening TCP connections: every connector is handed a `Dial` and opens none by itself.

A host that a tenant types in may not lead into the operator's network. `Guard` looks the name up once, judges each
address, and connects to an address that it has judged, so that an answer of DNS that changes afterwards changes nothing
(CWE-918 and CWE-367; the ranges are those of the IANA special-purpose registries, RFC 6890).
"""

import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

from connectors.errors import Misconfigured

Dial = Callable[[str, int, float], socket.socket]
"""Opens a TCP connection to (host, port) within so many seconds; raises `OSError` as sockets do, or `Misconfigured`."""

_NAT64: Final = ip_network("64:ff9b::/96")  # RFC 6052: the last 32 bits are an IPv4 address


def dial(host: str, port: int, timeout: float) -> socket.socket:
    """Open a connection to anywhere: for hosts that the operator named."""
    opened = socket.create_connection((host, port), timeout)
    # A question in two writes (a SEARCH of imapclient, a POST) must not wait for the first one's acknowledgement.
    opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return opened


@dataclass(frozen=True, slots=True)
class Guard:
    """A `Dial` that stays out of private networks, but for hosts and networks on the operator's allow-list."""

    hosts: frozenset[str] = frozenset()
    networks: tuple[IPv4Network | IPv6Network, ...] = ()

    @classmethod
    def parse(cls, items: Sequence[str]) -> "Guard":
        """Read an allow-list of host names and networks (``mail.acme.example``, ``10.1.0.0/16``).

        Raises `ValueError` where an item that looks like a network isn't one.
        """
        networks = [item for item in items if "/" in item or ":" in item or item.replace(".", "").isdigit()]
        hosts = frozenset(_name(item) for item in items if item not in networks)
        return cls(hosts, tuple(ip_network(item) for item in networks))

    def __call__(self, host: str, port: int, timeout: float) -> socket.socket:
        failed: OSError | None = None
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        addresses = [str(target[0]) for *_, target in found]
        allowed = [address for address in addresses if self.allows(host, address)]
        if not allowed:
            raise Misconfigured(
                f"{host} leads to {', '.join(sorted(set(addresses)))}, inside the operator's network: "
                "ask the operator to allow it (BOUNCE_WORKER_ALLOW_HOSTS), or correct the host name."
            )
        for address in allowed:
            try:
                return dial(address, port, timeout)
            except OSError as error:
                failed = error
        raise failed or OSError(f"{host} has no address")

    def allows(self, host: str, address: str) -> bool:
        """Tell whether a host may be reached at an address that its name has led to."""
        if _name(host) in self.hosts:
            return True
        bare = _embedded(ip_address(address.partition("%")[0]))
        if any(bare in network for network in self.networks if network.version == bare.version):
            return True
        return bare.is_global and not bare.is_multicast


def _name(host: str) -> str:
    return host.strip().rstrip(".").lower()


def _embedded(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """Return the IPv4 address that an IPv6 address is another way of writing, if it is."""
    if isinstance(address, IPv6Address):
        if address in _NAT64:
            return IPv4Address(int(address) & 0xFFFFFFFF)
        return address.ipv4_mapped or address.sixtofour or address
    return address
