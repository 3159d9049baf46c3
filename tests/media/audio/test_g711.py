"""G.711: every code and every 16-bit value, against the reference code bit by bit and against the steps."""

import g711_twin
import numpy as np
import pytest
from both_ways import both
from hypothesis import given, settings
from sound_strategies import frames, plain

from media.audio.g711 import A_LAW, MU_LAW, SILENCE, decode_g711, encode_g711

COMPRESS = {MU_LAW: g711_twin.mu_law_compress, A_LAW: g711_twin.a_law_compress}
EXPAND = {MU_LAW: g711_twin.mu_law_expand, A_LAW: g711_twin.a_law_expand}
ALL_CODES = np.arange(256).astype(np.uint8)
laws = pytest.mark.parametrize("law", [MU_LAW, A_LAW])


def decode(codes, law, function=decode_g711):
    samples = np.zeros(len(codes), np.float32)
    assert function(np.array(codes, np.uint8), law, samples) == len(codes)
    return samples


def encode(samples, law, function=encode_g711):
    payload = np.zeros(len(samples), np.uint8)
    assert function(np.array(samples, np.float32), law, payload) == len(samples)
    return payload


@laws
@pytest.mark.parametrize("function", both(decode_g711))
def test_every_code_is_the_value_of_the_reference(function, law):
    assert (decode(ALL_CODES, law, function) * 32768).tolist() == [EXPAND[law](code) for code in range(256)]


@laws
def test_every_value_is_the_code_of_the_reference_and_at_most_half_a_step_off(law):
    values = np.arange(-32768, 32768)
    codes = encode(values / 32768, law)
    assert codes.tolist() == [COMPRESS[law](value) for value in values.tolist()]
    errors = np.abs(decode(codes, law) * 32768 - values)
    levels = np.unique(decode(ALL_CODES, law) * 32768)
    place = np.searchsorted(levels, decode(codes, law) * 32768)
    gaps = np.concatenate([[1024], np.diff(levels), [1024]])
    overload = np.abs(values) > levels[-1]
    assert (errors <= np.maximum(gaps[place], gaps[place + 1]) / 2)[~overload].all()
    assert (np.diff(decode(codes, law)) >= 0).all()


@laws
@pytest.mark.parametrize("function", both(encode_g711))
def test_decoded_codes_encode_to_themselves(function, law):
    back = encode(decode(ALL_CODES, law), law, function)
    other = [code for code in range(256) if back[code] != code]
    assert other == ([0x7F] if law == MU_LAW else [])  # mu-law has two zeros
    assert back[0x7F] == (0xFF if law == MU_LAW else 0x7F)


@pytest.mark.parametrize("function", both(encode_g711))
def test_ends_of_the_scale_are_those_of_the_recommendation(function):
    """G.711 tables 1a to 2b, in 16 bits: 8031 / 8192 in mu-law, 4032 / 4096 in A-law."""
    assert encode([1, -1, 0], MU_LAW, function).tolist() == [0x80, 0x00, 0xFF]
    assert encode([1, -1, 0], A_LAW, function).tolist() == [0xAA, 0x2A, 0xD5]
    assert (decode([0x80, 0x00], MU_LAW) * 8192).tolist() == [8031, -8031]
    assert (decode([0xAA, 0x2A], A_LAW) * 4096).tolist() == [4032, -4032]
    for law in (MU_LAW, A_LAW):
        assert encode([0, np.nan], law, function).tolist() == [SILENCE[law]] * 2


@laws
@pytest.mark.parametrize("function", both(encode_g711))
@settings(deadline=None)
@given(samples=frames())
def test_any_samples_are_encoded_as_near_as_can_be(function, law, samples):
    values = np.clip(np.rint(plain(samples) * 32768), -32768, 32767).astype(int)
    assert encode(samples, law, function).tolist() == [COMPRESS[law](value) for value in values.tolist()]


@pytest.mark.parametrize("function", both(decode_g711))
def test_no_more_is_decoded_than_there_is_room_for(function):
    samples = np.zeros(3, np.float32)
    assert function(np.zeros(5, np.uint8), MU_LAW, samples) == 3
    assert function(np.zeros(2, np.uint8), 77, samples) == 2


@pytest.mark.parametrize("function", both(encode_g711))
def test_no_more_is_encoded_than_there_is_room_for(function):
    payload = np.zeros(3, np.uint8)
    assert function(np.zeros(5, np.float32), A_LAW, payload) == 3
    assert function(np.zeros(2, np.float32), MU_LAW, payload) == 2
    assert payload.tolist() == [0xFF, 0xFF, 0xD5]
