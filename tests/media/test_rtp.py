"""RTP headers, big-endian fields and wrapping numbers."""

import struct

import numpy as np
import pytest
import rtp_twin
from aiortc.rtp import RtpPacket
from both_ways import Guarded, both, new_records
from hypothesis import given, settings
from hypothesis import strategies as st
from rtp_strategies import rtp_headers, rtp_packets, u16, u32

from media.rtp import (
    parse_rtp,
    read_u8,
    read_u16,
    read_u32,
    sequence_delta,
    timestamp_delta,
    write_u16,
    write_u32,
)
from media.tables import NO_LEVEL


def parse(data: bytes, room: int = 0):
    """What both kinds of `parse_rtp` say of `data`: a dict of fields, or None."""
    results = []
    for function in both(parse_rtp):
        packet = Guarded(data, room)
        records = new_records(function)
        accepted = function(packet.array, len(data), records, 0)
        assert bytes(packet)[: len(data)] == data
        results.append(
            {name: records[0][name].tolist() for name in records.dtype.names} if accepted else None
        )
    assert results[0] == results[1]
    return results[0]


@pytest.mark.parametrize("index", [0, 1])
def test_fields_are_big_endian(index):
    array = np.frombuffer(bytes.fromhex("00fffefdfc00"), np.uint8).copy()
    assert both(read_u8)[index](array, 1) == 0xFF
    assert both(read_u16)[index](array, 1) == 0xFFFE
    assert both(read_u32)[index](array, 1) == 0xFFFEFDFC
    both(write_u16)[index](array, 1, 0x54321)
    assert array.tobytes().hex() == "004321fdfc00"
    both(write_u32)[index](array, 1, 0xF_89ABCDEF)
    assert array.tobytes().hex() == "0089abcdef00"
    both(write_u32)[index](array, 1, -2)
    assert array.tobytes().hex() == "00fffffffe00"


@pytest.mark.parametrize("function", both(sequence_delta))
@pytest.mark.parametrize(
    ("left", "right", "delta"),
    [
        (0, 0, 0),
        (1, 0, 1),
        (0, 1, -1),
        (0, 0xFFFF, 1),
        (0xFFFF, 0, -1),
        (0x7FFF, 0, 0x7FFF),
        (0x8000, 0, -0x8000),
    ],
)
def test_sequence_delta_is_signed_and_wraps(function, left, right, delta):
    assert function(left, right) == delta


@settings(deadline=None)
@given(u16, st.integers(-0x8000, 0x7FFF), u32, st.integers(-0x80000000, 0x7FFFFFFF))
def test_deltas_find_any_distance_they_can_say(sequence, sequence_step, timestamp, timestamp_step):
    for function in both(sequence_delta):
        assert function((sequence + sequence_step) & 0xFFFF, sequence) == sequence_step
    for function in both(timestamp_delta):
        assert function((timestamp + timestamp_step) & 0xFFFFFFFF, timestamp) == timestamp_step


@settings(deadline=None)
@given(rtp_packets(), st.integers(0, 3))
def test_parse_rtp_agrees_with_its_twin_on_any_bytes(data, room):
    parsed = parse(data, room)
    header = rtp_twin.parse(data)
    assert (parsed is None) == (header is None)
    if header is not None:
        assert parsed["ssrc"] == header.ssrc
        assert parsed["timestamp"] == header.timestamp
        assert parsed["sequence_number"] == header.sequence_number
        assert parsed["payload_type"] == header.payload_type
        assert parsed["marker"] == header.marker
        assert parsed["offset"] == 0
        assert parsed["length"] == len(data)
        assert parsed["header_length"] == header.header_length
        assert parsed["payload_length"] == len(header.payload)


@settings(deadline=None)
@given(rtp_headers())
def test_parse_rtp_leaves_nothing_of_the_packet_before(header):
    parsed = parse(rtp_twin.build(header))
    assert parsed["level_dbov"] == NO_LEVEL
    for name in ("codec", "keyframe", "voiced", "two_byte", "element_count", "mid_length", "rid_length"):
        assert parsed[name] == 0, name


@settings(deadline=None)
@given(rtp_headers().filter(lambda header: header.profile is None))
def test_parse_rtp_agrees_with_aiortc_on_well_formed_packets(header):
    data = rtp_twin.build(header)
    theirs = RtpPacket.parse(data)
    ours = parse(data)
    assert (
        ours["ssrc"],
        ours["timestamp"],
        ours["sequence_number"],
        ours["payload_type"],
        ours["marker"],
    ) == (
        theirs.ssrc,
        theirs.timestamp,
        theirs.sequence_number,
        theirs.payload_type,
        theirs.marker,
    )
    assert ours["payload_length"] == len(theirs.payload)


def test_parse_rtp_reads_every_field_at_its_limits():
    parsed = parse(struct.pack("!BBHLL", 0x80, 0xFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF))
    assert parsed["marker"] == 1
    assert parsed["payload_type"] == 127
    assert parsed["sequence_number"] == 0xFFFF
    assert parsed["timestamp"] == parsed["ssrc"] == 0xFFFFFFFF
    assert parsed["payload_length"] == 0


@pytest.mark.parametrize(
    "data",
    [
        bytes(11),
        b"\x40" + bytes(11),  # version 1
        b"\xc0" + bytes(11),  # version 3
        b"\x8f" + bytes(11 + 59),  # 15 CSRCs of which the last is cut
        b"\x90" + bytes(11 + 3),  # extension header cut
        b"\x90" + bytes(11) + b"\xbe\xde\xff\xff" + bytes(40),  # block longer than the packet
        b"\xa0" + bytes(11),  # padding without a byte for it
        b"\xa0" + bytes(11) + b"\x00",  # padding of 0
        b"\xa0" + bytes(11) + b"\x02",  # more padding than there is
    ],
)
def test_parse_rtp_refuses_malformed_packets(data):
    assert parse(data) is None


def test_parse_rtp_takes_a_packet_of_padding_alone():
    assert parse(b"\xa0" + bytes(11) + bytes(254) + b"\xff")["payload_length"] == 0
