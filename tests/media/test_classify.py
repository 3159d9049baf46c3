"""Telling datagrams apart by their first bytes."""

import struct

import numpy as np
import pytest
from both_ways import both
from hypothesis import given, settings
from hypothesis import strategies as st

from media.classify import DTLS, OTHER, RTP_OR_RTCP, STUN, classify, is_plausible_stun, is_rtcp
from relay.stun import MessageType, encode_stun

RANGES = {STUN: range(4), DTLS: range(20, 64), RTP_OR_RTCP: range(128, 192)}  # RFC 7983 section 7


@pytest.mark.parametrize("function", both(classify))
def test_classify_follows_rfc_7983_for_every_first_byte(function):
    for first in range(256):
        expected = next((kind for kind, values in RANGES.items() if first in values), OTHER)
        assert function(np.uint8(first)) == expected, first


@pytest.mark.parametrize("function", both(is_rtcp))
def test_is_rtcp_follows_rfc_5761_for_every_second_byte(function):
    assert [second for second in range(256) if function(np.uint8(second))] == list(range(192, 224))


def plausible(data: bytes) -> bool:
    results = {
        bool(function(np.frombuffer(data, np.uint8), len(data))) for function in both(is_plausible_stun)
    }
    assert len(results) == 1
    return results.pop()


def twin(data: bytes) -> bool:
    if len(data) < 20:
        return False
    kind, length, cookie = struct.unpack_from("!HHL", data)
    return kind < 0x4000 and length == len(data) - 20 and length % 4 == 0 and cookie == 0x2112A442


SAMPLE = struct.pack("!HHL", 1, 8, 0x2112A442) + bytes(12) + bytes(8)


def test_is_plausible_stun_takes_what_the_relay_itself_writes():
    message = encode_stun(MessageType.BINDING_REQUEST, bytes(12), [])
    assert plausible(message)


@pytest.mark.parametrize(
    "data", [SAMPLE[:-1], SAMPLE[:-4], SAMPLE + bytes(4), SAMPLE[:19], b"", b"\x40" + SAMPLE[1:]]
)
def test_is_plausible_stun_refuses_when_the_length_or_the_type_is_wrong(data):
    assert plausible(SAMPLE)
    assert not plausible(data)


@settings(deadline=None)
@given(
    st.one_of(st.binary(max_size=40), st.binary(max_size=24).map(lambda tail: SAMPLE[:8] + tail)),
    st.booleans(),
)
def test_is_plausible_stun_agrees_with_its_twin_on_any_bytes(data, honest):
    if honest and len(data) >= 20:
        data = data[:2] + struct.pack("!H", len(data) - 20) + data[4:]
    assert plausible(data) == twin(data)
