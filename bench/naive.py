"""What the relay's kernels do, as one writes it in Python: short, clear, and with the same packages at hand.

`relay bench kernels` sets the kernels against these. They are no strawmen: `struct`, dictionaries and pylibsrtp, which
is C inside, are what a Python relay would use.
"""

import struct
from dataclasses import dataclass, field
from typing import Any, Final

_HEADER: Final = struct.Struct("!BBHII")
ONE_BYTE_PROFILE: Final = 0xBEDE


def parse_rtp(packet: bytes) -> dict[str, int] | None:
    """RFC 3550 section 5.1."""
    if len(packet) < 12:
        return None
    first, second, sequence_number, timestamp, ssrc = _HEADER.unpack_from(packet)
    if first >> 6 != 2:
        return None
    header = 12 + 4 * (first & 0x0F)
    if first & 0x10:
        if header + 4 > len(packet):
            return None
        header += 4 + 4 * int.from_bytes(packet[header + 2 : header + 4], "big")
    padding = packet[-1] if first & 0x20 else 0
    if header + padding > len(packet):
        return None
    return {
        "marker": second >> 7,
        "payload_type": second & 0x7F,
        "sequence_number": sequence_number,
        "timestamp": timestamp,
        "ssrc": ssrc,
        "header": header,
        "payload": len(packet) - header - padding,
    }


def canonicalize_extensions(
    packet: bytes, ids: dict[int, int], forwarded: frozenset[int]
) -> tuple[bytes, int]:
    """RFC 8285 section 4.2: keep what is forwarded, under canonical ids. Second, how many were kept."""
    parsed = parse_rtp(packet)
    if parsed is None or not packet[0] & 0x10:
        return packet, 0
    start = 12 + 4 * (packet[0] & 0x0F)
    if int.from_bytes(packet[start : start + 2], "big") != ONE_BYTE_PROFILE:
        return packet, 0
    kept, at, count = bytearray(), start + 4, 0
    while at < parsed["header"]:
        if packet[at] == 0:
            at += 1
            continue
        number, size = packet[at] >> 4, (packet[at] & 0x0F) + 1
        canonical = ids.get(number, 0)
        if canonical in forwarded:
            kept += bytes([canonical << 4 | (size - 1)]) + packet[at + 1 : at + 1 + size]
            count += 1
        at += 1 + size
    kept += bytes(-len(kept) % 4)
    block = struct.pack("!HH", ONE_BYTE_PROFILE, len(kept) // 4)
    return packet[:start] + block + bytes(kept) + packet[parsed["header"] :], count


@dataclass
class Reception:
    """RFC 3550 A.1 and A.8."""

    clock_rate: int = 48_000
    highest: int = -1
    received: int = 0
    transit: int = 0
    jitter: float = 0.0

    def update(self, sequence_number: int, timestamp: int, now_ns: int) -> int:
        """Return by how much the packet advances the highest sequence number."""
        if self.highest < 0:
            self.highest, advance = sequence_number, 1
        else:
            advance = ((sequence_number - self.highest + 0x8000) & 0xFFFF) - 0x8000
            if advance > 0:
                self.highest += advance
        self.received += 1
        transit = now_ns * self.clock_rate // 1_000_000_000 - timestamp
        self.jitter += (abs(transit - self.transit) - self.jitter) / 16
        self.transit = transit
        return advance


def is_vp8_keyframe(payload: bytes) -> bool:
    """RFC 7741 sections 4.2 and 4.3."""
    if not payload or payload[0] & 0x17 != 0x10:
        return False
    at = 1
    if payload[0] & 0x80:
        extended = payload[1]
        at = 2
        if extended & 0x80:
            at += 2 if payload[2] & 0x80 else 1
        at += bool(extended & 0x40) + bool(extended & 0x30)
    return at < len(payload) and payload[at] & 1 == 0


@dataclass
class Relay:
    """Receives one publisher, queues a copy for each subscriber."""

    inbound: Any  # SrtpSession
    subscribers: list[tuple[int, Any]]  # SSRC, SrtpSession
    peers: dict[tuple[str, int], str]
    reception: Reception = field(default_factory=Reception)

    def receive(self, datagram: bytes, source: tuple[str, int], now_ns: int) -> list[bytes]:
        """Return what is to be sent."""
        if source not in self.peers:
            return []
        packet = self.inbound.unprotect(datagram)
        parsed = parse_rtp(packet)
        if parsed is None:
            return []
        self.reception.update(parsed["sequence_number"], parsed["timestamp"], now_ns)
        queued = []
        for ssrc, session in self.subscribers:
            copy = bytearray(packet)
            copy[8:12] = ssrc.to_bytes(4, "big")
            queued.append(session.protect(bytes(copy)))
        return queued
