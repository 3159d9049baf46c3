"""A latency histogram with log-linear buckets, in the manner of HdrHistogram.

Each power of two is cut into `STEPS` equal buckets, so a bucket is never wider than 1/STEPS of its value: 0.8 %, and
the midpoint that stands for it is off by at most half of that. Values below 2*STEPS ns have a bucket of their own.
One int64 array holds it all; the kernels add to it without a branch on the scale.
"""

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from media.jit import helper

Int64Array = np.ndarray[Any, np.dtype[np.int64]]
Float64Array = np.ndarray[Any, np.dtype[np.float64]]

STEP_BITS: Final = 7
STEPS: Final = 1 << STEP_BITS
LAST_OCTAVE: Final = 36  # 2**36 ns = 69 s: longer than any run waits for a packet
BUCKETS: Final = (LAST_OCTAVE - STEP_BITS + 2) << STEP_BITS


@helper
def bucket_of(value_ns: int) -> int:
    """Index of the bucket of a latency. Negative values count as 0, values beyond the last bucket in the last."""
    if value_ns < 2 * STEPS:
        return max(value_ns, 0)
    octave = math.frexp(np.float64(value_ns))[1] - 1
    shift = octave - STEP_BITS
    return min((shift << STEP_BITS) + (value_ns >> shift), BUCKETS - 1)


def bucket_bounds() -> tuple[Int64Array, Int64Array]:
    """Lowest value of each bucket, and its width. *Units*: nanoseconds."""
    index = np.arange(BUCKETS, dtype=np.int64)
    shift = np.maximum((index >> STEP_BITS) - 1, 0)
    lower = (index - (shift << STEP_BITS)) << shift
    return lower, np.int64(1) << shift


def percentiles_ns(counts: Int64Array, percents: Sequence[float]) -> list[float]:
    """Latency below which each of `percents` lies, by the nearest-rank rule; NaN for an empty histogram."""
    total = int(counts.sum())
    if total == 0:
        return [math.nan for _ in percents]
    lower, width = bucket_bounds()
    cumulative = np.cumsum(counts)
    ranks = [max(1, math.ceil(percent / 100 * total - 1e-9)) for percent in percents]
    indices = np.searchsorted(cumulative, ranks)
    return [float(lower[index]) + (int(width[index]) - 1) / 2 for index in indices]


def mean_ns(counts: Int64Array) -> float:
    """Mean latency; NaN for an empty histogram."""
    total = int(counts.sum())
    if total == 0:
        return math.nan
    lower, width = bucket_bounds()
    return float((counts * (lower + (width - 1) / 2)).sum() / total)


def exceedance(counts: Int64Array) -> tuple[Float64Array, Float64Array]:
    """For plots: bucket values, and the share of packets slower than each; only buckets that hold any."""
    used = np.flatnonzero(counts)
    lower, width = bucket_bounds()
    slower = counts.sum() - np.cumsum(counts)[used]
    return lower[used] + (width[used] - 1) / 2, slower / max(int(counts.sum()), 1)
