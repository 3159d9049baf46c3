"""The clocks of the system, read from kernels."""

from typing import Any

import numpy as np

from media.jit import helper
from media.memory import record_at
from media.native import TIMESPEC, clock_gettime


@helper
def read_clock(context: Any, clock: int) -> int:
    """Nanoseconds of `clock` (`media.native.CLOCK_*`). The record at `context.clock` lends its place."""
    clock_gettime(np.int32(clock), context.clock)
    time = record_at(TIMESPEC, context.clock)
    return time.seconds * 1_000_000_000 + time.nanoseconds
