"""G.711: the eight bits a sample of the telephone network, mu-law (PCMU) and A-law (PCMA).

Both are what ITU-T G.711 tabulates, with 16-bit values left-justified as in the ITU-T's own reference code (G.191, `ulaw_` and
`alaw_compress` and `_expand`): negative values are complemented rather than negated, so that -1 is the mirror of 0. Rates are
the caller's affair: telephones mean 8000 Hz (RFC 3551 section 4.5.14).
"""

from typing import Any, Final

import numpy as np

from media.audio.samples import INT16_SCALE, to_int16
from media.jit import helper, integer, kernel

MU_LAW: Final = 0
A_LAW: Final = 1

_MU_BIAS: Final = 33  # half a step below the first decision value of each segment, in the 14 bits of mu-law
_MU_CLIP: Final = 0x1FFF


def _mu_law_values() -> np.ndarray:
    codes = ~np.arange(256)
    segments, steps = codes >> 4 & 7, codes & 15
    magnitudes = (((2 * steps + _MU_BIAS) << segments) - _MU_BIAS) * 4
    return np.where(codes & 0x80, -magnitudes, magnitudes)


def _a_law_values() -> np.ndarray:
    codes = np.arange(256) ^ 0x55
    segments, steps = codes >> 4 & 7, codes & 15
    magnitudes = np.where(segments, ((2 * steps + 33) << np.maximum(segments, 1)) >> 1, 2 * steps + 1) * 8
    return np.where(codes & 0x80, magnitudes, -magnitudes)


VALUES: Final = np.stack([_mu_law_values(), _a_law_values()]).astype(np.float32) / INT16_SCALE
"""float32 [2, 256]: the sample that each code of each law stands for."""

SILENCE: Final = (0xFF, 0xD5)
"""The code for 0, or for the least there is in A-law, of each law."""


@kernel
def decode_g711(payload: np.ndarray, law: int, samples: np.ndarray) -> int:
    """Decode uint8 [n] by `law`, MU_LAW or A_LAW, into float32 [n or more].

    Returns: the count written, which is that of the shorter array.
    """
    count = min(payload.size, samples.size)
    values = VALUES[1 if law == A_LAW else 0]
    for index in range(count):
        samples[index] = values[payload[index]]
    return count


@kernel
def encode_g711(samples: np.ndarray, law: int, payload: np.ndarray) -> int:
    """Encode float32 [n] by `law`, MU_LAW or A_LAW, into uint8 [n or more]. NaN is silence, too loud is as loud as can be.

    Returns: the count written, which is that of the shorter array.
    """
    count = min(payload.size, samples.size)
    if law == A_LAW:
        for index in range(count):
            payload[index] = _a_law_code(integer(to_int16(samples[index])))
    else:
        for index in range(count):
            payload[index] = _mu_law_code(integer(to_int16(samples[index])))
    return count


@helper
def _mu_law_code(value: int) -> Any:
    magnitude = min((_mirrored(value) >> 2) + _MU_BIAS, _MU_CLIP)
    segment = 0
    while magnitude >> (segment + 6):
        segment += 1
    code = segment << 4 | (magnitude >> (segment + 1)) & 15
    return (code if value < 0 else code | 0x80) ^ 0x7F


@helper
def _a_law_code(value: int) -> Any:
    magnitude = _mirrored(value) >> 4
    segment = 0
    while magnitude >> (segment + 5):
        segment += 1
    # The first two segments have steps of one size.
    code = ((segment + 1) << 4 | (magnitude >> segment) & 15) if segment else magnitude
    return (code if value < 0 else code | 0x80) ^ 0x55


@helper
def _mirrored(value: int) -> int:
    return ~value if value < 0 else value
