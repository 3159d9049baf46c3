"""Mixing: sums with gain ramps, everyone's mix without themselves, and the limiter behind it.

A lobby is summed once with `add_with_gain`. Each talker's mix is that total less their own part (`mix_minus`): N talkers cost
2 N passes rather than N squared. Both multiply by the same ramp, to the last bit, and neither may be compiled with
fast-math: then the mix of somebody who talks alone is zero and not almost zero.

The limiter is the last stage of each distinct mix. It looks 5 ms ahead: the gain that each sample needs is held over the
look-ahead (sliding minimum), released slowly, and smoothed by a mean as long as the look-ahead. Each value in that mean is at
most what the sample in the middle of it needs, so the mean is too; the sample is below the ceiling, and the gain is never
steeper than a ramp of 5 ms. Source: D. Giannoulis, M. Massberg, J. Reiss, "Digital Dynamic Range Compressor Design", 2012,
for the terms; the sliding minimum by doubling is folklore.
"""

import math
from typing import Any, Final

import numpy as np

from media.audio.samples import SAMPLE_RATE, sane
from media.jit import helper, integer, kernel

CEILING: Final = np.float32(10 ** (-0.1 / 20))
"""-0.1 dBFS: what a lossy codec adds in ringing still mostly fits below full scale."""

LOOK_AHEAD_SAMPLES: Final = 240
"""5 ms. Delay of the limiter, and length of its ramps: short against syllables, long against a pitch period's edge."""

RELEASE_SECONDS: Final = 0.1
"""Time constant in which the gain comes back."""

UNITY: Final = 1 << 30
"""A gain of 1 in the limiter's fixed point. Sums of integers do not drift, so that silence restores exactly 1."""

_WINDOW: Final = LOOK_AHEAD_SAMPLES + 1
_RELEASE: Final = round(-math.expm1(-1 / (RELEASE_SECONDS * SAMPLE_RATE)) * UNITY)
_NEARLY_UNITY: Final = UNITY - (UNITY >> 14)  # 0.0005 dB short of 1 is 1: an exponential would never arrive
_UNITY_SUM: Final = np.float32(UNITY * _WINDOW)  # exact, so that a sum of unities divided by it is 1

LIMITER = np.dtype(
    [
        ("active", "i8"),  # 1 while some gain in `gains` is below UNITY
        ("delay", "f4", (LOOK_AHEAD_SAMPLES,)),  # the last samples that came in, oldest first
        ("gains", "i4", (LOOK_AHEAD_SAMPLES,)),  # the last released gains, before the mean, oldest first
    ],
    align=True,
)
"""One limiter. Flat: a copy of the record is a limiter that goes on as the first would."""


def new_limiters(count: int) -> np.ndarray:
    """LIMITER [count], with silence in the delay line."""
    limiters = np.zeros(count, LIMITER)
    limiters["gains"] = UNITY
    return limiters


@helper
def ramp_step(gain_from: Any, gain_to: Any, count: Any) -> Any:
    """What a ramp over `count` samples adds to the gain at each one. The last sample has `gain_to`, or nearly."""
    return (np.float32(gain_to) - np.float32(gain_from)) / np.float32(max(count, 1))


@helper
def ramp_gain(gain_from: Any, step: Any, index: Any) -> Any:
    """The gain at sample `index` (int32) of a ramp. Exactly `gain_from` throughout when both ends are equal."""
    return np.float32(gain_from) + step * np.float32(index + 1)


@kernel
def add_with_gain(samples: np.ndarray, gain_from: float, gain_to: float, total: np.ndarray) -> None:
    """Add `samples` to `total`, with a gain that goes linearly from that of the last frame to that of this one.

    Shapes: float32 [n] both. Give `gain_to` as `gain_from` of the next frame, and nothing clicks.
    """
    count = np.int32(min(samples.size, total.size))
    start, end = sane(np.float32(gain_from)), sane(np.float32(gain_to))
    step = ramp_step(start, end, count)
    for index in range(count):
        total[index] += sane(samples[index]) * ramp_gain(start, step, index)


@kernel
def mix_minus(
    total: np.ndarray, own: np.ndarray, gain_from: float, gain_to: float, output: np.ndarray
) -> None:
    """Write `total` without what `add_with_gain(own, gain_from, gain_to, total)` added to it.

    Shapes: float32 [n] all. `output` may be `total` or `own`.
    """
    count = np.int32(min(total.size, own.size, output.size))
    start, end = sane(np.float32(gain_from)), sane(np.float32(gain_to))
    step = ramp_step(start, end, count)
    for index in range(count):
        output[index] = total[index] - sane(own[index]) * ramp_gain(start, step, index)


@kernel
def limit_frame(samples: np.ndarray, limiters: np.ndarray, row: int, output: np.ndarray) -> int:
    """Delay a frame by the look-ahead, and turn it down where it would exceed the ceiling.

    Shapes: float32 [n], any n; `limiters` LIMITER [rows]; `output` float32 [n], which may be `samples`.
    Returns: how many samples of this frame were above the ceiling. Whatever comes in, no sample that goes out is; NaN and
    infinities go out as 0. Below the ceiling, what goes out is exactly what came in.
    """
    count = min(samples.size, output.size)
    limiter = limiters[row]
    if limiter.active == 0 and count >= LOOK_AHEAD_SAMPLES and _is_below_ceiling(samples, count):
        # Copies of memory, nothing else: also where `output` is `samples`.
        tail = samples[count - LOOK_AHEAD_SAMPLES : count].copy()
        output[LOOK_AHEAD_SAMPLES:count] = samples[: count - LOOK_AHEAD_SAMPLES]
        output[:LOOK_AHEAD_SAMPLES] = limiter.delay
        limiter.delay[:] = tail
        return integer(0)
    delay = limiter.delay
    line = np.empty(LOOK_AHEAD_SAMPLES + count, np.float32)
    for index in range(LOOK_AHEAD_SAMPLES):
        line[index] = delay[index]
    above = np.int32(0)
    for index in range(count):
        sample = sane(samples[index])
        line[LOOK_AHEAD_SAMPLES + index] = sample
        above += np.int32(abs(sample) > CEILING)
    for index in range(LOOK_AHEAD_SAMPLES):
        delay[index] = line[count + index]
    if above == 0 and limiter.active == 0:
        for index in range(count):
            output[index] = line[index]
    else:
        _limit(limiter, line, count, output)
    return integer(above)


@helper
def _is_below_ceiling(samples: np.ndarray, count: int) -> bool:
    """Whether nothing needs a limiter; NaN does."""
    above = np.int32(0)
    for index in range(count):
        above += np.int32(not abs(samples[index]) <= CEILING)
    return above == 0


@kernel
def _limit(limiter: Any, line: np.ndarray, count: int, output: np.ndarray) -> None:
    needed = np.empty(line.size, np.float32)
    for index in range(line.size):
        needed[index] = CEILING / max(abs(line[index]), CEILING)
    _hold_minimum(needed)
    # After it, needed[i] is the least of what the samples i..i+240 of the line need.
    gains = np.empty(line.size, np.int32)
    for index in range(LOOK_AHEAD_SAMPLES):
        gains[index] = limiter.gains[index]
    gain = integer(gains[LOOK_AHEAD_SAMPLES - 1])
    total = integer(0)
    for index in range(LOOK_AHEAD_SAMPLES):
        total += integer(gains[index])
    for index in range(count):
        gain += ((UNITY - gain) * _RELEASE) >> 30
        if gain > _NEARLY_UNITY:
            gain = integer(UNITY)
        gain = min(gain, integer(needed[index] * np.float32(UNITY)))
        gains[LOOK_AHEAD_SAMPLES + index] = gain
        total += gain
        limited = line[index] * (np.float32(total) / _UNITY_SUM)
        total -= integer(gains[index])
        # Rounding may be a bit on the wrong side.
        output[index] = min(max(limited, -CEILING), CEILING)
    lowest = integer(UNITY)
    for index in range(LOOK_AHEAD_SAMPLES):
        limiter.gains[index] = gains[count + index]
        lowest = min(lowest, integer(gains[count + index]))
    limiter.active = integer(lowest < UNITY)


@helper
def _hold_minimum(values: np.ndarray) -> None:
    """Replace values[i] by the least of values[i..i+240], where there are that many: eight passes of vector code."""
    covered = 1
    end = values.size
    while covered < _WINDOW:
        shift = min(covered, _WINDOW - covered)
        end -= shift
        for index in range(end):
            values[index] = min(values[index], values[index + shift])
        covered += shift
