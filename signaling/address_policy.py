"""Which addresses may be called on behalf of somebody who is not the operator: those of the public Internet only.

An address that carries an IPv4 address inside (IPv4-mapped, NAT64, 6to4, Teredo) is judged by that one as well.
"""

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

#: RFC 6052: the last 32 bits are the IPv4 address.
_NAT64 = IPv6Network("64:ff9b::/96")


def is_public(address: str) -> bool:
    """Tell whether this IP address (an IPv6 scope is allowed) is one of the public Internet."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    return all(_is_global(each) for each in (parsed, *_embedded(parsed)))


def _is_global(address: IPv4Address | IPv6Address) -> bool:
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)


def _embedded(address: IPv4Address | IPv6Address) -> list[IPv4Address]:
    if isinstance(address, IPv4Address):
        return []
    found = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    if address in _NAT64:
        found.append(IPv4Address(int(address) & 0xFFFF_FFFF))
    return [each for each in found if each is not None]
