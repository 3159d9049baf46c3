"""What an address tells of a client: whom to count its attempts with, and whether it sits at this machine."""

from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address

#: One customer of a provider has at least this much (RFC 6177, BCP 157): counting single addresses would count nothing.
IPV6_PREFIX = 64

#: Set by proxies; with one of these the peer's address is the proxy's and tells nothing of the client.
PROXY_HEADERS = frozenset(
    {
        "forwarded",
        "via",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-proto",
        "x-forwarded-port",
        "x-forwarded-server",
        "x-real-ip",
        "x-client-ip",
        "x-original-forwarded-for",
        "true-client-ip",
        "cf-connecting-ip",
    }
)


def attempts_key(address: str) -> str:
    """Return what attempts from this address are counted under: an IPv4 address, or an IPv6 network of 64 bits.

    A text that is no address is its own key, cut to a bounded length.
    """
    parsed = _parse(address)
    if parsed is None:
        return address[:64]
    if isinstance(parsed, IPv4Address):
        return str(parsed)
    return str(IPv6Address(int(parsed) >> (128 - IPV6_PREFIX) << (128 - IPV6_PREFIX)))


def is_loopback(address: str | None) -> bool:
    """Tell whether this is an address of the machine itself; a host name is not."""
    parsed = None if address is None else _parse(address)
    return parsed is not None and parsed.is_loopback


def came_through_proxy(headers: Mapping[str, str]) -> bool:
    """Tell whether a proxy left its mark on a request (names in any case)."""
    return any(name.lower() in PROXY_HEADERS for name in headers)


def _parse(address: str) -> IPv4Address | IPv6Address | None:
    try:
        parsed = ip_address(address)
    except ValueError:
        return None
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is not None:
        return parsed.ipv4_mapped
    return parsed
