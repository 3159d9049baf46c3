"""Resampling as the textbook has it: stuff with zeros, filter everything, throw most of it away."""

import math

import numpy as np
from sound_strategies import plain


def resample(samples, rate_in, rate_out):
    if rate_in == rate_out:
        return plain(samples)
    common = math.gcd(rate_in, rate_out)
    up, down = rate_out // common, rate_in // common
    taps = math.ceil(64 * max(1, down / up) / 8) * 8
    length = taps * up
    times = np.arange(length) - (length - 1) / 2
    window = np.i0(6.2 * np.sqrt(np.maximum(0, 1 - (2 * times / (length - 1)) ** 2))) / np.i0(6.2)
    impulse = np.sinc(0.96 * min(rate_in, rate_out) / (rate_in * up) * times) * window
    for phase in range(up):
        impulse[phase::up] /= impulse[phase::up].sum()
    stuffed = np.zeros(len(samples) * up)
    stuffed[::up] = plain(samples)
    return np.convolve(stuffed, impulse)[: stuffed.size : down]
