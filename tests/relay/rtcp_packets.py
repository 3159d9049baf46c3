"""RTCP packets as values, for peers under test (RFC 3550 section 6, RFC 4585, RFC 5104)."""

import struct
from dataclasses import dataclass

SENDER_REPORT, RECEIVER_REPORT, SOURCE_DESCRIPTION = 200, 201, 202
TRANSPORT_FEEDBACK, PAYLOAD_FEEDBACK = 205, 206


@dataclass(frozen=True)
class ReportBlock:
    ssrc: int
    fraction_lost: int = 0
    cumulative_lost: int = 0
    highest_sequence: int = 0
    jitter: int = 0
    last_report: int = 0
    delay: int = 0

    def encode(self) -> bytes:
        return struct.pack(
            "!IIIIII",
            self.ssrc,
            self.fraction_lost << 24 | self.cumulative_lost & 0xFFFFFF,
            self.highest_sequence,
            self.jitter,
            self.last_report,
            self.delay,
        )

    @classmethod
    def decode(cls, data: bytes) -> "ReportBlock":
        ssrc, losses, *others = struct.unpack("!IIIIII", data)
        cumulative = (losses & 0xFFFFFF ^ 0x800000) - 0x800000
        return cls(ssrc, losses >> 24, cumulative, *others)


@dataclass(frozen=True)
class SenderReport:
    ssrc: int
    ntp: int
    timestamp: int
    packets: int = 0
    octets: int = 0
    blocks: tuple[ReportBlock, ...] = ()

    def encode(self) -> bytes:
        body = struct.pack("!IQIII", self.ssrc, self.ntp, self.timestamp, self.packets, self.octets)
        blocks = b"".join(block.encode() for block in self.blocks)
        return _header(len(self.blocks), SENDER_REPORT, body + blocks)


@dataclass(frozen=True)
class ReceiverReport:
    ssrc: int
    blocks: tuple[ReportBlock, ...] = ()

    def encode(self) -> bytes:
        blocks = b"".join(block.encode() for block in self.blocks)
        return _header(len(self.blocks), RECEIVER_REPORT, self.ssrc.to_bytes(4) + blocks)


@dataclass(frozen=True)
class SourceDescription:
    ssrc: int
    cname: str

    def encode(self) -> bytes:
        text = self.cname.encode()
        chunk = self.ssrc.to_bytes(4) + bytes([1, len(text)]) + text
        return _header(1, SOURCE_DESCRIPTION, chunk + bytes(4 - len(chunk) % 4))


@dataclass(frozen=True)
class Nack:
    sender: int
    media: int
    sequence_numbers: tuple[int, ...]

    def encode(self) -> bytes:
        items = b"".join(struct.pack("!HH", number, 0) for number in self.sequence_numbers)
        return _header(1, TRANSPORT_FEEDBACK, struct.pack("!II", self.sender, self.media) + items)


@dataclass(frozen=True)
class PictureLoss:
    sender: int
    media: int

    def encode(self) -> bytes:
        return _header(1, PAYLOAD_FEEDBACK, struct.pack("!II", self.sender, self.media))


@dataclass(frozen=True)
class FullIntraRequest:
    sender: int
    media: int
    command: int = 1

    def encode(self) -> bytes:
        body = struct.pack("!IIIBBH", self.sender, 0, self.media, self.command, 0, 0)
        return _header(4, PAYLOAD_FEEDBACK, body)


RtcpPacket = SenderReport | ReceiverReport | SourceDescription | Nack | PictureLoss | FullIntraRequest


def encode_compound(*packets: RtcpPacket) -> bytes:
    return b"".join(packet.encode() for packet in packets)


def decode_compound(data: bytes) -> list[RtcpPacket]:
    """Read what the relay sends; anything else is an error, for the relay must not send it."""
    packets: list[RtcpPacket] = []
    while data:
        first, kind, words = struct.unpack_from("!BBH", data)
        assert first >> 6 == 2
        assert first & 0x20 == 0
        end = 4 + 4 * words
        assert end <= len(data)
        packets.append(_decode(kind, first & 0x1F, data[4:end]))
        data = data[end:]
    return packets


def _decode(kind: int, count: int, body: bytes) -> RtcpPacket:
    match kind, count:
        case 200, _:
            ssrc, ntp, timestamp, packets, octets = struct.unpack_from("!IQIII", body)
            return SenderReport(ssrc, ntp, timestamp, packets, octets, _blocks(body[24:], count))
        case 201, _:
            return ReceiverReport(int.from_bytes(body[:4]), _blocks(body[4:], count))
        case 202, 1:
            assert body[4] == 1
            return SourceDescription(int.from_bytes(body[:4]), body[6 : 6 + body[5]].decode())
        case 205, 1:
            sender, media = struct.unpack_from("!II", body)
            return Nack(sender, media, tuple(_nacked(body[8:])))
        case 206, 1:
            return PictureLoss(*struct.unpack("!II", body))
    raise AssertionError(f"RTCP of type {kind}, count {count}")


def _blocks(data: bytes, count: int) -> tuple[ReportBlock, ...]:
    assert len(data) == 24 * count
    return tuple(ReportBlock.decode(data[at : at + 24]) for at in range(0, len(data), 24))


def _nacked(items: bytes):
    for at in range(0, len(items), 4):
        first, following = struct.unpack_from("!HH", items, at)
        yield first
        yield from ((first + bit + 1) & 0xFFFF for bit in range(16) if following >> bit & 1)


def _header(count: int, kind: int, body: bytes) -> bytes:
    return struct.pack("!BBH", 0x80 | count, kind, len(body) // 4) + body
