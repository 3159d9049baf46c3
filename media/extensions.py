"""RTP header extensions (RFC 8285): translated to canonical ids once, at ingress; to a subscriber's at egress.

A canonical packet carries only the extensions that describe the media itself (`FORWARDED_EXTENSIONS`); what
describes the publisher's transport (MID, RID) is noted and removed. The block only ever shrinks. So that the payload
need not move, the header in front of it does.
"""

from typing import Final

import numpy as np

from media.codecs import AUDIO_LEVEL, FORWARDED_EXTENSIONS, MID, REPAIRED_RID, RID
from media.jit import helper, integer, kernel
from media.rtp import EXTENSION_HEADER_BYTES, FIXED_HEADER_BYTES, read_u8, read_u16, write_u16
from media.tables import MAX_ELEMENTS, MAX_EXTENSIONS

ONE_BYTE_PROFILE: Final = 0xBEDE
TWO_BYTE_PROFILE: Final = 0x1000
TWO_BYTE_MASK: Final = 0xFFF0  # the low four are "appbits", for nobody
STOP_ID: Final = 15  # RFC 8285 section 4.2: in the one-byte form, ends the block
NAME_BYTES: Final = 32  # longest MID or RID kept; browsers use up to 3, the one-byte form allows 16
RID_NAME: Final = 32  # where the RID begins in `names`
FORWARDED_MASK: Final = sum(1 << extension for extension in FORWARDED_EXTENSIONS)


@kernel
def canonicalize_extensions(
    packet: np.ndarray, meta: np.ndarray, row: int, extension_in: np.ndarray, names: np.ndarray
) -> None:
    """Give the header extensions of the packet `parse_rtp` described in `meta[row]` their canonical form, in place.

    Elements the relay forwards are kept, in their order, under canonical ids; all others go, and with the last of
    them the block. Header and block then move up against the payload: `offset` grows, `length` and `header_length`
    shrink by the bytes saved. `element_offset` holds where each id byte is, from the new start of the packet.
    Noted besides: RFC 6464 level and voice flag; MID in `names[:mid_length]`, RID or repaired RID in
    `names[32:32 + rid_length]` (one longer than 32 is no name we gave out, and is ignored). Of an extension
    that is there twice, the last one counts.

    What cannot be understood is left out, never an error: an element that would overrun the block ends it, as do
    id 15 and an id 0 with a length in the one-byte form; a block of another profile goes as a whole.

    Shapes: `packet` uint8 [length or more]; `meta` PACKET records; `extension_in` uint8 [16], the publisher's id to
    canonical id, 0 not negotiated; `names` uint8 [64].
    Source: RFC 8285 sections 4.1.2, 4.2 and 4.3; RFC 6464 section 3.
    """
    if read_u8(packet, 0) & 0x10 == 0:
        return
    record = meta[row]
    block = FIXED_HEADER_BYTES + 4 * (read_u8(packet, 0) & 0x0F)
    end = integer(record.header_length)
    profile = read_u16(packet, block)
    two_byte = profile & TWO_BYTE_MASK == TWO_BYTE_PROFILE
    count = 0
    write = block + EXTENSION_HEADER_BYTES
    read = write
    if profile != ONE_BYTE_PROFILE and not two_byte:
        read = end
    while read < end:
        wire = read_u8(packet, read)
        head = 1
        if two_byte:
            if wire == 0:
                read += 1
                continue
            if read + 1 >= end:
                break
            head = 2
            size = read_u8(packet, read + 1)
        else:
            if wire == 0:
                read += 1
                continue
            size = (wire & 0x0F) + 1
            wire >>= 4
            if wire in (0, STOP_ID):
                break
        data = read + head
        following = data + size
        if following > end:
            break
        canonical = 0
        if wire < MAX_EXTENSIONS:
            canonical = read_u8(extension_in, wire)
        if canonical == MID:
            if size <= NAME_BYTES:
                for index in range(size):
                    names[index] = packet[data + index]
                record.mid_length = size
        elif canonical in (RID, REPAIRED_RID):
            if size <= NAME_BYTES:
                for index in range(size):
                    names[RID_NAME + index] = packet[data + index]
                record.rid_length = size
        elif canonical == AUDIO_LEVEL and size >= 1:
            record.level_dbov = read_u8(packet, data) & 0x7F
            record.voiced = read_u8(packet, data) >> 7
        if (FORWARDED_MASK >> canonical) & 1 != 0 and count < MAX_ELEMENTS:
            record.element_offset[count] = write
            count += 1
            packet[write] = canonical if two_byte else canonical << 4 | (size - 1)
            for index in range(1, head + size):
                packet[write + index] = packet[read + index]
            write += head + size
        read = following
    record.two_byte = 1 if two_byte else 0
    record.element_count = count
    _close_gap(packet, meta, row, block, write)


@helper
def _close_gap(packet: np.ndarray, meta: np.ndarray, row: int, block: int, write: int) -> None:
    """End the compacted block at `write` and move the packet's front up to its payload."""
    record = meta[row]
    end = integer(record.header_length)
    if record.element_count == 0:
        packet[0] = read_u8(packet, 0) & 0xEF
        front = block
    else:
        while write & 3 != 0:
            packet[write] = 0
            write += 1
        write_u16(packet, block + 2, (write - block - EXTENSION_HEADER_BYTES) >> 2)
        front = write
    saved = end - front
    if saved == 0:
        return
    for index in range(front - 1, -1, -1):
        packet[index + saved] = packet[index]
    record.offset += saved
    record.length -= saved
    record.header_length -= saved


@kernel
def write_extension_ids(slot: np.ndarray, meta: np.ndarray, row: int, extension_out: np.ndarray) -> None:
    """Give each element of a copy of the canonical packet `meta[row]` the subscriber's id.

    An element whose extension the subscriber did not negotiate (or under an id the packet's form cannot say) becomes
    padding, so that no byte moves.

    Shapes: `slot` uint8, the packet at 0; `extension_out` uint8 [16], canonical id to the subscriber's, 0 none.
    """
    record = meta[row]
    for index in range(integer(record.element_count)):
        place = integer(record.element_offset[index])
        first = read_u8(slot, place)
        if record.two_byte != 0:
            wire = read_u8(extension_out, first & 0x0F)
            size = 2 + read_u8(slot, place + 1)
            if wire != 0:
                slot[place] = wire
        else:
            wire = read_u8(extension_out, first >> 4)
            size = 2 + (first & 0x0F)
            if wire >= STOP_ID:
                wire = 0
            if wire != 0:
                slot[place] = wire << 4 | (first & 0x0F)
        if wire == 0:
            for offset in range(place, place + size):
                slot[offset] = 0
