"""The wish to go first: taken for a scope, and harmless."""

import ctypes
import os
import platform
import struct
import threading

import pytest

from relay.scheduling import SLICE_NS, favoured

GET_ATTRIBUTES = {"x86_64": 315, "aarch64": 275}.get(platform.machine())
RELEASE = tuple(int(part) for part in platform.release().split(".")[:2])


def in_a_thread(do):
    found = []

    def run():
        # Threads inherit their class, and this machine's keepers have been seen to change that of pytest for a while.
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
        found.append(do())

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return found[0]


def _scheduling():
    """Policy, nice value and slice of this thread."""
    attributes = ctypes.create_string_buffer(56)
    assert ctypes.CDLL(None).syscall(GET_ATTRIBUTES, 0, attributes, 56, 0) == 0
    _, policy, _, nice, _, runtime, _, _ = struct.unpack("=IIQiIQQQ", attributes.raw[:48])
    return policy, nice, runtime


def may_be_real_time():
    """Whether this system lets a thread of ours become a real-time one."""

    def attempt():
        try:
            os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
        except OSError:
            return False
        return True

    return in_a_thread(attempt)


@pytest.mark.skipif(GET_ATTRIBUTES is None, reason="no number known for sched_getattr here")
def test_the_slice_is_short_within_the_scope_and_nothing_else_changes():
    def look():
        before = _scheduling()
        with favoured() as ours:
            within = _scheduling()
        return ours, before, within, _scheduling()

    ours, before, within, after = in_a_thread(look)
    assert ours
    assert within[:2] == before[:2]
    assert after == before
    # A container may forbid the call, and a kernel before 6.12 takes it and changes nothing.
    if within != before and RELEASE >= (6, 12):
        assert within[2] == SLICE_NS


def test_a_real_time_thread_is_one_within_the_scope_only():
    def look():
        with favoured(real_time=True):
            within = os.sched_getscheduler(0)
        return within, os.sched_getscheduler(0)

    within, after = in_a_thread(look)
    assert after == os.SCHED_OTHER
    expected = os.SCHED_RR | os.SCHED_RESET_ON_FORK if may_be_real_time() else os.SCHED_OTHER
    assert within == expected


def test_what_happens_to_the_priority_within_the_scope_ends_with_it():
    def look():
        with favoured():
            if may_be_real_time():
                os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
        return os.sched_getscheduler(0)

    assert in_a_thread(look) == os.SCHED_OTHER


def test_a_thread_of_another_class_is_left_alone():
    def look():
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
        with favoured(real_time=True) as ours:
            return ours, os.sched_getscheduler(0)

    assert in_a_thread(look) == (False, os.SCHED_BATCH)
