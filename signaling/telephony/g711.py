"""G.711 (ITU-T G.711, 1988) between bytes and samples, by tables: what telephone providers send in JSON, 160 bytes at a time.

The kernels of ``media.audio.g711`` are for float samples and buffers that are there already; this is for texts that come and go.

16-bit samples hold the 14 bits of mu-law and the 13 of A-law in their upper bits, as everywhere in telephony.
"""

import numpy as np
import numpy.typing as npt

from media.audio.g711 import A_LAW, MU_LAW, VALUES
from media.audio.samples import INT16_SCALE
from signaling.telephony.line import Samples


def _nearest(values: Samples) -> npt.NDArray[np.uint8]:
    """Return, for every sample from -32768 on, the byte whose value is nearest; of two as near, the smaller sample's."""
    order = np.argsort(values, kind="stable")
    ascending = values[order].astype(np.int64)
    # The sample where the next byte becomes the nearer one.
    borders = (ascending[:-1] + ascending[1:]) // 2 + 1
    samples = np.arange(-32768, 32768, dtype=np.int64)
    return order[np.searchsorted(borders, samples, side="right")].astype(np.uint8)


_MULAW_TO_LINEAR: Samples = np.rint(VALUES[MU_LAW] * INT16_SCALE).astype(np.int16)
_ALAW_TO_LINEAR: Samples = np.rint(VALUES[A_LAW] * INT16_SCALE).astype(np.int16)
_LINEAR_TO_MULAW = _nearest(_MULAW_TO_LINEAR)
_LINEAR_TO_ALAW = _nearest(_ALAW_TO_LINEAR)
#: What a mu-law encoder makes of nothing: the positive zero (there is a negative one, 0x7F).
_LINEAR_TO_MULAW[32768] = 0xFF


def decode_mulaw(payload: bytes) -> Samples:
    """Return one sample for each byte."""
    return _MULAW_TO_LINEAR[np.frombuffer(payload, np.uint8)]


def encode_mulaw(samples: Samples) -> bytes:
    """Return one byte for each sample: the nearest value that mu-law has."""
    return _LINEAR_TO_MULAW[samples.astype(np.int32) + 32768].tobytes()


def decode_alaw(payload: bytes) -> Samples:
    """Return one sample for each byte."""
    return _ALAW_TO_LINEAR[np.frombuffer(payload, np.uint8)]


def encode_alaw(samples: Samples) -> bytes:
    """Return one byte for each sample: the nearest value that A-law has."""
    return _LINEAR_TO_ALAW[samples.astype(np.int32) + 32768].tobytes()
