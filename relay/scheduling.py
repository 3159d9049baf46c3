"""Who gets the core first, where a thread that must not wait shares it with Python.

A worker sleeps until packets come. When they do, and its core is busy with Python at that moment, an ordinary thread waits
for the end of the other one's slice: 2.8 ms on two cores, more on larger machines. Two wishes make that shorter:

- *short slices* (Linux 6.12 and later, EEVDF: `sched_setattr` with SCHED_OTHER and a runtime): a thread that wakes with a
  shorter slice preempts one with a longer, if it has not had more than its share. Anybody may ask; older kernels take
  the wish and change nothing.
- *real time* (SCHED_RR): it preempts always. Takes the right to it (CAP_SYS_NICE, or an RLIMIT_RTPRIO of 1), and is only for threads
  that sleep most of the time; a worker decides that by itself (`media.priority`).
"""

import ctypes
import os
import platform
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

SLICE_NS: Final = (
    100_000  # the shortest the kernel takes; a batch of 64 packets to 50 subscribers needs about as long
)
_SYSCALL: Final = {"x86_64": 314, "aarch64": 274}.get(platform.machine())
_SCHED_ATTR: Final = struct.Struct("=IIQiIQQQ")
"""size, policy, flags, nice, priority, runtime, deadline, period: `struct sched_attr`, first version."""


@contextmanager
def favoured(*, real_time: bool = False) -> Iterator[bool]:
    """Let the calling thread go before others in this scope, as far as the system allows. Nobody need care how far.

    Gives False, and does nothing, when the thread is of another class than the ordinary one: somebody has decided.
    """
    if os.sched_getscheduler(0) != os.SCHED_OTHER:
        yield False
        return
    _ask_for_slices(SLICE_NS)
    if real_time:
        with suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(1))
    try:
        yield True
    finally:  # as before: threads of a pool have a life after this one
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
        _ask_for_slices(0)


def _ask_for_slices(slice_ns: int) -> None:
    if _SYSCALL is None:
        return
    nice = os.getpriority(os.PRIO_PROCESS, 0)
    wish = _SCHED_ATTR.pack(_SCHED_ATTR.size, os.SCHED_OTHER, 0, nice, 0, slice_ns, 0, 0)
    ctypes.CDLL(None).syscall(_SYSCALL, 0, wish, 0)
