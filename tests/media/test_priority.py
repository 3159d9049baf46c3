"""A worker's thread is a real-time one while it leaves its core to others, and an ordinary one while it does not."""

import os
import threading
import time

import pytest

from media.priority import (
    BUSY_PERMILLE,
    CALM_PERMILLE,
    CALM_WINDOWS,
    WINDOW_NS,
    ask_for_real_time,
    watch_priority,
)
from media.state import Capacity, SharedMemory, WorkerMemory

CAPACITY = Capacity(peers=1, tracks=1, inbound=1, outbound=1, history=1, commands=4, events=4, taps=2)
REAL_TIME = os.SCHED_RR | os.SCHED_RESET_ON_FORK


class Thread:
    """The state of one worker's thread, whose processor time the test sets instead of spending it."""

    def __init__(self):
        self.memory = WorkerMemory(
            worker=0,
            shared=SharedMemory(1, CAPACITY),
            capacity=CAPACITY,
            socket=-1,
            wake_fd=-1,
            event_fd=-1,
            keyframe_interval_ns=0,
            real_time=True,
        )
        self.context = self.memory.context[0]

    def ask(self):
        ask_for_real_time(self.context)

    def pass_window(self, used_permille):
        """Let one window pass in which the thread used this much of its core."""
        context = self.context
        window_ns = 1_000 * WINDOW_NS  # so long that the time this test takes does not matter
        context["priority_since_ns"] = context["now_ns"]
        context["now_ns"] += window_ns
        context["priority_cpu_ns"] = time_used_ns() - window_ns // 1_000 * used_permille
        watch_priority(self.context)


def time_used_ns():
    return time.clock_gettime_ns(time.CLOCK_THREAD_CPUTIME_ID)


def in_a_thread(do):
    """Priorities are of threads, and pytest's own is not ours to change."""
    found = []

    def run():
        # Threads inherit their class, and this machine's keepers have been seen to change that of pytest for a while.
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
        found.append(do())

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return found[0]


def allowed():
    def attempt():
        try:
            os.sched_setscheduler(0, REAL_TIME, os.sched_param(1))
        except OSError:
            return False
        return True

    return in_a_thread(attempt)


def test_it_is_asked_for_and_where_refused_not_again():
    def scene():
        thread = Thread()
        thread.ask()
        return (
            int(thread.context["real_time"]),
            int(thread.context["real_time_wanted"]),
            os.sched_getscheduler(0),
        )

    granted = allowed()
    assert in_a_thread(scene) == (granted, granted, REAL_TIME if granted else os.SCHED_OTHER)


@pytest.mark.parametrize("used", [BUSY_PERMILLE + 1, 1_000])
def test_a_busy_thread_is_an_ordinary_one_until_it_has_been_calm_for_a_while(used):
    def scene():
        policies = []
        thread = Thread()
        thread.ask()
        thread.pass_window(used)
        policies.append(os.sched_getscheduler(0))
        for _ in range(CALM_WINDOWS - 1):
            thread.pass_window(CALM_PERMILLE - 10)
            policies.append(os.sched_getscheduler(0))
        thread.pass_window(CALM_PERMILLE - 10)
        return policies, os.sched_getscheduler(0), int(thread.context["real_time"])

    busy, calm, told = in_a_thread(scene)
    assert set(busy) == {os.SCHED_OTHER}
    assert (calm, told) == ((REAL_TIME, 1) if allowed() else (os.SCHED_OTHER, 0))


def test_a_busy_window_among_calm_ones_starts_the_count_anew():
    def scene():
        thread = Thread()
        thread.ask()
        thread.pass_window(1_000)
        for _ in range(CALM_WINDOWS - 1):
            thread.pass_window(0)
        thread.pass_window(BUSY_PERMILLE + 1)
        for _ in range(CALM_WINDOWS - 1):
            thread.pass_window(0)
        return os.sched_getscheduler(0)

    assert in_a_thread(scene) == os.SCHED_OTHER


def test_between_the_marks_it_stays_what_it_is():
    def scene():
        thread = Thread()
        thread.ask()
        before = os.sched_getscheduler(0)
        thread.pass_window((BUSY_PERMILLE + CALM_PERMILLE) // 2)
        return before == os.sched_getscheduler(0)

    assert in_a_thread(scene)


def test_a_worker_that_was_told_not_to_never_asks():
    def scene():
        thread = Thread()
        thread.context["real_time_wanted"] = 0
        for _ in range(CALM_WINDOWS + 1):
            thread.pass_window(0)
        return os.sched_getscheduler(0)

    assert in_a_thread(scene) == os.SCHED_OTHER
