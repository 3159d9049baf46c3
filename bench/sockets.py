"""The generator's UDP sockets: one per peer, with a large receive buffer whose overflows are known."""

import os
import socket
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from media.native import SOL_UDP, UDP_GRO

RECEIVE_BUFFER_BYTES: Final = (
    4 << 20
)  # seconds of one subscriber's traffic: a drop here would look like the relay's
SO_RCVBUFFORCE: Final = 33  # Linux, passes net.core.rmem_max where the user may


def open_media_socket(family: socket.AddressFamily, host: str) -> socket.socket:
    """Open a non-blocking UDP socket bound to a free port of `host`."""
    media = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        media.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        with suppress(PermissionError):
            media.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER_BYTES)
        media.bind((host, 0))
    except BaseException:
        media.close()
        raise
    return media


def receive_runs(media: socket.socket) -> None:
    """Let the system deliver packets of one length that arrive together as one (UDP_GRO, udp(7)).

    Those sent as one (UDP_SEGMENT) are then not cut on loopback, as they are not by a sender whose network card cuts.
    """
    media.setsockopt(SOL_UDP, UDP_GRO, 1)


def raw_address(address: tuple[str, int]) -> bytes:
    """`struct sockaddr_in` of an IPv4 address."""
    host, port = address
    family = socket.AF_INET.to_bytes(2, byteorder="little")
    return family + port.to_bytes(2, "big") + socket.inet_aton(host) + bytes(8)


@dataclass(frozen=True)
class UdpDrops:
    """Datagrams the system has dropped because a receive buffer was full, since the sockets were opened."""

    by_inode: dict[int, int]
    by_port: dict[int, int]

    def of_inodes(self, inodes: Collection[int]) -> int:
        """Return the drops at these sockets."""
        return sum(self.by_inode.get(inode, 0) for inode in inodes)

    def of_ports(self, ports: Collection[int]) -> int:
        """Return the drops at these local ports of this machine."""
        return sum(self.by_port.get(port, 0) for port in ports)


def read_udp_drops() -> UdpDrops:
    """Read the drop counters of all UDP sockets of this network namespace."""
    by_inode: dict[int, int] = {}
    by_port: dict[int, int] = {}
    for table in ("/proc/net/udp", "/proc/net/udp6"):
        with suppress(FileNotFoundError):
            for line in Path(table).read_text().splitlines()[1:]:
                fields = line.split()
                port, inode, drops = int(fields[1].rpartition(":")[2], 16), int(fields[9]), int(fields[12])
                by_inode[inode] = drops
                by_port[port] = by_port.get(port, 0) + drops
    return UdpDrops(by_inode, by_port)


def socket_inode(media: socket.socket) -> int:
    """Return the number under which `/proc/net/udp` lists the socket."""
    return os.fstat(media.fileno()).st_ino
