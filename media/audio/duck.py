"""Ducking: a background (music, a bot's speech) steps back while a voice is active, and comes back after it.

Decides the gain of each 20 ms frame only; `media.audio.mix.add_with_gain` applies it. The gain moves evenly in decibels, down
within ATTACK_FRAMES and up within RELEASE_FRAMES, so that neither is heard as a jump. That a pause between two words does not
bring the background back at once is the hangover of `media.audio.voice_activity`.
"""

import math
from typing import Any, Final

import numpy as np

from media.jit import helper, kernel

ATTACK_FRAMES: Final = 2
"""40 ms: before the first syllable is over."""

RELEASE_FRAMES: Final = 15
"""300 ms."""

DEPTH_DB: Final = 12.0

DUCK = np.dtype(
    [
        ("depth_db", "f4"),  # how far the background steps back
        (
            "progress",
            "i4",
        ),  # of the way down: 0 full gain .. ATTACK_FRAMES * RELEASE_FRAMES all of `depth_db`
    ],
    align=True,
)
"""One background. Flat."""

_WAY: Final = ATTACK_FRAMES * RELEASE_FRAMES  # divisible by both, so that counting is exact


def new_ducks(count: int, depth_db: float = DEPTH_DB) -> np.ndarray:
    """DUCK [count], at full gain.

    Raises: ValueError when `depth_db` is not a finite number of at least 0.
    """
    if not 0 <= depth_db < math.inf:
        raise ValueError(f"the depth of ducking is a number of decibels from 0 up, not {depth_db}")
    ducks = np.zeros(count, DUCK)
    ducks["depth_db"] = depth_db
    return ducks


@kernel
def duck_frame(voiced: int, ducks: np.ndarray, row: int) -> tuple[float, float]:
    """Go on by one frame in which a voice was active, or not.

    Returns: the gains at the beginning and at the end of the background's frame. The first is always the last one's second.
    """
    duck = ducks[row]
    gain_from = _gain(duck)
    if voiced:
        duck.progress = min(duck.progress + _WAY // ATTACK_FRAMES, _WAY)
    else:
        duck.progress = max(duck.progress - _WAY // RELEASE_FRAMES, 0)
    return gain_from, _gain(duck)


@helper
def _gain(duck: Any) -> float:
    return 10.0 ** (-float(duck.depth_db) * duck.progress / (20.0 * _WAY))
