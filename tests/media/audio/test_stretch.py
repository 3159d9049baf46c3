"""Splices in sound: against a slow twin that is told the place, and by what is heard of them."""

import numpy as np
import pytest
from both_ways import both
from hypothesis import given, settings
from hypothesis import strategies as st
from opus_streams import FRAME, tone, voice

from media.audio.stretch import LONGEST_SPLICE, OVERLAP, PLACE, SHORTEST_SPLICE, lengthen, shorten

COUNT = FRAME + LONGEST_SPLICE
ROOM = COUNT + LONGEST_SPLICE
ANYTHING = -1.0
"""A similarity that all sound has."""


def spliced(samples, lag):
    """The slow twin: all that was before the splice fades into all that comes behind it. A negative lag repeats."""
    before = samples[: PLACE + OVERLAP].astype(np.float64)
    behind = samples[PLACE + lag :].astype(np.float64)
    weight = (np.arange(OVERLAP) + 0.5) / OVERLAP
    fade = (1 - weight) * before[PLACE:] + weight * behind[:OVERLAP]
    return np.concatenate([before[:PLACE], fade, behind[OVERLAP:]])


def correlation(samples, lag):
    one = samples[PLACE : PLACE + OVERLAP].astype(np.float64)
    other = samples[PLACE + lag : PLACE + lag + OVERLAP].astype(np.float64)
    return float(one @ other / np.sqrt((one @ one) * (other @ other) + 1e-12))


def splice(function, samples, longest=LONGEST_SPLICE, similarity=0.9):
    """What is left of `samples`, and the signed lag."""
    room = np.full(ROOM, 9.0, np.float32)
    room[: samples.size] = samples
    lag = function(room, samples.size, longest, similarity)
    if function.__name__ == "lengthen":
        lag = -lag
    assert (room[max(samples.size, samples.size - lag) :] == 9.0).all()
    return room[: samples.size - lag], lag


sounds = st.one_of(
    st.builds(lambda seed: voice(COUNT, seed), st.integers(0, 1000)),
    st.builds(lambda frequency: tone(COUNT, frequency), st.floats(50, 8000)),
    st.builds(
        lambda seed: np.random.default_rng(seed).standard_normal(COUNT).astype(np.float32),
        st.integers(0, 1000),
    ),
)


@pytest.mark.parametrize("function", [*both(shorten), *both(lengthen)])
@settings(deadline=None, max_examples=25)
@given(sound=sounds, longest=st.integers(0, 600), similarity=st.floats(-1, 1))
def test_a_splice_is_what_the_twin_makes_of_its_place(function, sound, longest, similarity):
    heard, lag = splice(function, sound, longest, similarity)
    if lag == 0:
        assert np.array_equal(heard, sound)
        return
    assert SHORTEST_SPLICE <= abs(lag) <= min(longest, LONGEST_SPLICE)
    assert correlation(sound, lag) >= similarity - 1e-3
    np.testing.assert_allclose(heard, spliced(sound, lag), atol=1e-6)


@pytest.mark.parametrize("function", [shorten, lengthen])
@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 10_000))
def test_no_place_is_much_more_alike_than_the_one_chosen(function, seed):
    sound = voice(COUNT, seed)
    _heard, lag = splice(function, sound, similarity=ANYTHING)
    sign = 1 if lag > 0 else -1
    best = max(correlation(sound, sign * other) for other in range(SHORTEST_SPLICE, LONGEST_SPLICE + 1))
    assert correlation(sound, lag) > best - 0.05


@pytest.mark.parametrize("function", [shorten, lengthen])
@pytest.mark.parametrize("frequency", [130.0, 440.0, 1000.0, 3333.0])
def test_a_tone_goes_on_as_if_nothing_had_been_done(function, frequency):
    heard, lag = splice(function, tone(COUNT, frequency))
    assert lag != 0
    period = 48_000 / frequency
    assert abs(abs(lag) / period - round(abs(lag) / period)) * period <= 1.0  # whole periods, to a sample
    step = 2 * np.pi * frequency / 48_000
    assert np.abs(np.diff(heard)).max() <= 0.5 * step * 1.1


@pytest.mark.parametrize("function", [shorten, lengthen])
def test_noise_is_left_alone(function):
    noise = np.random.default_rng(1).standard_normal(COUNT).astype(np.float32)
    assert splice(function, noise)[1] == 0


@pytest.mark.parametrize("function", [shorten, lengthen])
def test_in_silence_as_much_is_spliced_as_is_wanted(function):
    noise = 1e-4 * np.random.default_rng(1).standard_normal(COUNT).astype(np.float32)
    assert abs(splice(function, noise, longest=313)[1]) == 313


@pytest.mark.parametrize("function", [*both(shorten), *both(lengthen)])
@pytest.mark.parametrize("count", [0, SHORTEST_SPLICE, PLACE + OVERLAP - 1])
def test_too_little_sound_is_left_alone(function, count):
    assert splice(function, tone(count), similarity=ANYTHING)[1] == 0


def test_nothing_is_repeated_for_which_there_is_no_room():
    sound = tone(COUNT)
    assert lengthen(sound, sound.size, LONGEST_SPLICE, ANYTHING) == 0
    assert np.array_equal(sound, tone(COUNT))
