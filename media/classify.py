"""What kind of datagram arrived, told by its first bytes (RFC 7983, RFC 9443, RFC 5761).

Nothing is authenticated here: these tests only choose who looks at the datagram next.
"""

from typing import Final

import numpy as np

from media.jit import helper
from media.rtp import read_u16, read_u32

OTHER: Final = 0  # ZRTP, TURN channels, QUIC: nothing we speak
STUN: Final = 1
DTLS: Final = 2
RTP_OR_RTCP: Final = 3

STUN_HEADER_BYTES: Final = 20
STUN_MAGIC_COOKIE: Final = 0x2112A442


@helper
def classify(first_byte: int) -> int:
    """Kind of a datagram by its first byte.

    Source: RFC 7983 section 7 as updated by RFC 9443 (STUN 0..3, DTLS 20..63, RTP and RTCP 128..191).
    """
    if first_byte >= 128:
        return RTP_OR_RTCP if first_byte <= 191 else OTHER
    if first_byte <= 3:
        return STUN
    return DTLS if 20 <= first_byte <= 63 else OTHER


@helper
def is_rtcp(second_byte: int) -> bool:
    """Whether a datagram of kind RTP_OR_RTCP is RTCP, by its second byte.

    Source: RFC 5761 section 4: RTCP types 192..223 are RTP payload types 64..95 with the marker set, which are
    never given out where both share a port.
    """
    return 192 <= second_byte <= 223


@helper
def is_plausible_stun(packet: np.ndarray, length: int) -> bool:
    """Whether the first `length` bytes are shaped like one whole STUN message (RFC 8489 section 5)."""
    if length < STUN_HEADER_BYTES:
        return False
    if (packet[0] & 0xC0) != 0:
        return False
    body = read_u16(packet, 2)
    return body == length - STUN_HEADER_BYTES and body % 4 == 0 and read_u32(packet, 4) == STUN_MAGIC_COOKIE
