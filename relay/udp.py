"""UDP sockets of the workers, and the addresses the relay tells its clients to send to."""

import ipaddress
import socket
import struct
from typing import Any, Final

import ifaddr

from media.tables import SOCKADDR_BYTES
from relay.errors import LocalProtocolError
from relay.stun import Address, normalise_address

BUFFER_BYTES: Final = 4 * 1024 * 1024
"""Asked of the kernel for each direction; a burst of a whole lobby fits while the worker is busy."""

_SO_RCVBUFFORCE: Final = 33
_SO_SNDBUFFORCE: Final = 32
_IPV6: Final = struct.Struct("!H I 16s")
_IPV4: Final = struct.Struct("!H 4s")


def open_udp_socket(host: str, port: int) -> socket.socket:
    """Bind a non-blocking UDP socket. `0.0.0.0` and `::` take both families where the machine has IPv6.

    Raises: LocalProtocolError when the address cannot be bound.
    """
    address = _parse_host(host)
    wildcard = address.is_unspecified
    family = socket.AF_INET6 if (address.version == 6 or (wildcard and has_ipv6())) else socket.AF_INET
    bind_host = "::" if wildcard and family == socket.AF_INET6 else host
    opened = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    try:
        opened.setblocking(False)
        if family == socket.AF_INET6:
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if wildcard else 1)
        for forced, plain in ((_SO_RCVBUFFORCE, socket.SO_RCVBUF), (_SO_SNDBUFFORCE, socket.SO_SNDBUF)):
            try:
                opened.setsockopt(
                    socket.SOL_SOCKET, forced, BUFFER_BYTES
                )  # beyond rmem_max, with CAP_NET_ADMIN
            except PermissionError:
                opened.setsockopt(socket.SOL_SOCKET, plain, BUFFER_BYTES)
        opened.bind((bind_host, port))
    except OSError as error:
        opened.close()
        raise LocalProtocolError(
            f"cannot bind UDP {host} port {port}: {error.strerror}; is another relay running there?"
        ) from error
    return opened


def has_ipv6() -> bool:
    """Whether the machine can open an IPv6 socket and bind it."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def advertised_addresses(host: str, public_addresses: tuple[str, ...]) -> tuple[str, ...]:
    """The addresses to put into candidates, best first: those given, else where the socket can be reached.

    Raises: LocalProtocolError when one that was given, or `host`, is not an IP address.
    """
    if public_addresses:
        return tuple(_canonical(address) for address in public_addresses)
    bound = _parse_host(host)
    if not bound.is_unspecified:
        return (str(bound),)
    own = [
        ipaddress.ip_address(entry.ip if isinstance(entry.ip, str) else entry.ip[0])
        for adapter in ifaddr.get_adapters()
        for entry in adapter.ips
    ]
    usable = [one for one in own if not one.is_link_local and not one.is_loopback]
    if bound.version == 4 and not has_ipv6():
        usable = [one for one in usable if one.version == 4]
    usable.sort(key=lambda one: (one.version, str(one)))
    # A machine without a network still serves its own browser.
    return tuple(dict.fromkeys(str(one) for one in usable)) or ("127.0.0.1",)


def _parse_host(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    try:
        return ipaddress.ip_address(host)
    except ValueError as error:
        raise LocalProtocolError(
            f"{host!r} is not an IP address; expected something like 0.0.0.0 or ::1"
        ) from error


def _canonical(address: str) -> str:
    try:
        return str(ipaddress.ip_address(address))
    except ValueError as error:
        raise LocalProtocolError(
            f"public address {address!r} is not an IP address; give the address clients reach, e.g. 203.0.113.5"
        ) from error


def encode_address(family: int, address: Address) -> tuple[bytes, int]:
    """A sockaddr of the socket's family, padded to SOCKADDR_BYTES, and its length. IPv4 is mapped on IPv6 sockets."""
    host, port = address
    parsed = ipaddress.ip_address(host)
    if family == socket.AF_INET6:
        packed = parsed.packed if parsed.version == 6 else b"\x00" * 10 + b"\xff\xff" + parsed.packed
        raw = struct.pack("=H", family) + _IPV6.pack(port, 0, packed) + struct.pack("=I", _scope_id(host))
    else:
        raw = struct.pack("=H", family) + _IPV4.pack(port, parsed.packed)
    return raw.ljust(SOCKADDR_BYTES, b"\x00"), 28 if family == socket.AF_INET6 else 16


def decode_address(raw: bytes) -> Address:
    """Host and port of a sockaddr as the kernel wrote it."""
    (family,) = struct.unpack_from("=H", raw)
    if family == socket.AF_INET6:
        port, _, packed = _IPV6.unpack_from(raw, 2)
        host = str(ipaddress.IPv6Address(packed))
        (scope,) = struct.unpack_from("=I", raw, 24)
        return normalise_address(f"{host}%{scope}" if scope else host, port)
    port, packed = _IPV4.unpack_from(raw, 2)
    return normalise_address(str(ipaddress.IPv4Address(packed)), port)


def socket_address(family: int, address: Address) -> tuple[Any, ...]:
    """What `socket.sendto` takes for an address."""
    host, port = address
    if family != socket.AF_INET6:
        return (host, port)
    plain, _, _scope = host.partition("%")
    if ":" not in plain:
        plain = f"::ffff:{plain}"
    return (plain, port, 0, _scope_id(host))


def _scope_id(host: str) -> int:
    _, _, scope = host.partition("%")
    return int(scope) if scope.isdecimal() else 0
