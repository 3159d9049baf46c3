"""Samples on their way: resampled by a band-limited filter, whatever pieces they come in."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voicebot.audio.pcm import RATES, pieces_of, relay_pieces_of, relay_rate
from voicebot.audio.resampler import Resampler


def sine(frequency_hz: float, rate: int, seconds: float = 1.0) -> np.ndarray:
    return (10_000 * np.sin(2 * np.pi * frequency_hz * np.arange(round(rate * seconds)) / rate)).astype(
        np.int16
    )


def resample(samples: np.ndarray, rate: int, to_rate: int, *cuts: int) -> np.ndarray:
    resampler = Resampler(rate, to_rate)
    parts = [resampler.resample(part) for part in np.split(samples, sorted(cuts))]
    return np.concatenate([*parts, resampler.flush()])


@pytest.mark.parametrize(
    ("rate", "to_rate"),
    [
        (22050, 24000),
        (44100, 48000),
        (11025, 16000),
        (16000, 48000),
        (48000, 16000),
        (96000, 48000),
        (7919, 8000),
    ],
)
def test_resampler_keeps_tones_and_length(rate: int, to_rate: int) -> None:
    for frequency in (100, 440, 0.4 * min(rate, to_rate)):
        samples = resample(sine(frequency, rate), rate, to_rate)
        assert len(samples) == to_rate
        expected = 10_000 * np.sin(2 * np.pi * frequency * np.arange(to_rate) / to_rate)
        assert np.abs(samples - expected)[200:-200].max() < 30


def test_resampler_lets_nothing_through_that_the_lower_rate_cannot_hold() -> None:
    samples = resample(sine(10_000, 48000), 48000, 16000)
    assert np.abs(samples.astype(int))[200:-200].max() < 10


@settings(deadline=None)
@given(
    cuts=st.lists(st.integers(0, 2000), max_size=6),
    rates=st.sampled_from([(22050, 24000), (48000, 16000), (4000, 8000), (44101, 48000)]),
    length=st.integers(0, 2000),
)
def test_resampler_gives_the_same_for_any_pieces(
    cuts: list[int], rates: tuple[int, int], length: int
) -> None:
    samples = np.random.default_rng(length).integers(-32768, 32768, length).astype(np.int16)
    cuts = [min(cut, length) for cut in cuts]
    whole = resample(samples, *rates)
    assert np.array_equal(resample(samples, *rates, *cuts), whole)
    assert len(whole) == -(-length * rates[1] // rates[0])


@pytest.mark.parametrize(
    ("rate", "expected"), [(4000, 8000), (8000, 8000), (22050, 24000), (44100, 48000), (192_000, 48000)]
)
def test_relay_is_given_the_next_higher_rate_it_speaks(rate: int, expected: int) -> None:
    assert relay_rate(rate) == expected
    assert expected in RATES


async def test_pieces_end_with_their_iterable_closed() -> None:
    closed = []

    async def endless():
        try:
            while True:
                yield bytes(1000)
        finally:
            closed.append(True)

    for pieces in (pieces_of(endless(), 8000), relay_pieces_of(endless(), 22050)):
        assert len(await anext(pieces)) % 2 == 0
        await pieces.aclose()
    assert closed == [True, True]


async def test_pieces_of_before_a_fault_are_yielded() -> None:
    def failing():
        yield bytes(11)
        raise KeyError("gone")

    pieces = pieces_of(failing(), 8000)
    assert await anext(pieces) == bytes(10)
    with pytest.raises(KeyError):
        await anext(pieces)
