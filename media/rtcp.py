"""RTCP: a total parser of compound packets, in the style of an iterator, and writers of the packets the relay sends.

    valid = is_valid_compound(packet, length)      # first: all or nothing
    offset = 0
    while next_rtcp(packet, length, offset, block):
        if block[TYPE] == RECEIVER_REPORT: ...     # report blocks at block[ITEMS] + 24 * i, i < block[ITEM_COUNT]
        offset = block[NEXT]

Reduced-size packets (RFC 5506) are welcome: a compound may begin with anything. `next_rtcp` has checked that all
items it promises are there, so the readers need no bounds of their own. A compound begins at index 0 of its array, so
that all offsets of packets are multiples of four.
"""

from typing import Final

import numpy as np

from media.jit import helper, kernel
from media.rtp import RTP_VERSION, read_u8, read_u16, read_u32, write_u16, write_u32

# Packet types.
SENDER_REPORT: Final = 200
RECEIVER_REPORT: Final = 201
SOURCE_DESCRIPTION: Final = 202
GOODBYE: Final = 203
APPLICATION: Final = 204
TRANSPORT_FEEDBACK: Final = 205
PAYLOAD_FEEDBACK: Final = 206
EXTENDED_REPORT: Final = 207

# Formats (the count field) of transport and of payload feedback.
GENERIC_NACK: Final = 1
TRANSPORT_WIDE: Final = 15
PICTURE_LOSS: Final = 1
FULL_INTRA_REQUEST: Final = 4
APPLICATION_LAYER: Final = 15  # REMB among others

# The words of the `block` that `next_rtcp` fills.
TYPE: Final = 0
COUNT: Final = 1  # the header's 5 bits: report blocks, sources, chunks, or the feedback format
BODY: Final = 2  # offset of what follows the first four bytes; the sender's SSRC but for SDES and BYE
END: Final = 3  # offset behind the packet's last byte that is not padding
NEXT: Final = 4  # offset of the next packet
ITEMS: Final = 5  # offset of the first report block, feedback control item or BYE source
ITEM_COUNT: Final = 6
BLOCK_WORDS: Final = 7

HEADER_BYTES: Final = 4
REPORT_BLOCK_BYTES: Final = 24
NACK_ITEM_BYTES: Final = 4
FIR_ITEM_BYTES: Final = 8
SENDER_REPORT_BYTES: Final = 28  # without report blocks
RECEIVER_REPORT_BYTES: Final = 8
PLI_BYTES: Final = 12
FIR_BYTES: Final = 20
NACK_BYTES: Final = 12  # without items

SDES_CNAME: Final = 1


# Parsing.


@kernel
def is_valid_compound(packet: np.ndarray, length: int) -> bool:
    """Whether the first `length` bytes are nothing but one or more whole, well-formed RTCP packets.

    Source: RFC 3550 section 6.1 and A.2, without the demand for a report in front (RFC 5506).
    """
    offset = 0
    while offset < length:
        offset = _following(packet, length, offset)
        if offset == 0:
            return False
    return offset > 0


@kernel
def next_rtcp(packet: np.ndarray, length: int, offset: int, block: np.ndarray) -> bool:
    """Read the header of the RTCP packet at `offset` into `block` (int64 [BLOCK_WORDS or more]).

    Returns: False at the end of the compound and where it is malformed; `block` is then unchanged.
    """
    following = _following(packet, length, offset)
    if following == 0:
        return False
    kind = read_u8(packet, offset + 1)
    count = read_u8(packet, offset) & 0x1F
    body = offset + HEADER_BYTES
    end = following
    if read_u8(packet, offset) & 0x20 != 0:
        end -= read_u8(packet, following - 1)
    items = body
    item_count = 0
    if kind == SENDER_REPORT:
        items = body + 24
        item_count = count
    elif kind == RECEIVER_REPORT:
        items = body + 4
        item_count = count
    elif kind == GOODBYE:
        item_count = count
    elif kind in (TRANSPORT_FEEDBACK, PAYLOAD_FEEDBACK):
        items = body + 8
        if kind == TRANSPORT_FEEDBACK and count == GENERIC_NACK:
            item_count = (end - items) // NACK_ITEM_BYTES
        elif kind == PAYLOAD_FEEDBACK and count == FULL_INTRA_REQUEST:
            item_count = (end - items) // FIR_ITEM_BYTES
    block[TYPE] = kind
    block[COUNT] = count
    block[BODY] = body
    block[END] = end
    block[NEXT] = following
    block[ITEMS] = items
    block[ITEM_COUNT] = item_count
    return True


@helper
def _following(packet: np.ndarray, length: int, offset: int) -> int:
    """Offset behind the RTCP packet at `offset`, 0 when that is malformed or too short for what it counts."""
    if offset < 0 or offset + HEADER_BYTES > length:
        return 0
    first = read_u8(packet, offset)
    if first >> 6 != RTP_VERSION:
        return 0
    body = offset + HEADER_BYTES
    following = body + 4 * read_u16(packet, offset + 2)
    if following > length:
        return 0
    padding = 0
    if first & 0x20 != 0:
        # RFC 3550 wants whole words, in the last packet only. libwebrtc pads transport-wide feedback by one to three
        # bytes, wherever it stands, and what arrives here is authenticated: there is nothing to be gained by refusing.
        if following == body:
            return 0
        padding = read_u8(packet, following - 1)
        if padding == 0:
            return 0
    if following - padding - body < _least_body(read_u8(packet, offset + 1), first & 0x1F):
        return 0
    return following


@helper
def _least_body(kind: int, count: int) -> int:
    """Bytes that a packet of this type and count has at least behind its header."""
    if kind == SENDER_REPORT:
        return SENDER_REPORT_BYTES - HEADER_BYTES + REPORT_BLOCK_BYTES * count
    if kind == RECEIVER_REPORT:
        return RECEIVER_REPORT_BYTES - HEADER_BYTES + REPORT_BLOCK_BYTES * count
    if kind == GOODBYE:
        return 4 * count
    if kind in (TRANSPORT_FEEDBACK, PAYLOAD_FEEDBACK, APPLICATION):
        return 8
    return 4 if kind == EXTENDED_REPORT else 0


# Readers. `body` and `item` are offsets that `next_rtcp` gave out.


@helper
def sender_ssrc(packet: np.ndarray, body: int) -> int:
    """SSRC of who sent an SR, RR or feedback packet."""
    return read_u32(packet, body)


@helper
def media_ssrc(packet: np.ndarray, body: int) -> int:
    """SSRC that a feedback packet is about (RFC 4585 section 6.1); 0 in FIR, whose items name it."""
    return read_u32(packet, body + 4)


@helper
def report_ntp(packet: np.ndarray, body: int) -> int:
    """Wall time of an SR: the bits of the 32.32 NTP timestamp in an int64, negative until 2036."""
    return int(np.int64(read_u32(packet, body + 4)) << 32 | np.int64(read_u32(packet, body + 8)))


@helper
def report_timestamp(packet: np.ndarray, body: int) -> int:
    """RTP timestamp of an SR, of the same instant as its wall time."""
    return read_u32(packet, body + 12)


@helper
def report_packets(packet: np.ndarray, body: int) -> int:
    """Packets sent so far, of an SR; modulo 2**32."""
    return read_u32(packet, body + 16)


@helper
def report_octets(packet: np.ndarray, body: int) -> int:
    """Payload bytes sent so far, of an SR; modulo 2**32."""
    return read_u32(packet, body + 20)


@helper
def block_ssrc(packet: np.ndarray, item: int) -> int:
    """SSRC that a report block is about."""
    return read_u32(packet, item)


@helper
def block_fraction_lost(packet: np.ndarray, item: int) -> int:
    """Fraction of packets lost since the report before, in 256ths."""
    return read_u8(packet, item + 4)


@helper
def block_cumulative_lost(packet: np.ndarray, item: int) -> int:
    """Packets lost since the beginning, 24 bits signed: duplicates count against it."""
    return ((read_u32(packet, item + 4) & 0xFFFFFF) ^ 0x800000) - 0x800000


@helper
def block_highest_sequence(packet: np.ndarray, item: int) -> int:
    """Highest sequence number received, extended by the number of wraps << 16."""
    return read_u32(packet, item + 8)


@helper
def block_jitter(packet: np.ndarray, item: int) -> int:
    """Interarrival jitter in timestamp ticks."""
    return read_u32(packet, item + 12)


@helper
def block_last_report(packet: np.ndarray, item: int) -> int:
    """LSR: the middle 32 bits of the NTP timestamp of the last SR received, 0 none."""
    return read_u32(packet, item + 16)


@helper
def block_report_delay(packet: np.ndarray, item: int) -> int:
    """DLSR: time since that SR, in 65536ths of a second."""
    return read_u32(packet, item + 20)


@helper
def nack_packet_id(packet: np.ndarray, item: int) -> int:
    """PID of a generic NACK item: the first sequence number missing (RFC 4585 section 6.2.1)."""
    return read_u16(packet, item)


@helper
def nack_bitmask(packet: np.ndarray, item: int) -> int:
    """BLP of a generic NACK item: bit i set, PID + i + 1 is missing too."""
    return read_u16(packet, item + 2)


@helper
def fir_ssrc(packet: np.ndarray, item: int) -> int:
    """SSRC that a FIR item wants a keyframe of (RFC 5104 section 4.3.1.1)."""
    return read_u32(packet, item)


@helper
def fir_sequence(packet: np.ndarray, item: int) -> int:
    """Command sequence number of a FIR item: repeated means the same wish as before."""
    return read_u8(packet, item + 4)


@helper
def bye_ssrc(packet: np.ndarray, item: int) -> int:
    """SSRC of a source that leaves; items are 4 bytes apart."""
    return read_u32(packet, item)


# Writers. Each returns the offset behind what it wrote; the caller has made sure of the room it names.


@helper
def _write_header(packet: np.ndarray, offset: int, count: int, kind: int, size: int) -> None:
    packet[offset] = RTP_VERSION << 6 | count
    packet[offset + 1] = kind
    write_u16(packet, offset + 2, (size >> 2) - 1)


@kernel
def write_sender_report(
    packet: np.ndarray,
    offset: int,
    ssrc: int,
    ntp: int,
    timestamp: int,
    packets: int,
    octets: int,
    block_count: int,
) -> int:
    """Write an SR; the caller adds its `block_count` (0..31) report blocks behind. Room: 28 + 24 per block.

    `ntp` is 32.32 fixed point, `packets` and `octets` may exceed 32 bits.
    """
    size = SENDER_REPORT_BYTES + REPORT_BLOCK_BYTES * block_count
    _write_header(packet, offset, block_count, SENDER_REPORT, size)
    write_u32(packet, offset + 4, ssrc)
    write_u32(packet, offset + 8, ntp >> 32)
    write_u32(packet, offset + 12, ntp)
    write_u32(packet, offset + 16, timestamp)
    write_u32(packet, offset + 20, packets)
    write_u32(packet, offset + 24, octets)
    return offset + SENDER_REPORT_BYTES


@kernel
def write_receiver_report(packet: np.ndarray, offset: int, ssrc: int, block_count: int) -> int:
    """Write an RR; the caller adds its `block_count` (0..31) report blocks behind. Room: 8 + 24 per block."""
    size = RECEIVER_REPORT_BYTES + REPORT_BLOCK_BYTES * block_count
    _write_header(packet, offset, block_count, RECEIVER_REPORT, size)
    write_u32(packet, offset + 4, ssrc)
    return offset + RECEIVER_REPORT_BYTES


@kernel
def write_report_block(
    packet: np.ndarray,
    offset: int,
    ssrc: int,
    fraction_lost: int,
    cumulative_lost: int,
    highest_sequence: int,
    jitter: int,
    last_report: int,
    report_delay: int,
) -> int:
    """Write one report block of an SR or RR. Room: 24.

    `cumulative_lost` must lie within 24 bits signed; `highest_sequence` is extended by the wraps << 16.
    """
    write_u32(packet, offset, ssrc)
    write_u32(packet, offset + 4, (fraction_lost & 0xFF) << 24 | (cumulative_lost & 0xFFFFFF))
    write_u32(packet, offset + 8, highest_sequence)
    write_u32(packet, offset + 12, jitter)
    write_u32(packet, offset + 16, last_report)
    write_u32(packet, offset + 20, report_delay)
    return offset + REPORT_BLOCK_BYTES


@kernel
def write_sdes_cname(packet: np.ndarray, offset: int, ssrc: int, cname: np.ndarray) -> int:
    """Write an SDES packet of one chunk with one CNAME, all of `cname` (uint8 [..255]).

    Room: 10 + len(cname), and up to 4 more to end on a word; 28 for CNAME_BYTES.
    """
    text = len(cname)
    end = (offset + 10 + text | 3) + 1
    _write_header(packet, offset, 1, SOURCE_DESCRIPTION, end - offset)
    write_u32(packet, offset + 4, ssrc)
    packet[offset + 8] = SDES_CNAME
    packet[offset + 9] = text
    for index in range(text):
        packet[offset + 10 + index] = cname[index]
    for index in range(offset + 10 + text, end):
        packet[index] = 0
    return end


@kernel
def write_pli(packet: np.ndarray, offset: int, sender: int, media: int) -> int:
    """Write a picture loss indication (RFC 4585 section 6.3.1) from SSRC `sender` about `media`. Room: 12."""
    _write_header(packet, offset, PICTURE_LOSS, PAYLOAD_FEEDBACK, PLI_BYTES)
    write_u32(packet, offset + 4, sender)
    write_u32(packet, offset + 8, media)
    return offset + PLI_BYTES


@kernel
def write_fir(packet: np.ndarray, offset: int, sender: int, media: int, sequence: int) -> int:
    """Write a full intra request (RFC 5104 section 4.3.1) with its command number (8 bits). Room: 20."""
    _write_header(packet, offset, FULL_INTRA_REQUEST, PAYLOAD_FEEDBACK, FIR_BYTES)
    write_u32(packet, offset + 4, sender)
    write_u32(packet, offset + 8, 0)
    write_u32(packet, offset + 12, media)
    write_u32(packet, offset + 16, sequence << 24)
    return offset + FIR_BYTES


@kernel
def write_nack(
    packet: np.ndarray, offset: int, sender: int, media: int, sequence_numbers: np.ndarray, count: int
) -> int:
    """Write a generic NACK (RFC 4585 section 6.2.1) for the first `count` of `sequence_numbers`.

    Any order will do; ascending ones (modulo 2**16) share items. Nothing is written when `count` is 0.
    Room: 12 + 4 * count.
    """
    if count <= 0:
        return offset
    end = offset + NACK_BYTES
    first = 0
    bitmask = 0
    for index in range(count):
        sequence = int(sequence_numbers[index]) & 0xFFFF
        distance = (sequence - first) & 0xFFFF
        if index != 0 and distance <= 16:
            if distance != 0:
                bitmask |= 1 << (distance - 1)
                write_u16(packet, end - 2, bitmask)
            continue
        first = sequence
        bitmask = 0
        write_u16(packet, end, first)
        write_u16(packet, end + 2, 0)
        end += NACK_ITEM_BYTES
    _write_header(packet, offset, GENERIC_NACK, TRANSPORT_FEEDBACK, end - offset)
    write_u32(packet, offset + 4, sender)
    write_u32(packet, offset + 8, media)
    return end
