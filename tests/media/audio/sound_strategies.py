"""Frames of samples as no sane source would send them, and records that interpreted kernels can take."""

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

odd_values = st.sampled_from(
    [0.0, -0.0, np.nan, np.inf, -np.inf, 3.4e38, -3.4e38, 1e-45, 1.0, -1.0, 65.0, 0.98855305]
)
samples = st.one_of(st.floats(-2, 2, width=32), st.floats(width=32), odd_values)


def frames(low=0, high=40):
    return npst.arrays(np.float32, st.integers(low, high), elements=samples)


def records(function, table):
    """`table` as `function` takes it: interpreted code needs np.record elements for attribute access."""
    return table if hasattr(function, "py_func") else table.view(np.recarray)


def plain(array):
    """What kernels make of samples from outside: NaN and infinities are silence, and there is a bound."""
    array = np.asarray(array, np.float32)
    return np.clip(np.where(np.isfinite(array), array, 0), -64, 64).astype(np.float32)


def tone(frequency, count=960, *, rate=48_000, amplitude=0.5, start=0):
    return (amplitude * np.sin(2 * np.pi * frequency / rate * np.arange(start, start + count))).astype(
        np.float32
    )


def noise(count, *, amplitude=0.1, seed=0):
    return (amplitude * np.random.default_rng(seed).standard_normal(count)).astype(np.float32)


def speech(seconds, *, rate=48_000, pitch=120, amplitude=0.3, seed=0):
    """Something like speech: four syllables a second, each a hiss and then a vowel of falling pitch."""
    generator = np.random.default_rng(seed)
    syllables = [_syllable(generator, rate, pitch) for _ in range(int(seconds * 4))]
    return (amplitude * np.concatenate(syllables)).astype(np.float32)


def _syllable(generator, rate, pitch):
    hiss = generator.standard_normal(rate // 20) * np.hanning(rate // 20) * 0.1
    count = rate * 3 // 20
    periods = np.cumsum(pitch * np.linspace(1.1, 0.9, count) / rate)
    pulses = np.diff(np.floor(periods), prepend=0)
    vowel = sum(
        np.convolve(pulses, _resonance(frequency * generator.uniform(0.8, 1.2), rate))[:count]
        for frequency in (600, 1400, 2600)
    )
    vowel *= np.minimum(1, np.minimum(np.arange(count), np.arange(count)[::-1]) / (rate / 100))
    pause = np.zeros(rate // 4 - count - hiss.size)
    return np.concatenate([hiss, vowel / np.abs(vowel).max(), pause])


def _resonance(frequency, rate):
    time = np.arange(rate // 50) / rate
    return np.exp(-2 * np.pi * 60 * time) * np.sin(2 * np.pi * frequency * time)
