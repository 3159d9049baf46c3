"""The search for the highest rate that a relay carries without loss. Arithmetic only: the caller makes the trials.

The rate grows by half until a trial fails, then the gap is halved until it is within `RESOLUTION`. A rate fails when
two trials in a row do: on a machine with anything else to do, one loss is no proof.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

GROWTH: Final = 1.5
RESOLUTION: Final = 1.03
MAX_STEPS: Final = 60  # a millionfold growth takes 35, the halving after it 5


@dataclass(frozen=True)
class Found:
    """The highest rate that passed (0 when none did), and the lowest that failed (0 when none did)."""

    best: float
    failed: float


async def search_highest_rate(
    start: float, ceiling: float, trial: Callable[[float], Awaitable[bool]]
) -> Found:
    """Find the highest rate up to `ceiling` for which `trial` is true."""
    best, failed, rate = 0.0, 0.0, min(start, ceiling)
    for _ in range(MAX_STEPS):
        if await trial(rate) or await trial(rate):
            best = rate
            if best >= ceiling:
                break
            following = best * GROWTH if not failed else (best + failed) / 2
        else:
            failed = rate
            following = (best + failed) / 2
        if failed and best and failed / best <= RESOLUTION:
            break
        rate = min(following, ceiling)
    return Found(best, failed)
