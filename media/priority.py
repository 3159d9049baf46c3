"""Real-time scheduling of a worker's thread, as long as it leaves others enough of its core.

A real-time thread (SCHED_RR) that wakes runs at once, whatever Python does on its core; an ordinary one waits for the end
of a slice, up to a scheduler's tick. But a real-time thread that works all the time leaves a twentieth of the core to
Python, and to the kernel's own threads that deliver packets (`ksoftirqd`): then it is better off as one among equals.
So the worker looks ten times a second at the processor time it has used, and chooses.
"""

from typing import Any

import numpy as np

from media.clock import read_clock
from media.jit import helper, kernel
from media.memory import record_at
from media.native import (
    CLOCK_THREAD_CPUTIME_ID,
    SCHED_OTHER,
    SCHED_RESET_ON_FORK,
    SCHED_RR,
    TIMESPEC,
    sched_setscheduler,
)

WINDOW_NS = 100_000_000

BUSY_PERMILLE = 700
"""From here on the thread is an ordinary one. Measured by `bench forward`, video at 0.75 of a core: p99 of 8 to 23 ms
with real-time scheduling, 2 to 3 ms without; and at 0.55 of a core 0.3 against 0.6 ms."""

CALM_PERMILLE = 600
CALM_WINDOWS = 5
"""So many windows in a row below the calm mark, and it is a real-time one again."""


@kernel
def watch_priority(context: Any) -> None:
    """Choose for the calling thread; due every tick. Does nothing unless `real_time_wanted`."""
    if context.real_time_wanted == 0 or context.now_ns - context.priority_since_ns < WINDOW_NS:
        return
    cpu_ns = read_clock(context, CLOCK_THREAD_CPUTIME_ID)
    used_permille = (cpu_ns - context.priority_cpu_ns) * 1_000 // (context.now_ns - context.priority_since_ns)
    context.priority_since_ns = context.now_ns
    context.priority_cpu_ns = cpu_ns
    if used_permille >= BUSY_PERMILLE:
        context.calm_windows = 0
        if context.real_time != 0:
            _set_policy(context, SCHED_OTHER, 0)
            context.real_time = 0
    elif context.real_time == 0 and used_permille < CALM_PERMILLE:
        context.calm_windows += 1
        if context.calm_windows >= CALM_WINDOWS:
            ask_for_real_time(context)


@kernel
def ask_for_real_time(context: Any) -> None:
    """Make the calling thread a real-time one where the system allows it; where not, it is not asked again."""
    context.calm_windows = 0
    context.real_time = np.int64(_set_policy(context, SCHED_RR | SCHED_RESET_ON_FORK, 1))
    context.real_time_wanted = context.real_time


@helper
def _set_policy(context: Any, policy: int, priority: int) -> bool:
    # `struct sched_param` is one int: the clock's first field lends its place.
    record_at(TIMESPEC, context.clock).seconds = priority
    return sched_setscheduler(np.int32(0), np.int32(policy), context.clock) == 0
