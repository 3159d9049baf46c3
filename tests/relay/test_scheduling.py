"""The wish for short slices: taken, and harmless."""

import ctypes
import os
import platform
import struct
import threading

import pytest

from relay.scheduling import SLICE_NS, short_slice

GET_ATTRIBUTES = {"x86_64": 315, "aarch64": 275}.get(platform.machine())
RELEASE = tuple(int(part) for part in platform.release().split(".")[:2])


def _in_a_thread(do):
    found = []
    thread = threading.Thread(target=lambda: found.append(do()))
    thread.start()
    thread.join()
    return found[0]


def _scheduling():
    """Policy, nice value and slice of this thread."""
    attributes = ctypes.create_string_buffer(56)
    assert ctypes.CDLL(None).syscall(GET_ATTRIBUTES, 0, attributes, 56, 0) == 0
    _, policy, _, nice, _, runtime, _, _ = struct.unpack("=IIQiIQQQ", attributes.raw[:48])
    return policy, nice, runtime


@pytest.mark.skipif(GET_ATTRIBUTES is None, reason="no number known for sched_getattr here")
def test_the_slice_is_short_within_the_scope_and_nothing_else_changes():
    def look():
        before = _scheduling()
        with short_slice() as heard:
            within = _scheduling()
        return heard, before, within, _scheduling()

    heard, before, within, after = _in_a_thread(look)
    assert within[:2] == before[:2]
    assert after == before
    # A container may forbid the call, and a kernel before 6.12 takes it and changes nothing.
    if heard and RELEASE >= (6, 12):
        assert within[2] == SLICE_NS
        assert before[2] != SLICE_NS


def test_a_thread_of_another_class_is_left_alone():
    def look():
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
        with short_slice() as heard:
            return heard, os.sched_getscheduler(0)

    assert _in_a_thread(look) == (False, os.SCHED_BATCH)
