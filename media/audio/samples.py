"""What a sample is, and its way to and from 16-bit integers.

Full scale is -1..1. Inside the relay samples may exceed it: codecs overshoot and mixes add up; the limiter of `media.audio.mix`
ends that. What a decoder or a bot hands in may be anything, also NaN: kernels that take samples from outside pass each
through `sane`, so that one broken source spoils nothing but itself.
"""

from typing import Any, Final

import numpy as np

from media.jit import helper, kernel

SAMPLE_RATE: Final = 48_000
"""Hz, of everything inside the mixer."""

FRAME_SAMPLES: Final = 960
"""20 ms at SAMPLE_RATE: one tick of the mixer."""

RATES: Final = (8_000, 16_000, 24_000, 32_000, 48_000)
"""Hz. What bots, phones and codecs may use."""

SAMPLE_BOUND: Final = np.float32(64.0)
"""36 dB above full scale: more than any codec overshoots or any crowd adds up to, and still safe to square and sum."""

INT16_SCALE: Final = np.float32(32_768.0)
_HIGHEST: Final = np.float32(32_767.0)
_ZERO: Final = np.float32(0.0)


@helper
def sane(value: Any) -> Any:
    """`value` (float32) within ±SAMPLE_BOUND; 0 for NaN and for infinities, which are no sound either."""
    # Two selects rather than branches, so that loops over it become vector code.
    finite = value if abs(value) < np.float32(np.inf) else _ZERO
    return min(max(finite, -SAMPLE_BOUND), SAMPLE_BOUND)


@helper
def to_int16(value: Any) -> Any:
    """`value` (float32) as int16: rounded, halves to even, and saturated."""
    return np.int16(min(max(np.rint(sane(value) * INT16_SCALE), -INT16_SCALE), _HIGHEST))


@kernel
def write_int16(samples: np.ndarray, output: np.ndarray) -> int:
    """Convert float32 [n] to int16 [n or more]; `read_int16` gives back exactly what an int16 was.

    Returns: the count written, which is that of the shorter array.
    """
    count = min(samples.size, output.size)
    for index in range(count):
        output[index] = to_int16(samples[index])
    return count


@kernel
def read_int16(samples: np.ndarray, output: np.ndarray) -> int:
    """Convert int16 [n] to float32 [n or more] in -1..1.

    Returns: the count written, which is that of the shorter array.
    """
    count = min(samples.size, output.size)
    for index in range(count):
        output[index] = np.float32(samples[index]) / INT16_SCALE
    return count
