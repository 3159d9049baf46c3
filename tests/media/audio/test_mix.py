"""Sums, everyone's mix without themselves, and the limiter."""

import numpy as np
import pytest
from both_ways import both
from hypothesis import given, settings
from hypothesis import strategies as st
from mix_twin import limit, ramp
from sound_strategies import frames, noise, odd_values, plain, records, tone

from media.audio.mix import (
    CEILING,
    LIMITER,
    LOOK_AHEAD_SAMPLES,
    add_with_gain,
    limit_frame,
    mix_minus,
    new_limiters,
)

gains = st.one_of(st.floats(0, 4, width=32), odd_values)


@pytest.mark.parametrize("function", both(add_with_gain))
@settings(deadline=None)
@given(samples=frames(), gain_from=gains, gain_to=gains)
def test_a_sum_grows_by_the_samples_times_a_ramp(function, samples, gain_from, gain_to):
    total = noise(samples.size, seed=1)
    expected = total + plain(samples) * ramp(float(plain(gain_from)), float(plain(gain_to)), samples.size)
    function(samples, gain_from, gain_to, total)
    assert np.isfinite(total).all()
    largest = np.abs(plain([gain_from, gain_to])).max() * np.abs(plain(samples)).max(initial=0)
    np.testing.assert_allclose(total, expected, rtol=1e-6, atol=1e-6 * (1 + largest))


@pytest.mark.parametrize("function", both(add_with_gain))
def test_a_steady_gain_is_exact_and_a_ramp_ends_where_the_next_begins(function):
    samples = noise(960)
    total = np.zeros(960, np.float32)
    function(samples, 1.0, 1.0, total)
    assert (total == samples).all()
    ones = np.ones(960, np.float32)
    swell = np.zeros(1920, np.float32)
    function(ones, 0.0, 1.0, swell[:960])
    function(ones, 1.0, 0.5, swell[960:])
    assert swell[959] == pytest.approx(1)
    assert np.abs(np.diff(swell, prepend=0)).max() < 1.1 / 960


@pytest.mark.parametrize("add", both(add_with_gain))
@pytest.mark.parametrize("subtract", both(mix_minus))
@settings(deadline=None)
@given(own=frames(), gain_from=gains, gain_to=gains)
def test_who_speaks_alone_hears_exact_silence(add, subtract, own, gain_from, gain_to):
    total, output = np.zeros(own.size, np.float32), np.full(own.size, 7, np.float32)
    add(own, gain_from, gain_to, total)
    subtract(total, own, gain_from, gain_to, output)
    assert (output == 0).all()


@pytest.mark.parametrize("add", both(add_with_gain))
@pytest.mark.parametrize("subtract", both(mix_minus))
def test_each_of_five_hears_the_other_four(add, subtract):
    voices = [tone(300 + 170 * index, amplitude=0.3) for index in range(5)]
    total = np.zeros(960, np.float32)
    for index, voice in enumerate(voices):
        add(voice, index / 5, 1.0, total)
    for index, voice in enumerate(voices):
        others = np.zeros(960, np.float32)
        for other, heard in enumerate(voices):
            if other != index:
                add(heard, other / 5, 1.0, others)
        output = np.zeros(960, np.float32)
        subtract(total, voice, index / 5, 1.0, output)
        np.testing.assert_allclose(output, others, atol=1e-6)
    apart = np.zeros(960, np.float32)
    subtract(total, voices[0], 0.0, 1.0, apart)
    subtract(total, voices[0], 0.0, 1.0, total)
    assert (total == apart).all()


@pytest.mark.parametrize("function", both(mix_minus))
def test_arrays_of_different_lengths_are_used_as_far_as_all_go(function):
    output = np.full(4, 9, np.float32)
    function(np.ones(3, np.float32), np.ones(2, np.float32), 1.0, 1.0, output)
    assert output.tolist() == [0, 0, 9, 9]


# The limiter.


def run_limiter(function, samples, sizes=(960,)):
    """Limit a stream in frames of these sizes, in turn. Returns: what came out, and the sum of the counts."""
    limiters = records(function, new_limiters(3))
    output, above, start, turn = np.full(samples.size, 9, np.float32), 0, 0, 0
    while start < samples.size:
        end = min(samples.size, start + sizes[turn % len(sizes)])
        above += function(samples[start:end], limiters, 1, output[start:end])
        start, turn = end, turn + 1
    assert (limiters[[0, 2]] == new_limiters(2)).all()
    return output, above


@pytest.mark.parametrize("function", both(limit_frame))
def test_below_the_ceiling_the_limiter_only_delays(function):
    samples = noise(4800, amplitude=0.2)
    assert np.abs(samples).max() < CEILING
    output, above = run_limiter(function, samples, (960, 1, 239, 480))
    assert above == 0
    assert (output[:LOOK_AHEAD_SAMPLES] == 0).all()
    assert (output[LOOK_AHEAD_SAMPLES:] == samples[:-LOOK_AHEAD_SAMPLES]).all()


@pytest.mark.parametrize("function", both(limit_frame))
def test_the_limiter_agrees_with_its_twin_over_peaks_and_silences(function):
    samples = np.concatenate(
        [noise(1500, amplitude=0.3, seed=2), tone(440, 700, amplitude=3), noise(1900, amplitude=0.5, seed=3)]
    )
    samples[3000] = 30
    samples[100] = np.nan
    output, above = run_limiter(function, samples, (960, 100, 7))
    expected, gain = limit(samples)
    np.testing.assert_allclose(
        output, expected, atol=3e-5
    )  # the gain is rounded to 1 at the end of a release
    assert above == (np.abs(plain(samples)) > CEILING).sum()
    assert gain.min() < 0.05
    assert np.abs(np.diff(gain)).max() <= 1 / LOOK_AHEAD_SAMPLES


@settings(deadline=None)
@given(frames(0, 700), st.lists(st.integers(1, 300), min_size=1, max_size=4))
def test_nothing_that_leaves_the_limiter_is_above_the_ceiling(samples, sizes):
    samples = np.concatenate([samples, np.zeros(LOOK_AHEAD_SAMPLES, np.float32)])
    output, above = run_limiter(limit_frame, samples, sizes)
    assert np.abs(output).max() <= CEILING
    assert above == (np.abs(plain(samples)) > CEILING).sum()
    assert (np.abs(output[LOOK_AHEAD_SAMPLES:]) <= np.abs(plain(samples[:-LOOK_AHEAD_SAMPLES]))).all()


def test_the_limiter_lets_go_and_is_then_exact_again():
    loud, quiet = np.full(960, 4, np.float32), noise(960, amplitude=0.05)
    limiters, output = new_limiters(1), np.zeros(960, np.float32)
    assert limit_frame(loud, limiters, 0, output) == 960
    levels = []
    for _ in range(60):
        assert limit_frame(quiet, limiters, 0, output) == 0
        levels.append(output[LOOK_AHEAD_SAMPLES:].std() / quiet[:-LOOK_AHEAD_SAMPLES].std())
    assert levels[0] < 0.5
    assert 0.6 < levels[5] < 0.8  # 120 ms later: 1 - 0.75 / e is 0.72
    assert levels == sorted(levels)
    assert limiters["active"][0] == 0
    assert (output[LOOK_AHEAD_SAMPLES:] == quiet[:-LOOK_AHEAD_SAMPLES]).all()


def test_a_copied_record_goes_on_as_the_first_would():
    limiters, output = new_limiters(2), np.zeros((2, 960), np.float32)
    for seed in range(4):
        limit_frame(noise(960, amplitude=1, seed=seed), limiters, 0, output[0])
    limiters[1] = np.frombuffer(limiters[0].tobytes(), LIMITER)[0]
    for seed in range(4, 8):
        for row in range(2):
            limit_frame(noise(960, amplitude=1, seed=seed), limiters, row, output[row])
        assert (output[0] == output[1]).all()


def test_a_frame_may_be_limited_in_place():
    samples = noise(960, amplitude=2)
    apart = np.zeros(960, np.float32)
    limit_frame(samples, new_limiters(1), 0, apart)
    limit_frame(samples, new_limiters(1), 0, samples)
    assert (samples == apart).all()
