"""The control plane's end of a port: words that both sides read, one writes."""

import numpy as np

from media.atomics import Int64Array, load_acquire, store_release
from media.jit import kernel
from media.mixer.tables import PORT_GAIN

UNITY_GAIN = 1_000
"""Of PORT_GAIN: thousandths."""


@kernel
def load_word(words: Int64Array, index: int) -> int:
    """What the mixer last wrote there; what it wrote before that can be read, too."""
    return load_acquire(words, index)


@kernel
def store_word(words: Int64Array, index: int, value: int) -> None:
    """Write a word for the mixer, after all that was written before."""
    store_release(words, index, value)


def reset_port(words: np.ndarray, cursors: np.ndarray) -> None:
    """Make a port new that nobody uses, before the command that opens it is posted."""
    words[:] = 0
    cursors[:] = 0
    words[PORT_GAIN] = UNITY_GAIN
