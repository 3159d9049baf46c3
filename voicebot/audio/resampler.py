"""Other rates than the relay's: files of 44.1 kHz, synthesizers of 22.05 kHz. A band-limited resampler for streams, in numpy.

Each sample that comes out is a sum of the samples around its place, weighted by a sinc under a Kaiser window (J. O. Smith, "Digital Audio
Resampling"); for the few places between two samples that a ratio of whole numbers has, the weights are worked out once.
"""

from functools import lru_cache
from math import gcd

import numpy as np
from numpy.typing import NDArray

#: Zero crossings of the sinc on either side: images and aliases are below -70 dB, 0.9 of the band is flat.
CROSSINGS = 24
#: Places between two samples for which weights are kept. Usual rates need 640 at most; odd ones make do with the nearest.
MAX_ROWS = 4096
_KAISER_BETA = 8.0
_PASSED = 0.95


class Resampler:
    """Turns int16 samples of one rate into those of another, piece by piece. What comes out is ``CROSSINGS`` samples late until ``flush``."""

    def __init__(self, rate: int, to_rate: int) -> None:
        divisor = gcd(rate, to_rate)
        self._up, self._down = to_rate // divisor, rate // divisor
        self._rows = min(self._up, MAX_ROWS)
        self._weights = _weights(self._rows, self._up / self._down)
        self._half = self._weights.shape[1] // 2
        #: What is still needed of what came in; its first sample is number ``_first`` (the first that came is 0).
        self._waiting = np.zeros(self._half - 1, np.float32)
        self._first = -(self._half - 1)
        self._came = 0
        self._gone = 0

    def resample(self, samples: NDArray[np.int16]) -> NDArray[np.int16]:
        """Return what can be said after these samples."""
        self._came += len(samples)
        self._waiting = np.concatenate((self._waiting, samples.astype(np.float32)))
        # Number n is at n * down / up, and needs `half` samples from there on.
        last = self._first + len(self._waiting) - self._half
        return self._take(-(-(last * self._up) // self._down) if last > 0 else 0)

    def flush(self) -> NDArray[np.int16]:
        """Return the rest; the resampler is done with."""
        self._waiting = np.concatenate((self._waiting, np.zeros(self._half + 1, np.float32)))
        return self._take(-(-self._came * self._up // self._down))

    def _take(self, until: int) -> NDArray[np.int16]:
        if until <= self._gone:
            return np.zeros(0, np.int16)
        places = np.arange(self._gone, until, dtype=np.int64) * self._down
        begins = places // self._up - (self._half - 1) - self._first
        windows = np.lib.stride_tricks.sliding_window_view(self._waiting, 2 * self._half)[begins]
        summed = np.einsum("ij,ij->i", windows, self._weights[places % self._up * self._rows // self._up])
        self._gone = until
        kept = until * self._down // self._up - (self._half - 1) - self._first
        if kept > 0:
            self._waiting, self._first = self._waiting[kept:], self._first + kept
        samples: NDArray[np.int16] = np.clip(np.rint(summed), -32768, 32767).astype(np.int16)
        return samples


@lru_cache(maxsize=16)
def _weights(rows: int, ratio: float) -> NDArray[np.float32]:
    """Return a row of weights for each place between two samples; each sums to 1."""
    band = _PASSED * min(1.0, ratio)
    half = int(np.ceil(CROSSINGS / band))
    offsets = np.arange(-(half - 1), half + 1)[None, :] - (np.arange(rows) / rows)[:, None]
    window = np.i0(_KAISER_BETA * np.sqrt(np.clip(1 - (offsets / half) ** 2, 0, 1))) / np.i0(_KAISER_BETA)
    weights = np.sinc(band * offsets) * window
    normal: NDArray[np.float32] = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    return normal
