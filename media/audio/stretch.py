"""Making sound a little shorter or longer without changing its pitch: one splice of overlapped waveforms (WSOLA).

A segment of 2.5 to 10 ms is taken out, or repeated, where the sound is most similar to itself at that distance: a period or
several of something periodic, anything in silence. Where nothing is similar enough, nothing is done, and the caller tries
again with the next frame.

Source: W. Verhelst and M. Roelands, "An overlap-add technique based on waveform similarity (WSOLA)", ICASSP 1993.
"""

from typing import Any, Final

import numpy as np

from media.jit import helper, kernel

Samples = np.ndarray[Any, np.dtype[np.float32]]

SHORTEST_SPLICE: Final = 120  # samples; 2.5 ms, a period of 400 Hz
LONGEST_SPLICE: Final = 480  # 10 ms, a period of 100 Hz
OVERLAP: Final = 240  # 5 ms over which one place fades into the other
PLACE: Final = 480  # where the overlap begins: the longest splice must fit before it
QUIET: Final = 1e-6  # mean square, -60 dBFS: below it any two places are alike
_STRIDE: Final = 4  # of the first, coarse search, in lags and in samples


@kernel
def shorten(samples: Samples, count: int, longest: int, similarity: float) -> int:
    """Take up to `longest` samples out of the first `count`, if both sides of the splice are similar enough.

    Shapes: samples float32 [>= count], changed in place; what follows the splice moves forward. Count must be at least
    PLACE + OVERLAP + longest.

    Units: similarity is a normalized correlation, -1..1; 0.9 is one nobody hears.

    Returns: the samples taken out; 0 if nothing was similar.
    """
    lag = _find_splice(samples, min(longest, LONGEST_SPLICE, count - PLACE - OVERLAP), 1, similarity)
    if lag == 0:
        return 0
    for index in range(OVERLAP):
        place = PLACE + index
        weight = (index + 0.5) / OVERLAP
        samples[place] = np.float32((1.0 - weight) * samples[place] + weight * samples[place + lag])
    for place in range(PLACE + OVERLAP, count - lag):
        samples[place] = samples[place + lag]
    return lag


@kernel
def lengthen(samples: Samples, count: int, longest: int, similarity: float) -> int:
    """Repeat up to `longest` samples of the first `count`, if both sides of the splice are similar enough.

    Shapes: samples float32 [>= count + longest], changed in place; what follows the splice moves back. Count must be at
    least PLACE + OVERLAP.

    Returns: the samples added; 0 if nothing was similar.
    """
    if count < PLACE + OVERLAP:
        return 0
    lag = _find_splice(samples, min(longest, LONGEST_SPLICE, samples.size - count), -1, similarity)
    if lag == 0:
        return 0
    for place in range(count - 1, PLACE + OVERLAP - lag - 1, -1):
        samples[place + lag] = samples[place]
    # Backwards, since what is faded to lies before.
    for index in range(OVERLAP - 1, -1, -1):
        place = PLACE + index
        weight = (index + 0.5) / OVERLAP
        samples[place] = np.float32((1.0 - weight) * samples[place] + weight * samples[place - lag])
    return lag


@helper
def _find_splice(samples: Samples, longest: int, direction: int, similarity: float) -> int:
    """Find the distance at which the sound from `PLACE` on is most like itself; 0 where it is less than `similarity`."""
    if longest < SHORTEST_SPLICE:
        return 0
    if _mean_square(samples, PLACE) < QUIET and _mean_square(samples, PLACE + direction * longest) < QUIET:
        return longest
    best = 0
    best_similarity = -2.0
    for lag in range(SHORTEST_SPLICE, longest + 1, _STRIDE):
        found = _similarity(samples, direction * lag, _STRIDE)
        if found > best_similarity:
            best_similarity = found
            best = lag
    centre = best
    best_similarity = -2.0
    for lag in range(max(centre - _STRIDE + 1, SHORTEST_SPLICE), min(centre + _STRIDE, longest + 1)):
        found = _similarity(samples, direction * lag, 1)
        if found > best_similarity:
            best_similarity = found
            best = lag
    return best if best_similarity >= similarity else 0


@helper
def _mean_square(samples: Samples, place: int) -> float:
    total = 0.0
    for index in range(place, place + OVERLAP):
        total += samples[index] * samples[index]
    return total / OVERLAP


@helper
def _similarity(samples: Samples, distance: int, stride: int) -> float:
    """Normalized correlation of the overlap with what is `distance` away, on every `stride`-th sample."""
    product = here = there = 0.0
    for index in range(PLACE, PLACE + OVERLAP, stride):
        one = samples[index]
        other = samples[index + distance]
        product += one * other
        here += one * one
        there += other * other
    return product / np.sqrt(here * there + 1e-12)
