"""How long a thread may keep its core, where the scheduler lets an ordinary program say so.

A worker sleeps until packets come. When they do, and its core is busy with Python at that moment, it waits for the end
of the other thread's slice: 2.8 ms on two cores, more on larger machines. Linux 6.12 and later let any thread ask for
shorter slices (EEVDF, `sched_setattr` with SCHED_OTHER and a runtime): it runs as much as before, but it need not wait,
for a thread that wakes with a shorter slice preempts one with a longer. Older kernels ignore the wish.
"""

import ctypes
import os
import platform
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

SLICE_NS: Final = (
    100_000  # the shortest the kernel takes; a batch of 64 packets to 50 subscribers needs about as long
)
_SYSCALL: Final = {"x86_64": 314, "aarch64": 274}.get(platform.machine())
_SCHED_ATTR: Final = struct.Struct("=IIQiIQQQ")
"""size, policy, flags, nice, priority, runtime, deadline, period: `struct sched_attr`, first version."""


@contextmanager
def short_slice(slice_ns: int = SLICE_NS) -> Iterator[bool]:
    """Ask for short slices for the calling thread in this scope; give whether the system listened. Nobody need care."""
    heard = _ask_for(slice_ns)
    try:
        yield heard
    finally:
        if heard:
            _ask_for(0)  # the default again: threads of a pool have a life after this one


def _ask_for(slice_ns: int) -> bool:
    if _SYSCALL is None or os.sched_getscheduler(0) != os.SCHED_OTHER:
        return False
    nice = os.getpriority(os.PRIO_PROCESS, 0)
    wish = _SCHED_ATTR.pack(_SCHED_ATTR.size, os.SCHED_OTHER, 0, nice, 0, slice_ns, 0, 0)
    return bool(ctypes.CDLL(None).syscall(_SYSCALL, 0, wish, 0) == 0)
