"""What the loops of workers and mixers have in common: how they begin, sleep, and wake who waits for them."""

from typing import Any, Final

import numpy as np

from media.atomics import load_acquire
from media.clock import read_clock
from media.jit import helper, integer, kernel
from media.memory import record_at, words_at
from media.native import CLOCK_MONOTONIC, CLOCK_REALTIME, TIMESPEC, ppoll, read, write
from media.priority import ask_for_real_time
from media.ring import slot_to_read
from media.tables import RING_CURSOR_WORDS, RING_READ, RING_WRITTEN
from media.taps import cursors_of, ring_of

NTP_EPOCH_S: Final = 2_208_988_800
"""From NTP's zero, 1900, to that of CLOCK_REALTIME, 1970 (RFC 5905)."""


@helper
def begin_loop(context: Any, tick_ns: int) -> None:
    """Read the clocks, let the first tick be due in `tick_ns`, and take the priority that is wanted."""
    context.now_ns = read_clock(context, CLOCK_MONOTONIC)
    context.wall_offset_ns = (
        read_clock(context, CLOCK_REALTIME) - context.now_ns + NTP_EPOCH_S * 1_000_000_000
    )
    context.next_tick_ns = context.now_ns + tick_ns
    context.awake_since_ns = context.now_ns
    if context.real_time_wanted != 0:
        ask_for_real_time(context)


@kernel
def wake_control_plane(context: Any) -> None:
    """Tell Trio that there are events, or that commands have been applied."""
    context.events_pending = 0
    context.acknowledgement_pending = 0
    write(np.int32(context.event_fd), context.wake_count, 8)


@helper
def wait(context: Any, descriptors: int, duration_ns: int) -> None:
    """Sleep for so long, or until one of the first `descriptors` of `context.poll` is readable; below zero: only that."""
    timeout = integer(0)
    if duration_ns >= 0:
        time = record_at(TIMESPEC, context.clock)
        time.seconds = duration_ns // 1_000_000_000
        time.nanoseconds = duration_ns % 1_000_000_000
        timeout = context.clock
    if ppoll(context.poll, np.uint64(descriptors), timeout, np.uint64(0)) > 0:
        # Fails with EAGAIN, harmlessly, when it was a socket that woke us.
        read(np.int32(context.wake_fd), context.wake_count + 8, 8)


@helper
def has_mail(context: Any) -> bool:
    """Whether a tap or the command ring holds something. Ask after `context.sleep_flags` is set, and a fence."""
    for writer in range(context.workers):
        if writer != context.worker:
            cursors = words_at(
                cursors_of(context, ring_of(context, writer, context.worker)), RING_CURSOR_WORDS
            )
            if load_acquire(cursors, RING_WRITTEN) != cursors[RING_READ]:
                return True
    return slot_to_read(context.command_cursors, context.command_mask) >= 0
