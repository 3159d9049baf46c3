"""Whether an RTP payload begins a keyframe: a packet from which a decoder that has seen nothing can start.

Only payload descriptors and the first bytes of the codec's own header are read. True is said of the packet that
*begins* the keyframe, not of those that continue it. Totals: any bytes give True or False.
"""

from typing import Final

import numpy as np

from media.codecs import (
    AV1,
    H264_CONSTRAINED_BASELINE,
    H264_SINGLE_NAL_HIGH,
    VP8,
    VP9_PROFILE_0,
    VP9_PROFILE_2,
)
from media.jit import helper, kernel
from media.rtp import read_u8, read_u16

H264_IDR: Final = 5
H264_SEQUENCE_PARAMETERS: Final = 7
H264_AGGREGATE: Final = 24  # STAP-A, RFC 6184 section 5.7.1
H264_FRAGMENT: Final = 28  # FU-A, section 5.8
AV1_SEQUENCE_HEADER: Final = 1


@kernel
def is_keyframe(packet: np.ndarray, payload_start: int, payload_end: int, codec: int) -> bool:
    """Whether the payload in `packet[payload_start:payload_end]` begins a keyframe of the canonical `codec`.

    Audio and unknown codecs: False.
    """
    if payload_end <= payload_start:
        return False
    if codec == VP8:
        return _is_vp8_keyframe(packet, payload_start, payload_end)
    if H264_CONSTRAINED_BASELINE <= codec <= H264_SINGLE_NAL_HIGH:
        return _is_h264_keyframe(packet, payload_start, payload_end)
    if codec in (VP9_PROFILE_0, VP9_PROFILE_2):
        return _is_vp9_keyframe(packet, payload_start, payload_end)
    if codec == AV1:
        return _is_av1_keyframe(packet, payload_start, payload_end)
    return False


@helper
def _is_vp8_keyframe(packet: np.ndarray, start: int, end: int) -> bool:
    """RFC 7741: the descriptor of section 4.2, then the inverse key frame flag of section 4.3."""
    first = read_u8(packet, start)
    if first & 0x17 != 0x10:  # S set, partition index 0
        return False
    offset = start + 1
    if first & 0x80 != 0:
        if offset >= end:
            return False
        extended = read_u8(packet, offset)
        offset += 1
        if extended & 0x80 != 0:
            if offset >= end:
                return False
            offset += 2 if read_u8(packet, offset) & 0x80 != 0 else 1
        if extended & 0x40 != 0:
            offset += 1
        if extended & 0x30 != 0:
            offset += 1
    return offset < end and read_u8(packet, offset) & 1 == 0


@helper
def _is_h264_keyframe(packet: np.ndarray, start: int, end: int) -> bool:
    """RFC 6184 section 5.2: a single NAL unit, the units of an aggregate, or the first fragment of one."""
    kind = read_u8(packet, start) & 0x1F
    if kind == H264_AGGREGATE:
        offset = start + 1
        while offset + 2 < end:
            size = read_u16(packet, offset)
            offset += 2
            if offset + size > end:
                return False
            if size > 0 and _starts_h264_picture(
                packet, offset, offset + size, read_u8(packet, offset) & 0x1F
            ):
                return True
            offset += size
        return False
    if kind == H264_FRAGMENT:
        if start + 1 >= end:
            return False
        header = read_u8(packet, start + 1)
        return header & 0x80 != 0 and _starts_h264_picture(packet, start + 1, end, header & 0x1F)
    return _starts_h264_picture(packet, start, end, kind)


@helper
def _starts_h264_picture(packet: np.ndarray, header: int, end: int, kind: int) -> bool:
    """Whether the NAL unit of type `kind`, whose slice data follow `header`, is an SPS or the first IDR slice."""
    if kind == H264_SEQUENCE_PARAMETERS:
        return True
    # A slice header begins with first_mb_in_slice in Exp-Golomb code: 0, the first slice of the picture, is a one bit.
    return kind == H264_IDR and header + 1 < end and read_u8(packet, header + 1) & 0x80 != 0


@helper
def _is_vp9_keyframe(packet: np.ndarray, start: int, end: int) -> bool:
    """RFC 9628 section 4.2: not inter-picture predicted, start of a frame, lowest spatial layer."""
    first = read_u8(packet, start)
    if first & 0x48 != 0x08:  # P clear, B set
        return False
    offset = start + 1
    if first & 0x80 != 0:
        if offset >= end:
            return False
        offset += 2 if read_u8(packet, offset) & 0x80 != 0 else 1
    if first & 0x20 != 0:
        return offset < end and read_u8(packet, offset) & 0x0E == 0
    return offset < end


@helper
def _is_av1_keyframe(packet: np.ndarray, start: int, end: int) -> bool:
    """AV1 RTP payload specification, section 4.4: N set, or a sequence header as the first OBU."""
    aggregation = read_u8(packet, start)
    if aggregation & 0x80 != 0:  # Z: continues an OBU of the packet before
        return False
    offset = start + 1
    if offset >= end:
        return False
    if aggregation & 0x08 != 0:
        return True
    if (aggregation >> 4) & 3 != 1:
        # The first OBU element has its length in front (leb128), unless it is the only one.
        while offset < end and read_u8(packet, offset) & 0x80 != 0:
            offset += 1
        offset += 1
    return offset < end and (read_u8(packet, offset) >> 3) & 0x0F == AV1_SEQUENCE_HEADER
