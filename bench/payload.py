"""The packets that publishers send: a real RTP header, a payload a relay takes for Opus or VP8, and our probe in it."""

from enum import Enum
from typing import Any, Final

import numpy as np

from bench.tables import PROBE, SLOT_BYTES

RTP_HEADER_BYTES: Final = 12
RTP_VERSION: Final = 0x80
MARKER: Final = 0x80
MAX_PACKET_BYTES: Final = 1400  # with SRTP's tag and UDP and IPv6 headers still below 1,500
FILLER: Final = 0xA5

VP8_KEYFRAME: Final = bytes.fromhex("10 300000 9d012a 8002 6801")
"""RFC 7741 descriptor (start of partition 0), then RFC 6386 section 9.1: key frame, start code, 640 x 360.

Every frame is a key frame, so that a subscriber who comes at any time soon sees all of them.
"""


class PayloadKind(Enum):
    """What the packets claim to carry: encoding name, RTP clock, and the payload bytes before the probe."""

    AUDIO = ("audio", 48_000, b"")
    VIDEO = ("video", 90_000, VP8_KEYFRAME)

    def __init__(self, media: str, clock_rate: int, prefix: bytes) -> None:
        self.media = media
        self.clock_rate = clock_rate
        self.prefix = prefix

    @property
    def prefix_bytes(self) -> int:
        """Payload bytes before the probe."""
        return len(self.prefix)

    @property
    def min_packet_bytes(self) -> int:
        """Shortest packet that holds a probe."""
        return RTP_HEADER_BYTES + len(self.prefix) + PROBE.itemsize


def make_template(
    kind: PayloadKind, ssrc: int, payload_type: int, size: int
) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Return one RTP packet of `size` bytes, with zeros where sequence number, timestamp and probe will be written.

    Bytes after the probe differ between streams, so that a packet mixed up on its way does not pass for another's.
    """
    assert kind.min_packet_bytes <= size <= MAX_PACKET_BYTES < SLOT_BYTES
    packet = np.zeros(size, np.uint8)
    packet[0] = RTP_VERSION
    packet[1] = payload_type | (MARKER if kind is PayloadKind.VIDEO else 0)
    packet[8:12] = np.frombuffer(ssrc.to_bytes(4, "big"), np.uint8)
    packet[RTP_HEADER_BYTES : RTP_HEADER_BYTES + len(kind.prefix)] = np.frombuffer(kind.prefix, np.uint8)
    rest = packet[kind.min_packet_bytes :]
    rest[:] = (np.arange(rest.size) * 7 + ssrc + FILLER) & 0xFF
    return packet


def frame_ticks(kind: PayloadKind, rate: float) -> int:
    """RTP timestamp step between frames sent at `rate` per second."""
    return max(1, round(kind.clock_rate / rate))
