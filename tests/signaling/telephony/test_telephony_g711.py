"""G.711 against the tables of the recommendation, worked out step by step."""

import numpy as np
import pytest

from signaling.telephony.g711 import decode_alaw, decode_mulaw, encode_alaw, encode_mulaw

ALL_BYTES = bytes(range(256))
ALL_SAMPLES = np.arange(-32768, 32768).astype(np.int16)


def slow_mulaw(code: int) -> int:
    """G.711 table 2a: the bits are inverted; a magnitude is (33 + 2 * step) << segment, minus 33, in 14 bits."""
    code ^= 0xFF
    magnitude = ((33 + 2 * (code & 15)) << (code >> 4 & 7)) - 33
    return 4 * (-magnitude if code & 0x80 else magnitude)


def slow_alaw(code: int) -> int:
    """G.711 table 1a: every second bit is inverted; the first two segments have steps of 2, in 13 bits."""
    code ^= 0x55
    segment, step = code >> 4 & 7, code & 15
    magnitude = 2 * step + 1 if segment == 0 else (33 + 2 * step) << (segment - 1)
    return 8 * (magnitude if code & 0x80 else -magnitude)


@pytest.mark.parametrize(("decode", "slow"), [(decode_mulaw, slow_mulaw), (decode_alaw, slow_alaw)])
def test_every_byte_is_the_sample_of_the_recommendation(decode, slow) -> None:
    assert decode(ALL_BYTES).tolist() == [slow(code) for code in range(256)]
    assert decode(ALL_BYTES).dtype == np.int16
    assert decode(b"").size == 0


@pytest.mark.parametrize(("encode", "decode"), [(encode_mulaw, decode_mulaw), (encode_alaw, decode_alaw)])
def test_every_sample_becomes_the_nearest_value_there_is(encode, decode) -> None:
    values = decode(ALL_BYTES).astype(np.int64)
    least = np.abs(ALL_SAMPLES.astype(np.int64)[:, None] - np.unique(values)[None, :]).min(axis=1)
    got = decode(encode(ALL_SAMPLES)).astype(np.int64)
    assert np.array_equal(np.abs(got - ALL_SAMPLES), least)
    assert np.array_equal(decode(encode(decode(ALL_BYTES))), decode(ALL_BYTES))


def test_known_bytes() -> None:
    # Twilio's silence is 0xFF; the loudest are 0x80 and 0x00.
    assert encode_mulaw(np.zeros(3, np.int16)) == b"\xff\xff\xff"
    assert decode_mulaw(b"\x80\x00\x7f").tolist() == [32124, -32124, 0]
    assert encode_alaw(np.zeros(1, np.int16)) in {b"\xd5", b"\x55"}
    assert decode_alaw(b"\xd5\x55\xaa\x2a").tolist() == [8, -8, 32256, -32256]
