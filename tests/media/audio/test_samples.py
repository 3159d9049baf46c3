"""Samples as integers, and what becomes of those that are none."""

import numpy as np
import pytest
from both_ways import both
from hypothesis import given, settings
from sound_strategies import frames, plain

from media.audio.samples import read_int16, sane, write_int16


@pytest.mark.parametrize("function", both(sane))
def test_sane_keeps_sound_and_silences_what_is_none(function):
    for value in (0.0, -0.0, 1.0, -1.0, 0.1, 63.5, -64.0):
        assert function(np.float32(value)) == np.float32(value)
    assert function(np.float32(3e38)) == 64
    assert function(np.float32(-65)) == -64
    for value in (np.nan, np.inf, -np.inf):
        assert function(np.float32(value)) == 0


@pytest.mark.parametrize("function", both(write_int16))
@settings(deadline=None)
@given(samples=frames())
def test_integers_are_the_nearest_or_the_limit(function, samples):
    output = np.zeros(samples.size, np.int16)
    assert function(samples, output) == samples.size
    expected = [
        min(max(round(float(value) * 32768), -32768), 32767) for value in plain(samples)
    ]  # round() too takes the even one of two
    assert output.tolist() == expected


def test_every_integer_comes_back():
    integers = np.arange(-32768, 32768).astype(np.int16)
    samples, back = np.zeros(65536, np.float32), np.zeros(65536, np.int16)
    assert read_int16(integers, samples) == write_int16(samples, back) == 65536
    assert (back == integers).all()
    assert samples[0] == -1
    assert samples[32768] == 0
    assert samples[-1] == np.float32(32767 / 32768)


@pytest.mark.parametrize("read", both(read_int16))
@pytest.mark.parametrize("write", both(write_int16))
def test_no_more_is_converted_than_there_is_room_for(read, write):
    samples = np.full(5, 0.5, np.float32)
    integers = np.zeros(3, np.int16)
    assert write(samples, integers) == 3
    assert integers.tolist() == [16384] * 3
    assert read(integers, samples[1:3]) == 2
    assert write(samples[:2], integers) == 2
