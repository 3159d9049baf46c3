"""The wish for short slices: taken, and harmless."""

import ctypes
import os
import platform
import struct
import threading

import pytest

from relay.scheduling import SLICE_NS, shorten_slice

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
def test_the_slice_is_shortened_and_nothing_else_changes():
    before = _in_a_thread(_scheduling)

    def shorten():
        return shorten_slice(), _scheduling()

    taken, (policy, nice, runtime) = _in_a_thread(shorten)
    assert (policy, nice) == before[:2]
    if RELEASE >= (6, 12):
        assert taken
        assert runtime == SLICE_NS


def test_a_thread_of_another_class_is_left_alone():
    def shorten():
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
        return shorten_slice(), os.sched_getscheduler(0)

    assert _in_a_thread(shorten) == (False, os.SCHED_BATCH)
