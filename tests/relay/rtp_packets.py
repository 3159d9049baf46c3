"""RTP packets as values, for peers under test: written and read by the letter of RFC 3550 and RFC 8285."""

import struct
from dataclasses import dataclass

ONE_BYTE_PROFILE = 0xBEDE
TWO_BYTE_PROFILE = 0x1000

KEYFRAME = b"\x10\x00\x9d\x01\x2a"
"""VP8: the start of partition 0 (RFC 7741), and a frame header with its inverse key frame flag clear."""
DELTA = b"\x10\x01"
"""VP8: the start of a frame that needs the ones before it."""


@dataclass(frozen=True)
class RtpPacket:
    payload_type: int
    sequence_number: int
    timestamp: int
    ssrc: int
    payload: bytes = b""
    marker: bool = False
    extensions: tuple[tuple[int, bytes], ...] = ()
    two_byte: bool = False
    csrcs: tuple[int, ...] = ()
    padding: int = 0

    def encode(self) -> bytes:
        first = 0x80 | (0x20 if self.padding else 0) | (0x10 if self.extensions else 0) | len(self.csrcs)
        second = (0x80 if self.marker else 0) | self.payload_type
        header = struct.pack("!BBHII", first, second, self.sequence_number, self.timestamp, self.ssrc)
        header += b"".join(csrc.to_bytes(4) for csrc in self.csrcs)
        if self.extensions:
            block = b"".join(self._element(identifier, value) for identifier, value in self.extensions)
            block += bytes(-len(block) % 4)
            profile = TWO_BYTE_PROFILE if self.two_byte else ONE_BYTE_PROFILE
            header += struct.pack("!HH", profile, len(block) // 4) + block
        tail = bytes(self.padding - 1) + bytes([self.padding]) if self.padding else b""
        return header + self.payload + tail

    def _element(self, identifier: int, value: bytes) -> bytes:
        if self.two_byte:
            return bytes([identifier, len(value)]) + value
        return bytes([identifier << 4 | len(value) - 1]) + value

    @classmethod
    def decode(cls, data: bytes) -> "RtpPacket":
        first, second, sequence_number, timestamp, ssrc = struct.unpack_from("!BBHII", data)
        assert first >> 6 == 2
        offset = 12 + 4 * (first & 0x0F)
        csrcs = tuple(int.from_bytes(data[at : at + 4]) for at in range(12, offset, 4))
        extensions: tuple[tuple[int, bytes], ...] = ()
        two_byte = False
        if first & 0x10:
            profile, words = struct.unpack_from("!HH", data, offset)
            block = data[offset + 4 : offset + 4 + 4 * words]
            assert len(block) == 4 * words
            two_byte = profile == TWO_BYTE_PROFILE
            assert two_byte or profile == ONE_BYTE_PROFILE
            extensions = tuple(_elements(block, two_byte=two_byte))
            offset += 4 + 4 * words
        padding = data[-1] if first & 0x20 else 0
        return cls(
            payload_type=second & 0x7F,
            sequence_number=sequence_number,
            timestamp=timestamp,
            ssrc=ssrc,
            payload=data[offset : len(data) - padding],
            marker=bool(second & 0x80),
            extensions=extensions,
            two_byte=two_byte,
            csrcs=csrcs,
            padding=padding,
        )


def _elements(block: bytes, *, two_byte: bool):
    at = 0
    while at < len(block):
        if block[at] == 0:
            at += 1
            continue
        if two_byte:
            identifier, size, start = block[at], block[at + 1], at + 2
        else:
            identifier, size, start = block[at] >> 4, (block[at] & 0x0F) + 1, at + 1
        value = block[start : start + size]
        assert len(value) == size
        yield identifier, value
        at = start + size
