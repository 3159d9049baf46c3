"""Who is at the other end: the address of a connection's client, behind proxies too.

A proxy says whom it speaks for in ``X-Forwarded-For``, or ``Forwarded`` (RFC 7239), and adds to the end of what it
was told itself. So the list is read from its end: as long as the one who speaks is a trusted proxy, what it says of
the one before is believed. Whatever stands further left anybody may have made up. No IO, total.
"""

import re
from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Network = IPv4Network | IPv6Network

#: Proxies in a row; what is further away is not looked at.
MAX_HOPS = 32

#: One element of `Forwarded`: pairs whose values may be quoted.
_PAIR = re.compile(r'\s*([A-Za-z]+)=("(?:[^"\\]|\\.)*"|[^\s;,"]*)\s*(;|,|$)')
_IPV4_WITH_PORT = re.compile(r"([0-9.]{7,15}):[0-9]{1,5}")
_BRACKETED = re.compile(r"\[([0-9A-Fa-f:.]{2,45})\](?::[0-9]{1,5})?")


def client_address(
    headers_untrusted: Mapping[str, str], peer_address: str, trusted: Iterable[Network]
) -> str:
    """Return the address of the client: that of the TCP connection, or what trusted proxies say it is.

    ``headers_untrusted`` are by name in lower case. Where a trusted proxy says nothing that is an address, it is the client.
    """
    networks = tuple(trusted)
    client = _parse(peer_address)
    if client is None:
        return peer_address[:64]
    hops = _hops(headers_untrusted) if _is_in(client, networks) else []
    for hop in reversed(hops[-MAX_HOPS:]):
        before = _parse(_without_port(hop))
        if before is None:
            break
        client = before
        if not _is_in(client, networks):
            break
    return str(client)


def parse_networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """Return the networks: ``10.0.0.0/8``, ``fd00::/8``, or single addresses.

    Raises: ValueError that names the one at fault.
    """
    networks: list[Network] = []
    for text in texts:
        try:
            networks.append(ip_network(text.strip(), strict=False))
        except ValueError:
            raise ValueError(
                f"{text[:60]!r} is not a network: expected an address such as 10.1.2.3, or a network such as 10.0.0.0/8"
            ) from None
    return tuple(networks)


def _hops(headers: Mapping[str, str]) -> list[str]:
    """Return whom the proxies speak for, the nearest last.

    Where both headers are there, it is the older one that counts: nearly every proxy sets it, and hands the other on as
    it came.
    """
    if "x-forwarded-for" in headers:
        return [part.strip() for part in headers["x-forwarded-for"].split(",")]
    return _forwarded_for(headers.get("forwarded", ""))


def _forwarded_for(value: str) -> list[str]:
    hops: list[str] = []
    current, place = "", 0
    while place < len(value):
        found = _PAIR.match(value, place)
        if found is None:
            # Not of the form: nothing of what was said so far is believed, for it may hide where an element ends.
            return []
        name, text, end = found.groups()
        if name.lower() == "for":
            current = re.sub(r"\\(.)", r"\1", text[1:-1]) if text.startswith('"') else text
        place = found.end()
        if end != ";":
            hops.append(current)
            current = ""
    return hops


def _without_port(hop: str) -> str:
    found = _IPV4_WITH_PORT.fullmatch(hop) or _BRACKETED.fullmatch(hop)
    return hop if found is None else found[1]


def _parse(text: str) -> IPv4Address | IPv6Address | None:
    """Return the address; one that is IPv4 inside, as a socket for both kinds shows it, is that."""
    try:
        parsed = ip_address(text.partition("%")[0])  # without the zone of a link-local address
    except ValueError:
        return None
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is not None:
        return parsed.ipv4_mapped
    return parsed


def _is_in(address: IPv4Address | IPv6Address, networks: Iterable[Network]) -> bool:
    return any(address in network for network in networks)
