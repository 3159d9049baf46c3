"""How loud: the levels of RFC 6464, decibels below overload, a positive integer from 0 (loudest) to 127 (silence)."""

import math
from typing import Any, Final

import numpy as np

from media.audio.samples import sane
from media.jit import dsp_kernel, helper, integer, kernel

SILENT_DBOV: Final = 127

LEVEL = np.dtype(
    [
        ("peak", "f4"),  # largest magnitude, 1 full scale
        ("dbov", "i4"),  # RFC 6464: 0 loud .. 127 silent
    ],
    align=True,
)

_PEAK_SCALE: Final = np.float32(1 << 24)  # times SAMPLE_BOUND is in 31 bits
_ZERO: Final = np.float32(0.0)


@dsp_kernel
def frame_level_dbov(samples: np.ndarray) -> int:
    """RFC 6464 level of float32 [n]: the root of the mean square. A full-scale sine is at 3, no samples at 127."""
    total = _ZERO
    for index in range(samples.size):
        sample = sane(samples[index])
        total += sample * sample
    return _dbov(total, samples.size)


@kernel
def _peak(samples: np.ndarray) -> Any:
    # In integers, whose maximum is vector code; that of floats is not, for the sake of NaN.
    peak = np.int32(0)
    for index in range(samples.size):
        peak = max(peak, np.int32(abs(sane(samples[index])) * _PEAK_SCALE))
    return np.float32(peak) / _PEAK_SCALE


@helper
def _dbov(total: Any, count: int) -> int:
    mean = float(total) / max(count, 1)
    if mean < 1e-13:
        return integer(SILENT_DBOV)
    return integer(min(max(math.floor(0.5 - 10 * math.log10(mean)), 0), SILENT_DBOV))


@dsp_kernel
def measure_frames(frames: np.ndarray, levels: np.ndarray) -> int:
    """Measure each row of `frames` (float32 [rows, n]) into `levels` (LEVEL [rows]).

    Returns: rows measured, the lesser of both numbers.
    """
    rows = min(frames.shape[0], levels.size)
    for row in range(rows):
        level = levels[row]
        level.peak = _peak(frames[row])
        level.dbov = frame_level_dbov(frames[row])
    return rows
