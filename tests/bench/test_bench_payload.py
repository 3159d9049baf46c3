"""The packets that publishers send, as the relay's own parsers see them."""

import numpy as np
import pytest

from bench.payload import MAX_PACKET_BYTES, PayloadKind, frame_ticks, make_template


@pytest.mark.parametrize("kind", PayloadKind)
@pytest.mark.parametrize("size", [47, 120, MAX_PACKET_BYTES])
def test_templates_are_rtp_of_the_size_asked_for(kind, size):
    packet = make_template(kind, 0x01020304, 96, size).tobytes()
    assert len(packet) == size
    assert packet[0] == 0x80
    assert packet[1] & 0x7F == 96
    assert packet[8:12] == b"\x01\x02\x03\x04"


def test_templates_of_two_streams_differ_after_the_probe():
    templates = [make_template(PayloadKind.AUDIO, ssrc, 111, 120) for ssrc in (1, 2)]
    assert np.any(templates[0][36:] != templates[1][36:])


def test_video_is_a_vp8_key_frame():
    packet = make_template(PayloadKind.VIDEO, 1, 96, 1200)
    assert packet[1] & 0x80  # marker: a whole frame
    assert packet[12] == 0x10  # RFC 7741: start of partition 0
    assert packet[13] & 0x01 == 0  # RFC 6386 section 9.1: key frame
    assert packet[16:19].tobytes() == b"\x9d\x01\x2a"


@pytest.mark.parametrize(
    ("kind", "rate", "ticks"),
    [(PayloadKind.AUDIO, 50, 960), (PayloadKind.VIDEO, 30, 3000), (PayloadKind.AUDIO, 1e6, 1)],
)
def test_timestamps_follow_the_rate(kind, rate, ticks):
    assert frame_ticks(kind, rate) == ticks
