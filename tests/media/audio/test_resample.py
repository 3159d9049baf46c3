"""Resampling against a textbook twin, against soxr, and against what ears would notice: seams, images, aliases."""

import numpy as np
import pytest
import resample_twin
import soxr
from both_ways import both
from hypothesis import given, settings
from hypothesis import strategies as st
from sound_strategies import frames, noise, records, tone

from media.audio.resample import (
    count_resampled,
    delay_seconds,
    new_resamplers,
    resample,
    reset_resampler,
)
from media.audio.samples import RATES

PAIRS = [(one, other) for one in RATES for other in RATES if one != other]
rates = st.sampled_from(RATES)


def run(samples, rate_in, rate_out, sizes=None, function=resample):
    """Resample a stream in frames of these sizes in turn, of 20 ms without them."""
    resamplers = records(function, new_resamplers(3, rate_in, rate_out))
    pieces, start, turn = [], 0, 0
    sizes = sizes or [rate_in // 50]
    while start < samples.size:
        frame = samples[start : start + sizes[turn % len(sizes)]]
        output = np.full(count_resampled(frame.size, rate_in, rate_out) + 1, 9, np.float32)
        count = function(frame, resamplers, 1, output)
        assert (output[count:] == 9).all()
        pieces.append(output[:count])
        start, turn = start + frame.size, turn + 1
    assert (resamplers[[0, 2]] == new_resamplers(2, rate_in, rate_out)).all()
    return np.concatenate(pieces) if pieces else np.zeros(0, np.float32)


def decibels(ratio):
    return 20 * np.log10(max(ratio, 1e-12))


@settings(deadline=None)
@given(frames(1, 300), rates, rates, st.lists(st.integers(0, 90), min_size=1, max_size=4))
def test_any_stream_in_any_pieces_becomes_what_the_twin_makes_of_the_whole(samples, rate_in, rate_out, sizes):
    expected = resample_twin.resample(samples, rate_in, rate_out)
    output = run(samples, rate_in, rate_out, [*sizes, 1])
    assert output.size == expected.size
    np.testing.assert_allclose(output, expected, atol=2e-4)  # of up to 64


@pytest.mark.parametrize("pair", [(8000, 24000), (24000, 16000), (32000, 24000), (16000, 16000)])
def test_interpreted_agrees_with_the_twin_as_well(pair):
    samples = noise(60, seed=5)
    (_, function) = both(resample)
    output = run(samples, *pair, [7, 23], function)
    np.testing.assert_allclose(output, resample_twin.resample(samples, *pair), atol=1e-6)


@pytest.mark.parametrize("pair", PAIRS)
def test_20_ms_become_20_ms_and_seams_cannot_be_found(pair):
    samples = noise(pair[0] // 5, seed=6)
    resamplers, output = new_resamplers(1, *pair), np.zeros(pair[1] // 5, np.float32)
    for number in range(10):
        count = resample(samples.reshape(10, -1)[number], resamplers, 0, output.reshape(10, -1)[number])
        assert count == pair[1] // 50 == count_resampled(pair[0] // 50, *pair)
    assert (output == run(samples, *pair, [samples.size])).all()
    assert (output == run(samples, *pair, [1, 77, 1001])).all()


@pytest.mark.parametrize("pair", PAIRS)
def test_tones_keep_their_level_and_bring_no_others(pair):
    nyquist = min(pair) / 2
    for fraction in (0.02, 0.3, 0.7, 0.9):
        frequency = fraction * nyquist
        output = run(tone(frequency, pair[0] // 2, rate=pair[0]), *pair)[pair[1] // 10 :]
        times = np.arange(output.size) * 2 * np.pi * frequency / pair[1]
        basis = np.stack([np.sin(times), np.cos(times)])
        fit = np.linalg.lstsq(basis.T, output, rcond=None)[0]
        assert abs(decibels(np.hypot(*fit) / 0.5)) < 0.1
        assert decibels((output - fit @ basis).std() / output.std()) < -60


@pytest.mark.parametrize("pair", [pair for pair in PAIRS if pair[0] > pair[1]])
def test_tones_that_the_lower_rate_cannot_hold_are_gone(pair):
    for frequency in np.linspace(1.03 * pair[1] / 2, pair[0] / 2, 7)[:-1]:
        samples = tone(frequency, pair[0] // 2, rate=pair[0])
        output = run(samples, *pair)[pair[1] // 10 :]
        assert decibels(output.std() / samples.std()) < -60


@pytest.mark.parametrize("pair", PAIRS)
def test_what_comes_out_is_what_soxr_would_give_but_for_the_delay(pair):
    frequencies = np.random.default_rng(7).uniform(0.01, 0.88, 12) * min(pair) / 2

    def sound(delay):
        times = np.arange(pair[0] // 2) / pair[0] - delay
        return sum(0.05 * np.sin(2 * np.pi * one * times + one) for one in frequencies).astype(np.float32)

    ours = run(sound(0.0), *pair)
    theirs = soxr.resample(sound(delay_seconds(*pair)), *pair, quality="VHQ")
    assert abs(ours.size - theirs.size) <= 1
    middle = slice(ours.size // 4, ours.size * 3 // 4)
    error = ours[middle] - theirs[middle]
    assert decibels(error.std() / theirs[middle].std()) < -55  # ours may be 0.015 dB off


def test_a_constant_stays_one():
    for pair in PAIRS:
        output = run(np.full(pair[0] // 10, 0.5, np.float32), *pair)
        np.testing.assert_allclose(output[-pair[1] // 50 :], 0.5, atol=1e-6)


@pytest.mark.parametrize("function", both(resample))
def test_the_same_rate_is_a_copy_without_delay(function):
    assert delay_seconds(16000, 16000) == 0
    samples = np.float32([0.5, np.nan, np.inf, -70])
    resamplers, output = records(function, new_resamplers(1, 16000, 16000)), np.zeros(3, np.float32)
    assert function(samples, resamplers, 0, output) == 3
    assert output.tolist() == [0.5, 0, 0]


@pytest.mark.parametrize("function", both(resample))
def test_what_has_no_room_is_lost_and_the_rest_goes_on(function):
    resamplers = records(function, new_resamplers(2, 16000, 48000))
    samples, short, whole = noise(120), np.zeros(50, np.float32), np.zeros(180, np.float32)
    assert function(samples[:60], resamplers, 0, short) == 50
    assert function(samples[60:], resamplers, 0, whole) == 180
    expected = run(samples, 16000, 48000)
    np.testing.assert_allclose(short, expected[:50], atol=1e-6)
    np.testing.assert_allclose(whole, expected[180:], atol=1e-6)


@pytest.mark.parametrize("function", both(resample))
def test_a_row_that_was_never_set_up_gives_nothing(function):
    resamplers = records(function, np.zeros(1, new_resamplers(0, 8000, 8000).dtype))
    assert function(noise(10), resamplers, 0, np.zeros(10, np.float32)) == 0


@pytest.mark.parametrize("function", both(reset_resampler))
def test_after_a_reset_there_was_nothing_before(function):
    resamplers = new_resamplers(2, 48000, 32000)
    for row in range(2):
        resample(noise(100), resamplers, row, np.zeros(67, np.float32))
    function(records(function, resamplers), 1)
    assert resamplers[1].tobytes() == new_resamplers(1, 48000, 32000).tobytes()
    assert resamplers[0].tobytes() != resamplers[1].tobytes()


@pytest.mark.parametrize("pair", [(44100, 48000), (48000, 0), (16000, 11025)])
def test_other_rates_are_refused_by_name(pair):
    with pytest.raises(ValueError, match=r"cannot resample \d+ Hz: the rates are 8000, 16000, "):
        new_resamplers(1, *pair)
