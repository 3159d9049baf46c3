"""RTP headers (RFC 3550 section 5.1), big-endian fields, and the arithmetic of numbers that wrap.

The contents of header extensions belong to `media.extensions`, payload formats to `media.keyframes`.
"""

from typing import Final

import numpy as np

from media.jit import helper, integer
from media.tables import NO_LEVEL

RTP_VERSION: Final = 2
FIXED_HEADER_BYTES: Final = 12
EXTENSION_HEADER_BYTES: Final = 4  # the profile word's half and the length of the block in words


@helper
def read_u8(packet: np.ndarray, offset: int) -> int:
    """Byte at `offset`, as int64: numba makes an operation on two uint8 a uint64, and that with an int64 a float."""
    return integer(packet[offset])


@helper
def read_u16(packet: np.ndarray, offset: int) -> int:
    """Big-endian 16-bit number at `offset`."""
    return read_u8(packet, offset) << 8 | read_u8(packet, offset + 1)


@helper
def read_u32(packet: np.ndarray, offset: int) -> int:
    """Big-endian 32-bit number at `offset`."""
    return read_u16(packet, offset) << 16 | read_u16(packet, offset + 2)


@helper
def write_u16(packet: np.ndarray, offset: int, value: int) -> None:
    """Store the low 16 bits of `value`, big-endian."""
    packet[offset] = (value >> 8) & 0xFF
    packet[offset + 1] = value & 0xFF


@helper
def write_u32(packet: np.ndarray, offset: int, value: int) -> None:
    """Store the low 32 bits of `value`, big-endian."""
    write_u16(packet, offset, value >> 16)
    write_u16(packet, offset + 2, value)


@helper
def sequence_delta(left: int, right: int) -> int:
    """How far sequence number `left` is ahead of `right`: -32768..32767, modulo 2**16."""
    return ((left - right + 0x8000) & 0xFFFF) - 0x8000


@helper
def timestamp_delta(left: int, right: int) -> int:
    """How far RTP timestamp `left` is ahead of `right`: -2**31..2**31 - 1, modulo 2**32."""
    return ((left - right + 0x80000000) & 0xFFFFFFFF) - 0x80000000


@helper
def parse_rtp(packet: np.ndarray, length: int, meta: np.ndarray, row: int) -> bool:
    """Parse the header of the decrypted RTP packet in the first `length` bytes into `meta[row]`.

    Sets every field but `arrival_ns` and, until `canonicalize_extensions`, what the extensions say; `codec` and
    `keyframe` are 0 until someone knows better. The packet begins at offset 0.

    Shapes: `packet` uint8 [length or more]; `meta` PACKET records.
    Returns: False when the packet is malformed; `meta[row]` is then half written.
    Source: RFC 3550 section 5.1, and A.1 for the checks.
    """
    if length < FIXED_HEADER_BYTES:
        return False
    first = read_u8(packet, 0)
    if first >> 6 != RTP_VERSION:
        return False
    header = FIXED_HEADER_BYTES + 4 * (first & 0x0F)
    if first & 0x10 != 0:
        if header + EXTENSION_HEADER_BYTES > length:
            return False
        header += EXTENSION_HEADER_BYTES + 4 * read_u16(packet, header + 2)
    if header > length:
        return False
    padding = 0
    if first & 0x20 != 0:
        # Counts itself, so 0 is a lie; the length of an all-padding packet (a bandwidth probe) is fine.
        if header == length:
            return False
        padding = read_u8(packet, length - 1)
        if padding == 0 or padding > length - header:
            return False
    second = read_u8(packet, 1)
    record = meta[row]
    record.marker = second >> 7
    record.payload_type = second & 0x7F
    record.sequence_number = read_u16(packet, 2)
    record.timestamp = read_u32(packet, 4)
    record.ssrc = read_u32(packet, 8)
    record.codec = 0
    record.keyframe = 0
    record.level_dbov = NO_LEVEL
    record.voiced = 0
    record.two_byte = 0
    record.element_count = 0
    record.mid_length = 0
    record.rid_length = 0
    record.offset = 0
    record.length = length
    record.header_length = header
    record.payload_length = length - header - padding
    return True
