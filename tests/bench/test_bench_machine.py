"""Pinning ends with its scope, for threads of a pool go on to do other work."""

import os

from bench.machine import Pinning, describe_machine, kept_to_client, pinned_thread

CORES = os.sched_getaffinity(0)
FIRST, LAST = min(CORES), max(CORES)


def test_a_pinned_thread_gets_its_cores_back():
    with pinned_thread(LAST):
        assert os.sched_getaffinity(0) == {LAST}
    assert os.sched_getaffinity(0) == CORES
    with pinned_thread(None):
        assert os.sched_getaffinity(0) == CORES


def test_what_is_not_measured_keeps_off_the_cores_that_are():
    with kept_to_client(Pinning(FIRST, LAST)):
        assert os.sched_getaffinity(0) == (CORES - {FIRST, LAST} or {LAST})
    assert os.sched_getaffinity(0) == CORES
    with kept_to_client(Pinning(None, None)):
        assert os.sched_getaffinity(0) == CORES


def test_the_machine_is_described():
    machine = describe_machine()
    assert machine.cores == len(CORES)
    assert machine.cpu
    assert machine.numba[0].isdigit()
