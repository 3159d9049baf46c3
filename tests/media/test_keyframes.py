"""Keyframes found in what the real encoders make, and in bytes that nobody would make."""

import pytest
from aiortc.codecs.h264 import H264Encoder
from aiortc.codecs.vpx import Vp8Encoder, VpxPayloadDescriptor
from both_ways import Guarded, both
from encoded_video import FRAMES, chunks_of, encode, packetise_av1, packetise_vp9
from hypothesis import given, settings
from hypothesis import strategies as st

from media import codecs
from media.keyframes import is_keyframe

H264 = sorted(codecs.H264_CODECS)


def found(payload: bytes, codec: int) -> bool:
    """What both kinds of `is_keyframe` say of a payload, whatever lies around it."""
    answers = set()
    for around, behind in ((b"\x00", 3), (b"\xff", 3), (b"\x87", 3), (b"\x00", 0)):
        packet = Guarded(around * 12 + payload + around * behind).array
        answers |= {bool(function(packet, 12, 12 + len(payload), codec)) for function in both(is_keyframe)}
    assert len(answers) == 1
    return answers.pop()


# What encoders make.


def check_units(units, packetise, codec):
    """The first packet of each keyframe begins it, and no other packet does."""
    assert len(units) == FRAMES
    assert 2 <= sum(keyframe for keyframe, _ in units) < FRAMES
    split = False
    for index, (keyframe, unit) in enumerate(units):
        payloads = packetise(keyframe, unit, index)
        assert [found(payload, codec) for payload in payloads] == [keyframe] + [False] * (len(payloads) - 1)
        split |= keyframe and len(payloads) > 1
    assert split


def test_vp8_keyframes_of_libvpx_are_found():
    check_units(encode("libvpx"), lambda _, unit, index: Vp8Encoder._packetize(unit, index * 100), codecs.VP8)


@pytest.mark.parametrize("layers", [False, True])
@pytest.mark.parametrize("codec", [codecs.VP9_PROFILE_0, codecs.VP9_PROFILE_2])
def test_vp9_keyframes_of_libvpx_are_found(codec, layers):
    check_units(
        encode("libvpx-vp9"),
        lambda keyframe, unit, index: packetise_vp9(keyframe, unit, index, layers=layers),
        codec,
    )


@pytest.mark.parametrize("counted", [False, True])
def test_av1_keyframes_of_svt_are_found(counted):
    check_units(
        encode("libsvtav1"),
        lambda keyframe, unit, _: packetise_av1(keyframe, unit, counted=counted),
        codecs.AV1,
    )


def test_av1_keyframes_are_found_by_their_sequence_header_when_n_is_not_set():
    for counted in (False, True):
        for keyframe, unit in encode("libsvtav1"):
            payloads = packetise_av1(False, unit, counted=counted)
            assert [found(payload, codecs.AV1) for payload in payloads] == [keyframe] + [False] * (
                len(payloads) - 1
            )


def nal_units(unit: bytes) -> list[bytes]:
    return list(H264Encoder._split_bitstream(unit))


def test_h264_keyframes_of_x264_are_found_in_single_nal_units():
    for keyframe, unit in encode("libx264"):
        units = nal_units(unit)
        kinds = [each[0] & 31 for each in units]
        first_slice = next(index for index, kind in enumerate(kinds) if kind in (1, 5))
        expected = [kind == 7 or (kind == 5 and index == first_slice) for index, kind in enumerate(kinds)]
        assert any(expected) == keyframe
        assert kinds.count(5 if keyframe else 1) == 3  # slices
        for codec in H264:
            assert [found(each, codec) for each in units] == expected


def test_h264_keyframes_of_x264_are_found_in_the_packets_of_aiortc():
    aggregated = fragmented = False
    for keyframe, unit in encode("libx264"):
        payloads = H264Encoder._packetize(iter(nal_units(unit)))
        answers = [found(payload, codecs.H264_CONSTRAINED_BASELINE) for payload in payloads]
        assert any(answers) == keyframe
        for payload, answer in zip(payloads, answers, strict=True):
            if payload[0] & 31 == 28:
                fragmented |= answer
                assert not answer or payload[1] & 0x80
            elif payload[0] & 31 == 24:
                aggregated |= answer
    assert aggregated
    assert fragmented


# What the payload formats say.


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        ("10 00", True),
        ("10 01", False),  # inter frame
        ("00 00", False),  # continues a partition
        ("11 00", False),  # second partition
        ("18 00", True),  # a reserved bit set
        ("30 00", True),  # non-reference: no matter
        ("10", False),
        ("90", False),
        ("90 80", False),
        ("90 80 05", False),
        ("90 80 05 00", True),
        ("90 80 85 05 00", True),
        ("90 80 85 05 01", False),
        ("90 80 85 05", False),
        ("90 40 01 00", True),
        ("90 40 00 01", False),
        ("90 20 01 00", True),
        ("90 10 01 00", True),
        ("90 30 01 00", True),  # T and K share a byte
        ("90 30 00 01", False),
        ("90 f0 81 01 01 01 00", True),
        ("90 f0 80 00 00 00 01", False),
        ("90 0f 00", True),  # reserved bits of the extension
    ],
)
def test_vp8_descriptor_is_read_as_rfc_7741_says(payload, expected):
    assert found(bytes.fromhex(payload), codecs.VP8) == expected


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        ("67", True),
        ("65 88", True),
        ("65 40", False),  # first_mb_in_slice is not 0
        ("65", False),
        ("68", False),
        ("41 9a", False),
        ("78", False),
        ("78 00 01 67", True),
        ("78 00 02 65 80", True),
        ("78 00 01 09 00 01 67", True),
        ("78 00 00 00 01 67", True),  # an empty unit
        ("78 00 01 68 00 02 65 80", True),
        ("78 00 01 68 00 02 65 00", False),
        ("78 00 01 68 00 02 41 9a", False),
        ("78 00 02 67", False),  # cut
        ("78 00", False),
        ("78 00 01 68 00 03 65 80", False),
        ("7c", False),
        ("7c 87", True),
        ("7c 85", False),
        ("7c 85 80", True),
        ("7c 85 00", False),
        ("7c 05 80", False),  # a later fragment
        ("7c 45 80", False),
        ("7c 81 80", False),
    ],
)
def test_h264_units_are_read_as_rfc_6184_says(payload, expected):
    for codec in H264:
        assert found(bytes.fromhex(payload), codec) == expected


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        ("08 82", True),
        ("09 82", True),  # Z: no matter
        ("08", False),
        ("48 82", False),  # predicted
        ("00 82", False),  # not the beginning
        ("88", False),
        ("88 05", False),
        ("88 05 82", True),
        ("88 85 05 82", True),
        ("88 85 05", False),
        ("28 00 00 82", True),
        ("28 f1 00 82", True),  # spatial layer 0 of any temporal layer
        ("28 02 00 82", False),  # spatial layer 1
        ("28", False),
        ("a8 85 05 00 00 82", True),
        ("a8 85 05 0e 00 82", False),
    ],
)
def test_vp9_descriptor_is_read_as_rfc_9628_says(payload, expected):
    assert found(bytes.fromhex(payload), codecs.VP9_PROFILE_0) == expected


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        ("18 08", True),  # N
        ("08 01 30", True),
        ("08", False),
        ("88 08", False),  # continues something
        ("10 08", True),
        ("10 0a", True),  # with a size field
        ("10 30", False),  # a frame
        ("20 02 08 00 30", True),
        ("00 02 08 00", True),
        ("00 81 01 08", True),  # a length of two bytes
        ("00 ff", False),
        ("20 08", False),  # no more than a length
        ("90 08", False),
    ],
)
def test_av1_aggregation_is_read_as_its_specification_says(payload, expected):
    assert found(bytes.fromhex(payload), codecs.AV1) == expected


# Any bytes.


def vp8_twin(payload: bytes) -> bool:
    try:
        descriptor, frame = VpxPayloadDescriptor.parse(payload)
    except ValueError:
        return False
    return bool(descriptor.partition_start and not descriptor.partition_id & 7 and frame and not frame[0] & 1)


def h264_twin(payload: bytes) -> bool:
    def begins(unit: bytes) -> bool:
        kind = unit[0] & 31
        return kind == 7 or (kind == 5 and len(unit) > 1 and unit[1] >= 0x80)

    if not payload:
        return False
    if payload[0] & 31 == 28:
        return len(payload) > 1 and payload[1] >= 0x80 and begins(bytes([payload[1] & 31]) + payload[2:])
    if payload[0] & 31 != 24:
        return begins(payload)
    rest = payload[1:]
    while len(rest) > 2:
        size = int.from_bytes(rest[:2], "big")
        unit, rest = rest[2 : 2 + size], rest[2 + size :]
        if len(unit) < size:
            return False
        if unit and begins(unit):
            return True
    return False


def vp9_twin(payload: bytes) -> bool:
    if not payload or payload[0] & 0x40 or not payload[0] & 0x08:
        return False
    first, rest = payload[0], payload[1:]
    if first & 0x80:
        rest = rest[2:] if rest and rest[0] & 0x80 else rest[1:]
    if not rest:
        return False
    return not first & 0x20 or (rest[0] >> 1) & 7 == 0


def av1_twin(payload: bytes) -> bool:
    if len(payload) < 2 or payload[0] & 0x80:
        return False
    if payload[0] & 0x08:
        return True
    rest = payload[1:]
    if payload[0] >> 4 & 3 != 1:
        while rest and rest[0] & 0x80:
            rest = rest[1:]
        rest = rest[1:]
    return bool(rest) and rest[0] >> 3 & 15 == 1


TWINS = {
    codecs.VP8: (vp8_twin, b"\x10\x90\x80\x00\x01\xf0"),
    codecs.H264_MAIN: (h264_twin, b"\x65\x67\x78\x7c\x85\x87\x00\x01\x02\x80"),
    codecs.VP9_PROFILE_0: (vp9_twin, b"\x08\x88\xa8\x28\x80\x00\x02"),
    codecs.AV1: (av1_twin, b"\x08\x0a\x10\x00\x20\x80\x01\x02"),
}


@pytest.mark.parametrize("codec", list(TWINS))
@settings(deadline=None, max_examples=300)
@given(data=st.data())
def test_is_keyframe_agrees_with_its_twin_on_any_bytes(codec, data):
    twin, likely = TWINS[codec]
    byte = st.one_of(st.sampled_from(likely), st.integers(0, 255))
    payload = bytes(data.draw(st.lists(byte, max_size=14)))
    assert found(payload, codec) == twin(payload)


@pytest.mark.parametrize("codec", [codecs.NO_CODEC, codecs.OPUS, codecs.RTX, 255])
def test_is_keyframe_says_no_of_what_is_no_video(codec):
    assert not any(found(payload, codec) for payload in chunks_of(bytes(range(256)), 16))
