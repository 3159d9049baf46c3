"""Compound RTCP packets: the parser against a twin, readers and writers against aiortc's."""

import struct

import numpy as np
import pytest
import rtcp_twin
from aiortc import rtp as aiortc_rtp
from both_ways import Guarded, both
from hypothesis import given, settings
from hypothesis import strategies as st
from rtp_strategies import u8, u16, u32

from media import rtcp
from media.tables import CNAME_BYTES

u64 = st.integers(0, 2**64 - 1)
s24 = st.integers(-0x800000, 0x7FFFFF)


@st.composite
def packets(draw):
    """One RTCP packet: of a kind we know or not, long enough for what it counts or not, padded or not."""
    kind = draw(st.sampled_from([200, 201, 202, 203, 204, 205, 206, 207, 192, 223, 0]))
    count = draw(st.integers(0, 31) if kind > 207 or draw(st.booleans()) else st.integers(0, 4))
    body = draw(st.binary(max_size=40)) + bytes(draw(st.sampled_from([0, 24, 48, 120])))
    body += bytes(-len(body) % 4)
    padded = draw(st.booleans()) and draw(st.booleans())
    if padded and body:
        body = body[:-1] + bytes([draw(st.integers(0, 12))])
    return struct.pack("!BBH", 0x80 | padded << 5 | count, kind, len(body) // 4) + body


@st.composite
def compounds(draw):
    """Bytes: a compound, cut short or with a byte changed now and then, or anything at all."""
    data = b"".join(draw(st.lists(packets(), max_size=4)))
    damage = draw(st.sampled_from(["none", "none", "cut", "change", "noise"]))
    if damage == "cut":
        return data[: draw(st.integers(0, len(data)))]
    if damage == "change" and data:
        place = draw(st.integers(0, min(len(data) - 1, 60)))
        return data[:place] + bytes([draw(u8)]) + data[place + 1 :]
    if damage == "noise":
        return draw(st.binary(max_size=60))
    return data


def walk(data: bytes, functions):
    """Every packet that `next_rtcp` finds, as the twin's."""
    valid, following = functions
    array = Guarded(data).array
    found = []
    block = np.zeros(rtcp.BLOCK_WORDS, np.int64)
    offset = 0
    while following(array, len(data), offset, block):
        kind, count, body, end, offset, items, item_count = block.tolist()
        each = {200: 24, 201: 24, 203: 4, 205: 4, 206: 8}.get(kind, 0)
        found.append(
            rtcp_twin.Packet(
                kind,
                count,
                data[body:end],
                [data[items + index * each : items + (index + 1) * each] for index in range(item_count)],
            )
        )
    unchanged = block.copy()
    assert not following(array, len(data), offset, block)
    assert (block == unchanged).all()
    return bool(valid(array, len(data))), offset, found


def walk_both(data: bytes):
    results = [
        walk(data, pair) for pair in zip(both(rtcp.is_valid_compound), both(rtcp.next_rtcp), strict=True)
    ]
    assert results[0] == results[1]
    return results[0]


@settings(deadline=None, max_examples=400)
@given(compounds())
def test_compound_agrees_with_its_twin_on_any_bytes(data):
    valid, end, found = walk_both(data)
    expected, rest = rtcp_twin.walk(data)
    assert found == expected
    assert end == len(data) - len(rest)
    assert valid == (bool(expected) and not rest)


@pytest.mark.parametrize("offset", [-4, -1, 8, 9, 100])
def test_next_rtcp_refuses_an_offset_outside_the_packet(offset):
    data = np.frombuffer(struct.pack("!BBHL", 0x80, 201, 1, 5), np.uint8)
    for function in both(rtcp.next_rtcp):
        assert not function(data, len(data), offset, np.zeros(rtcp.BLOCK_WORDS, np.int64))


@pytest.mark.parametrize("padding", [1, 2, 3, 4])
def test_compound_takes_the_padding_of_libwebrtc_in_any_packet(padding):
    feedback = struct.pack("!BBHLL", 0xAF, 205, 3, 1, 2) + bytes(3) + bytes([padding])
    report = struct.pack("!BBHL", 0x80, 201, 1, 5)
    valid, _, found = walk_both(feedback + report)
    assert valid
    assert [len(packet.body) for packet in found] == [12 - padding, 4]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x80\xc9\0",
        b"\xa0\xc0\0\0",  # padding without a byte for it
        b"\xa0\xc0\0\1\0\0\0\0",  # padding of 0
        b"\xa0\xc0\0\1\0\0\0\5",  # more padding than there is
        b"\xa0\xc9\0\1\0\0\0\1",  # padding where the sender's SSRC should be
        b"\x81\xc9\0\1\0\0\0\5",  # a report block that is not there
        b"\x81\xcb\0\0",  # a source that is not there
        b"\x81\xce\0\1\0\0\0\5",  # feedback about nothing
        b"\x40\xc0\0\0",
        b"\x80\xc0\0\1",
    ],
)
def test_compound_refuses_malformed_packets(data):
    assert walk_both(data) == (False, 0, [])
    valid, end, found = walk_both(b"\x80\xc0\0\0" + data)
    assert valid == (data == b"")
    assert (end, len(found)) == (4, 1)


def block_of(packet: bytes):
    block = np.zeros(rtcp.BLOCK_WORDS, np.int64)
    array = np.frombuffer(packet, np.uint8)
    assert rtcp.next_rtcp(array, len(packet), 0, block)
    return array, block.tolist()


receiver_infos = st.builds(aiortc_rtp.RtcpReceiverInfo, u32, u8, s24, u32, u32, u32, u32)


def read_report_block(array, item):
    results = [
        tuple(
            both(reader)[way](array, item)
            for reader in (
                rtcp.block_ssrc,
                rtcp.block_fraction_lost,
                rtcp.block_cumulative_lost,
                rtcp.block_highest_sequence,
                rtcp.block_jitter,
                rtcp.block_last_report,
                rtcp.block_report_delay,
            )
        )
        for way in (0, 1)
    ]
    assert results[0] == results[1]
    return aiortc_rtp.RtcpReceiverInfo(*results[0])


def guarded_write(function, room, *arguments, start=0):
    """What both kinds of a writer write, `start` bytes into a buffer that has just `room` more."""
    results = []
    for each in both(function):
        buffer = Guarded(bytes(start), room)
        end = each(buffer.array, start, *arguments)
        results.append(bytes(buffer)[start:end])
    assert results[0] == results[1]
    return results[0]


def report_blocks(reports):
    return b"".join(
        guarded_write(
            rtcp.write_report_block,
            rtcp.REPORT_BLOCK_BYTES,
            report.ssrc,
            report.fraction_lost,
            report.packets_lost,
            report.highest_sequence,
            report.jitter,
            report.lsr,
            report.dlsr,
        )
        for report in reports
    )


@settings(deadline=None)
@given(u32, u64, u32, u32, u32, st.lists(receiver_infos, max_size=31))
def test_sender_report_goes_through_aiortc_and_back(ssrc, ntp, timestamp, count, octets, reports):
    theirs = aiortc_rtp.RtcpSrPacket(ssrc, aiortc_rtp.RtcpSenderInfo(ntp, timestamp, count, octets), reports)
    signed_ntp = ntp - 2**64 if ntp >= 2**63 else ntp
    head = guarded_write(
        rtcp.write_sender_report, 28, ssrc, signed_ntp, timestamp, count, octets, len(reports), start=4
    )
    assert head + report_blocks(reports) == bytes(theirs)
    array, block = block_of(bytes(theirs))
    assert block[rtcp.TYPE] == rtcp.SENDER_REPORT
    body = block[rtcp.BODY]
    for way in (0, 1):
        assert both(rtcp.sender_ssrc)[way](array, body) == ssrc
        assert both(rtcp.report_ntp)[way](array, body) == signed_ntp
        assert both(rtcp.report_timestamp)[way](array, body) == timestamp
        assert both(rtcp.report_packets)[way](array, body) == count
        assert both(rtcp.report_octets)[way](array, body) == octets
    found = [
        read_report_block(array, block[rtcp.ITEMS] + 24 * index) for index in range(block[rtcp.ITEM_COUNT])
    ]
    assert found == reports


@settings(deadline=None)
@given(u32, st.lists(receiver_infos, max_size=31))
def test_receiver_report_goes_through_aiortc_and_back(ssrc, reports):
    theirs = aiortc_rtp.RtcpRrPacket(ssrc, reports)
    head = guarded_write(rtcp.write_receiver_report, 8, ssrc, len(reports))
    assert head + report_blocks(reports) == bytes(theirs)
    array, block = block_of(bytes(theirs))
    assert block[rtcp.TYPE] == rtcp.RECEIVER_REPORT
    assert rtcp.sender_ssrc(array, block[rtcp.BODY]) == ssrc
    found = [
        read_report_block(array, block[rtcp.ITEMS] + 24 * index) for index in range(block[rtcp.ITEM_COUNT])
    ]
    assert found == reports


def test_sender_report_masks_counts_that_outgrow_32_bits():
    head = guarded_write(rtcp.write_sender_report, 28, 1, 0, 0, 2**32 + 5, 2**40 + 6, 0)
    (report,) = aiortc_rtp.RtcpPacket.parse(head)
    assert (report.sender_info.packet_count, report.sender_info.octet_count) == (5, 6)


@settings(deadline=None)
@given(u32, st.binary(max_size=255))
def test_cname_goes_through_aiortc_and_back(ssrc, cname):
    size = len(cname)
    data = guarded_write(
        rtcp.write_sdes_cname, 10 + size + 4, ssrc, np.frombuffer(cname, np.uint8).copy(), start=8
    )
    assert len(data) % 4 == 0
    assert data[10 + size :] == bytes(len(data) - 10 - size)
    assert rtcp_twin.parse(data) == [rtcp_twin.Packet(202, 1, data[4:], [])]
    assert rtcp_twin.sdes_items(1, data[4:]) == [(ssrc, rtcp.SDES_CNAME, cname)]
    if len(data) > 11 + size:  # aiortc wants two nulls behind an item
        (sdes,) = aiortc_rtp.RtcpPacket.parse(data)
        assert sdes.chunks == [aiortc_rtp.RtcpSourceInfo(ssrc, [(1, cname)])]


def test_cname_of_the_relay_takes_28_bytes():
    data = guarded_write(rtcp.write_sdes_cname, 28, 7, np.arange(65, 65 + CNAME_BYTES, dtype=np.uint8))
    assert len(data) == 28
    (sdes,) = aiortc_rtp.RtcpPacket.parse(data)
    assert sdes.chunks[0].items == [(1, b"ABCDEFGHIJKLMNOP")]


@settings(deadline=None)
@given(u32, u32)
def test_pli_is_what_aiortc_writes(sender, media):
    data = guarded_write(rtcp.write_pli, rtcp.PLI_BYTES, sender, media, start=4)
    assert data == bytes(aiortc_rtp.RtcpPsfbPacket(1, sender, media))
    array, block = block_of(data)
    assert (block[rtcp.TYPE], block[rtcp.COUNT]) == (rtcp.PAYLOAD_FEEDBACK, rtcp.PICTURE_LOSS)
    for way in (0, 1):
        assert both(rtcp.sender_ssrc)[way](array, block[rtcp.BODY]) == sender
        assert both(rtcp.media_ssrc)[way](array, block[rtcp.BODY]) == media


@settings(deadline=None)
@given(u32, u32, st.integers(0, 300))
def test_fir_is_what_rfc_5104_draws(sender, media, sequence):
    data = guarded_write(rtcp.write_fir, rtcp.FIR_BYTES, sender, media, sequence)
    fci = struct.pack("!LB3x", media, sequence & 255)
    assert data == bytes(aiortc_rtp.RtcpPsfbPacket(4, sender, 0, fci))
    array, block = block_of(data)
    assert block[rtcp.ITEM_COUNT] == 1
    for way in (0, 1):
        assert both(rtcp.fir_ssrc)[way](array, block[rtcp.ITEMS]) == media
        assert both(rtcp.fir_sequence)[way](array, block[rtcp.ITEMS]) == sequence & 255


@settings(deadline=None)
@given(u32, u32, st.lists(u32, max_size=4), st.lists(u32, min_size=1, max_size=31))
def test_items_of_aiortc_are_all_found(sender, media, wanted, leaving):
    fci = b"".join(struct.pack("!LL", ssrc, 0) for ssrc in wanted)
    array, block = block_of(bytes(aiortc_rtp.RtcpPsfbPacket(4, sender, media, fci)))
    assert [
        rtcp.fir_ssrc(array, block[rtcp.ITEMS] + 8 * index) for index in range(block[rtcp.ITEM_COUNT])
    ] == wanted
    array, block = block_of(bytes(aiortc_rtp.RtcpByePacket(leaving)))
    assert block[rtcp.TYPE] == rtcp.GOODBYE
    for reader in both(rtcp.bye_ssrc):
        found = [reader(array, block[rtcp.ITEMS] + 4 * index) for index in range(block[rtcp.ITEM_COUNT])]
        assert found == leaving


def read_nack(data: bytes):
    array, block = block_of(data)
    assert (block[rtcp.TYPE], block[rtcp.COUNT]) == (rtcp.TRANSPORT_FEEDBACK, rtcp.GENERIC_NACK)
    found = []
    for index in range(block[rtcp.ITEM_COUNT]):
        item = block[rtcp.ITEMS] + rtcp.NACK_ITEM_BYTES * index
        first = {reader(array, item) for reader in both(rtcp.nack_packet_id)}
        mask = {reader(array, item) for reader in both(rtcp.nack_bitmask)}
        assert len(first) == len(mask) == 1
        base, bits = first.pop(), mask.pop()
        found += [base] + [(base + bit + 1) & 0xFFFF for bit in range(16) if bits >> bit & 1]
    return found


def write_nack(numbers, dtype=np.int64):
    room = rtcp.NACK_BYTES + rtcp.NACK_ITEM_BYTES * len(numbers)
    return guarded_write(rtcp.write_nack, room, 1, 2, np.array(numbers, dtype), len(numbers), start=8)


@settings(deadline=None)
@given(u16, st.lists(st.integers(0, 70), min_size=1, max_size=40, unique=True))
def test_nack_says_each_ascending_number_once_and_in_order(start, steps):
    numbers = [(start + step) & 0xFFFF for step in sorted(steps)]
    data = write_nack(numbers)
    assert read_nack(data) == numbers
    if numbers == sorted(numbers):
        assert data == bytes(aiortc_rtp.RtcpRtpfbPacket(1, 1, 2, numbers))


@settings(deadline=None)
@given(st.lists(u16, min_size=1, max_size=32))
def test_nack_says_every_number_whatever_their_order(numbers):
    assert set(read_nack(write_nack(numbers, np.int32))) == set(numbers)


def test_nack_of_nothing_writes_nothing():
    assert write_nack([]) == b""


@pytest.mark.parametrize(
    ("numbers", "items"),
    [
        ([5], [(5, 0)]),
        ([5, 21], [(5, 0x8000)]),
        ([5, 22], [(5, 0), (22, 0)]),
        ([0xFFFF, 0], [(0xFFFF, 1)]),
        ([0, 1], [(0, 1)]),
        ([0], [(0, 0)]),
        ([5, 5, 6], [(5, 1)]),
    ],
)
def test_nack_groups_numbers_into_items(numbers, items):
    fci = b"".join(struct.pack("!HH", *item) for item in items)
    assert write_nack(numbers)[12:] == fci


@settings(deadline=None)
@given(u32, u32, st.lists(u16, max_size=20, unique=True).map(sorted))
def test_nack_of_aiortc_is_understood(sender, media, numbers):
    assert read_nack(bytes(aiortc_rtp.RtcpRtpfbPacket(1, sender, media, numbers))) == numbers
