"""Header extensions between wire ids and canonical ids, against a twin that rebuilds the packet from lists."""

import struct

import numpy as np
import pytest
import rtp_twin
from aiortc.rtp import unpack_header_extensions
from both_ways import Guarded, both, new_records
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rtp_strategies import extension_maps, rtp_headers, wire_maps

from media import codecs
from media.extensions import canonicalize_extensions, write_extension_ids
from media.rtp import parse_rtp
from media.tables import MAX_ELEMENTS, NO_LEVEL


def table(mapping):
    array = np.zeros(16, np.uint8)
    for key, value in mapping.items():
        array[key] = value
    return array


def packet_with(elements, profile=0xBEDE, payload=b"payload"):
    block = rtp_twin.block_of(profile, elements)
    return rtp_twin.Header(False, 0, 96, 7, 8, 9, b"", profile, block, payload, b"")


def canonicalize(data: bytes, extension_in):
    """Run both kinds; return (canonical packet, record as dict, MID, RID)."""
    results = []
    for function in both(canonicalize_extensions):
        packet = Guarded(data)
        names = Guarded(bytes(64))
        records = new_records(function)
        plain = new_records(parse_rtp)
        assert parse_rtp(packet.array, len(data), plain, 0)
        np.asarray(records)[:] = plain
        function(packet.array, records, 0, table(extension_in), names.array)
        record = {name: records[0][name].tolist() for name in records.dtype.names}
        moved = bytes(packet)[record["offset"] :]
        assert len(moved) == record["length"]
        texts = bytes(names)
        results.append((moved, record, texts[: record["mid_length"]], texts[32 : 32 + record["rid_length"]]))
    for _, record, _, _ in results:
        record["element_offset"] = record["element_offset"][: record["element_count"]]
    assert results[0] == results[1]
    return results[0]


def check_against_twin(header, extension_in):
    data = rtp_twin.build(header)
    expected = rtp_twin.canonicalize(header, extension_in)
    packet, record, mid, rid = canonicalize(data, extension_in)
    assert packet == expected.packet
    assert (mid, rid) == (expected.mid, expected.rid)
    assert (record["level_dbov"], record["voiced"]) == (expected.level_dbov, expected.voiced)
    # The payload has not moved, and the record describes the canonical packet.
    assert record["offset"] == len(data) - len(packet)
    again = rtp_twin.parse(packet)
    assert record["header_length"] == again.header_length
    assert record["payload_length"] == len(header.payload)
    assert packet[record["header_length"] :] == header.payload + header.padding_bytes
    # Each recorded place holds the id of its element.
    assert record["element_count"] == len(expected.elements)
    two_byte = header.profile is not None and rtp_twin.is_two_byte(header.profile)
    if header.profile is not None:
        assert record["two_byte"] == two_byte
    for place, (extension, value) in zip(record["element_offset"], expected.elements, strict=True):
        if two_byte:
            assert packet[place : place + 2 + len(value)] == bytes([extension, len(value)]) + value
        else:
            assert packet[place : place + 1 + len(value)] == bytes([extension << 4 | len(value) - 1]) + value
    return packet, record, expected


@settings(deadline=None, max_examples=300)
@given(rtp_headers(), extension_maps)
@example(packet_with([(1, b"\x85")], payload=b""), [0] * 16)
@example(packet_with([(1, b"\x85\x86\x87")], payload=b""), [1] * 16)
@example(packet_with([(1, b"\x85\x86")], profile=0x1000, payload=b""), [1] * 16)
@example(rtp_twin.Header(False, 0, 96, 7, 8, 9, b"", 0x1000, b"\1\1\x85\1", b"", b""), [1] * 16)
def test_canonicalize_extensions_agrees_with_its_twin(header, extension_map):
    extension_in = {wire: extension for wire, extension in enumerate(extension_map) if wire}
    check_against_twin(header, extension_in)


@settings(deadline=None, max_examples=300)
@given(
    rtp_headers().filter(lambda header: header.profile is not None),
    st.binary(max_size=80).map(lambda block: block + bytes(-len(block) % 4)),
    extension_maps,
)
def test_canonicalize_extensions_agrees_with_its_twin_when_the_block_is_noise(header, block, extension_map):
    header.block = block
    check_against_twin(header, {wire: extension for wire, extension in enumerate(extension_map) if wire})


def test_canonicalize_extensions_keeps_what_describes_the_media_and_notes_the_rest():
    elements = [(1, b"0"), (4, b"hi"), (2, b"\x8a"), (3, b"\1\2\3")]
    extension_in = {1: codecs.MID, 4: codecs.RID, 2: codecs.AUDIO_LEVEL, 3: codecs.ABS_SEND_TIME}
    packet, record, mid, rid = canonicalize(rtp_twin.build(packet_with(elements)), extension_in)
    assert (mid, rid) == (b"0", b"hi")
    assert (record["level_dbov"], record["voiced"]) == (10, 1)
    assert (
        packet[12:] == bytes.fromhex("bede0001") + bytes([codecs.AUDIO_LEVEL << 4, 0x8A, 0, 0]) + b"payload"
    )
    assert record["element_offset"] == [16]


def test_canonicalize_extensions_drops_the_block_when_nothing_of_it_is_kept():
    data = rtp_twin.build(packet_with([(1, b"0"), (9, b"unknown")]))
    packet, record, _, _ = canonicalize(data, {1: codecs.MID})
    assert packet == rtp_twin.build(rtp_twin.Header(False, 0, 96, 7, 8, 9, b"", None, b"", b"payload", b""))
    assert record["header_length"] == 12
    assert record["offset"] == len(data) - len(packet)


def test_canonicalize_extensions_changes_nothing_when_nothing_is_to_change():
    data = rtp_twin.build(packet_with([(codecs.AUDIO_LEVEL, b"\x7f"), (codecs.VIDEO_ORIENTATION, b"\1")]))
    packet, record, _, _ = canonicalize(data, {extension: extension for extension in range(1, 14)})
    assert packet == data
    assert record["offset"] == 0
    assert record["element_offset"] == [16, 18]


def test_canonicalize_extensions_leaves_a_packet_without_extensions_alone():
    header = rtp_twin.Header(False, 1, 96, 7, 8, 9, bytes(8), None, b"", b"payload", b"")
    packet, record, mid, rid = canonicalize(rtp_twin.build(header), {1: codecs.MID})
    assert packet == rtp_twin.build(header)
    assert (record["element_count"], record["level_dbov"], mid, rid) == (0, NO_LEVEL, b"", b"")


@pytest.mark.parametrize(
    ("block", "levels"),
    [
        (bytes.fromhex("10858000"), 5),  # an element of id 8 behind
        (bytes.fromhex("0010850f"), 5),  # padding before
        (bytes.fromhex("f0108500"), NO_LEVEL),  # id 15 ends the block
        (bytes.fromhex("02108500"), NO_LEVEL),  # so does padding with a length
        (bytes.fromhex("20aa1085"), 5),
        (bytes.fromhex("22aa1085"), NO_LEVEL),  # the bytes of an unknown element are not read
        (bytes.fromhex("108510870f000000"), 7),  # twice: the last counts
        (bytes.fromhex("1085" + "1f87"), 5),  # an element that would overrun the block
    ],
)
def test_canonicalize_extensions_walks_the_one_byte_form_as_rfc_8285_says(block, levels):
    header = packet_with([])
    header.block = block
    _, record, expected = check_against_twin(header, {1: codecs.AUDIO_LEVEL})
    assert record["level_dbov"] == expected.level_dbov == levels


@pytest.mark.parametrize(
    ("block", "level"),
    [
        (bytes.fromhex("01018500"), 5),
        (bytes.fromhex("00000101" + "85000000"), 5),
        (bytes.fromhex("01000000"), NO_LEVEL),  # an empty level says nothing
        (bytes.fromhex("1001aa01" + "01850000"), 5),  # id 16 is nobody's
        (bytes.fromhex("0f018500"), NO_LEVEL),  # id 15 is an id like any other here
        (bytes.fromhex("00000001"), NO_LEVEL),  # the length is cut off
    ],
)
def test_canonicalize_extensions_walks_the_two_byte_form_as_rfc_8285_says(block, level):
    header = packet_with([], profile=0x100F)
    header.block = block
    _, record, _ = check_against_twin(header, {1: codecs.AUDIO_LEVEL, 15: codecs.VIDEO_ORIENTATION})
    assert record["level_dbov"] == level


def test_canonicalize_extensions_keeps_at_most_max_elements():
    header = packet_with([(1, bytes([value])) for value in range(MAX_ELEMENTS + 4)])
    _, record, expected = check_against_twin(header, {1: codecs.VIDEO_ORIENTATION})
    assert record["element_count"] == MAX_ELEMENTS
    assert [value[0] for _, value in expected.elements] == list(range(MAX_ELEMENTS))


@pytest.mark.parametrize("extension", [codecs.MID, codecs.RID])
def test_canonicalize_extensions_ignores_a_name_longer_than_32(extension):
    for size, kept in ((32, 32), (33, 0)):
        header = packet_with([(1, b"x" * size)], profile=0x1000)
        _, record, expected = check_against_twin(header, {1: extension})
        assert record["mid_length"] + record["rid_length"] == len(expected.mid + expected.rid) == kept


def write_ids(packet: bytes, record, extension_out):
    results = set()
    for function in both(write_extension_ids):
        slot = Guarded(packet)
        records = new_records(function)
        for name in ("two_byte", "element_count"):
            records[0][name] = record[name]
        records[0]["element_offset"][: record["element_count"]] = record["element_offset"]
        function(slot.array, records, 0, table(extension_out))
        results.add(bytes(slot))
    assert len(results) == 1
    return results.pop()


@settings(deadline=None, max_examples=300)
@given(rtp_headers(), extension_maps, wire_maps)
def test_write_extension_ids_gives_each_element_the_subscribers_id_or_blanks_it(header, map_in, map_out):
    packet, record, expected = check_against_twin(
        header, {wire: extension for wire, extension in enumerate(map_in) if wire}
    )
    sent = write_ids(packet, record, dict(enumerate(map_out)))
    assert len(sent) == len(packet)
    if not expected.elements:
        assert sent == packet
        return
    limit = 16 if record["two_byte"] else 15
    wanted = [
        (map_out[extension], value)
        for extension, value in expected.elements
        if 0 < map_out[extension] < limit
    ]
    block_start = record["header_length"] - len(rtp_twin.parse(packet).block)
    assert rtp_twin.elements_of(header.profile, sent[block_start : record["header_length"]]) == wanted
    assert sent[:block_start] == packet[:block_start]
    assert sent[record["header_length"] :] == packet[record["header_length"] :]


def test_write_extension_ids_makes_what_aiortc_reads():
    for profile in (0xBEDE, 0x1000):
        elements = [(2, b"\x85"), (3, b"\1"), (4, b"\2\3\4")]
        extension_in = {2: codecs.AUDIO_LEVEL, 3: codecs.VIDEO_ORIENTATION, 4: codecs.PLAYOUT_DELAY}
        packet, record, _, _ = canonicalize(rtp_twin.build(packet_with(elements, profile)), extension_in)
        sent = write_ids(packet, record, {codecs.AUDIO_LEVEL: 9, codecs.PLAYOUT_DELAY: 14})
        words = struct.unpack_from("!H", sent, 14)[0]
        assert unpack_header_extensions(profile, sent[16 : 16 + 4 * words]) == [(9, b"\x85"), (14, b"\2\3\4")]


@pytest.mark.parametrize(
    ("profile", "block"), [(0xBEDE, "210203000000001009000000"), (0x1000, "020202030000000000010109")]
)
def test_write_extension_ids_blanks_a_whole_element_and_no_more(profile, block):
    elements = [(2, b"\2\3"), (3, b"\7\1\5"), (4, b"\x09")]
    extension_in = {2: codecs.VIDEO_ORIENTATION, 3: codecs.PLAYOUT_DELAY, 4: codecs.AUDIO_LEVEL}
    packet, record, _, _ = canonicalize(rtp_twin.build(packet_with(elements, profile)), extension_in)
    sent = write_ids(packet, record, {codecs.VIDEO_ORIENTATION: 2, codecs.AUDIO_LEVEL: 1})
    assert rtp_twin.parse(sent).block.hex() == block


@pytest.mark.parametrize("wire", [15, 16, 255])
def test_write_extension_ids_blanks_an_element_whose_id_the_one_byte_form_cannot_say(wire):
    for profile, blank in ((0xBEDE, True), (0x1000, False)):
        packet, record, _, _ = canonicalize(
            rtp_twin.build(packet_with([(2, b"\x85")], profile)), {2: codecs.AUDIO_LEVEL}
        )
        block = rtp_twin.parse(write_ids(packet, record, {codecs.AUDIO_LEVEL: wire})).block
        assert block == (bytes(4) if blank else bytes([wire, 1, 0x85, 0]))


def test_forwarded_and_consumed_extensions_fit_the_one_byte_form():
    assert all(1 <= each <= 14 for each in (*codecs.FORWARDED_EXTENSIONS, *codecs.CONSUMED_EXTENSIONS))
    assert not set(codecs.FORWARDED_EXTENSIONS) & set(codecs.CONSUMED_EXTENSIONS)
