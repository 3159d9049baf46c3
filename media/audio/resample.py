"""Sampling rates: from any of `RATES` to any other, frame after frame without a seam.

A polyphase FIR filter: the input is thought of as `up` times as dense, with zeros between, filtered, and every `down`-th value
kept; only what is kept is computed, from only the samples that are not zero. The filter is a sinc under a Kaiser window,
64 periods of the lower rate long: flat within 0.1 dB to 0.9 of the lower Nyquist frequency, and 60 dB down from 1.03 of it on.
Its delay is half its length, 32 periods of the lower rate: 2 ms at 16 kHz, 4 ms at 8 kHz.

The coefficients of all pairs of rates are one constant array, which numba compiles into the kernels; a stream's record has
only what is of the stream. Source: R. Crochiere and L. Rabiner, "Multirate Digital Signal Processing", 1983, chapter 3.
"""

import math
from typing import Any, Final

import numpy as np

from media.audio.samples import RATES, sane
from media.jit import dsp_kernel, helper, kernel

FILTER_PERIODS: Final = 64
CUTOFF: Final = 0.96
"""Of the lower Nyquist frequency: the middle of the transition band."""

KAISER_BETA: Final = 6.2
"""Side lobes below -65 dB."""

MAX_TAPS: Final = FILTER_PERIODS * 6
"""Input samples that an output sample depends on, at most: from 48 to 8 kHz."""

_LANES: Final = 8  # taps are rounded up to whole vectors
_ZERO: Final = np.float32(0.0)

RESAMPLER = np.dtype(
    [
        ("filter", "i4"),  # row of FILTERS
        (
            "up",
            "i4",
        ),  # output samples per `down` input samples; 0 in a row that was never set up, which gives nothing
        ("down", "i4"),
        ("taps", "i4"),  # input samples that an output sample depends on; 0 when the rates are the same
        (
            "position",
            "i8",
        ),  # when the next output sample is due, in 1 / up input samples from the next input sample
        (
            "history",
            "f4",
            (MAX_TAPS,),
        ),  # the last samples that came in, oldest first; the last `taps` of it are used
    ],
    align=True,
)
"""One stream's resampler. Flat."""


def _ratio(rate_in: int, rate_out: int) -> tuple[int, int, int]:
    """`up`, `down` and `taps` of a pair of rates."""
    common = math.gcd(rate_in, rate_out)
    up, down = rate_out // common, rate_in // common
    if up == down:
        return up, down, 0
    return up, down, -(-FILTER_PERIODS * max(down, up) // (up * _LANES)) * _LANES


def _design_filter(rate_in: int, rate_out: int) -> np.ndarray:
    """Float32 [up, taps]: the coefficients of each phase, last tap first, as they meet the samples."""
    up, _, taps = _ratio(rate_in, rate_out)
    length = up * taps
    cutoff = CUTOFF * min(rate_in, rate_out) / (rate_in * up)
    times = np.arange(length) - (length - 1) / 2
    prototype = np.sinc(cutoff * times) * np.kaiser(length, KAISER_BETA)
    phases = prototype.reshape(taps, up).T[:, ::-1]
    # Each phase passes a constant unchanged, or a constant would come out with a tone in it.
    return (phases / phases.sum(axis=1, keepdims=True)).astype(np.float32)


def _design_filters() -> np.ndarray:
    filters = np.zeros((len(RATES) ** 2, MAX_TAPS), np.float32)
    for row, (rate_in, rate_out) in enumerate((one, other) for one in RATES for other in RATES):
        if rate_in != rate_out:
            coefficients = _design_filter(rate_in, rate_out).ravel()
            filters[row, : coefficients.size] = coefficients
    return filters


FILTERS: Final = _design_filters()
"""float32 [pairs, MAX_TAPS]: the filter from RATES[i] to RATES[j] is row 5 i + j, its phases one after the other."""


def new_resamplers(count: int, rate_in: int, rate_out: int) -> np.ndarray:
    """RESAMPLER [count], each after silence. A record may be copied into any table of them.

    Raises: ValueError when a rate is not one of RATES.
    """
    for rate in (rate_in, rate_out):
        if rate not in RATES:
            raise ValueError(f"cannot resample {rate} Hz: the rates are {', '.join(map(str, RATES))} Hz")
    resamplers = np.zeros(count, RESAMPLER)
    resamplers["filter"] = len(RATES) * RATES.index(rate_in) + RATES.index(rate_out)
    resamplers["up"], resamplers["down"], resamplers["taps"] = _ratio(rate_in, rate_out)
    return resamplers


def count_resampled(count: int, rate_in: int, rate_out: int) -> int:
    """How many samples `count` samples become, at most. Exactly that, whenever they come out even."""
    return -(-count * rate_out // rate_in)


def delay_seconds(rate_in: int, rate_out: int) -> float:
    """How much later a sound comes out than it went in."""
    up, _, taps = _ratio(rate_in, rate_out)
    return max(up * taps - 1, 0) / (2 * up * rate_in)


@dsp_kernel
def resample(samples: np.ndarray, resamplers: np.ndarray, row: int, output: np.ndarray) -> int:
    """Bring the next frame of a stream to the other rate.

    Shapes: `samples` float32 [n], any n; `resamplers` RESAMPLER [rows]; `output` float32, with room for `count_resampled` of
    n, or what has no room is lost. It must not overlap `samples`.
    Returns: the count written: for 20 ms always 20 ms.
    Cost: `taps` multiply-adds per output sample. 20 ms from 48 to 16 kHz take 7 us, the way back 10 us (timeit, one core).
    """
    resampler = resamplers[row]
    if resampler.taps == 0:
        return _copy(samples, resampler, output)
    taps, up, down = int(resampler.taps), int(resampler.up), int(resampler.down)
    history = resampler.history[MAX_TAPS - taps :]
    line = np.empty(taps + samples.size, np.float32)
    for index in range(taps):
        line[index] = history[index]
    for index in range(samples.size):
        line[taps + index] = sane(samples[index])
    coefficients = FILTERS[resampler.filter]
    end = samples.size * up
    position = resampler.position
    count = 0
    while position < end:
        if count < output.size:
            newest = position // up
            phase = position - newest * up
            # Unsigned: numba then does not look for negative indices, which would keep the loop from becoming vector code.
            oldest, first = np.uint64(newest + 1), np.uint64(phase * taps)
            total = _ZERO
            for tap in range(np.uint64(taps)):
                total += line[oldest + tap] * coefficients[first + tap]
            output[count] = total
            count += 1
        position += down
    resampler.position = position - end
    for index in range(taps):
        history[index] = line[samples.size + index]
    return count


@helper
def _copy(samples: np.ndarray, resampler: Any, output: np.ndarray) -> int:
    count = min(samples.size, output.size) if resampler.up else 0
    for index in range(count):
        output[index] = sane(samples[index])
    return count


@kernel
def reset_resampler(resamplers: np.ndarray, row: int) -> None:
    """Forget what came in, as after a pause: the next frame begins after silence."""
    resampler = resamplers[row]
    resampler.position = 0
    for index in range(MAX_TAPS):
        resampler.history[index] = _ZERO
