"""CPU time and memory of a process, read from outside."""

import os
import subprocess
import sys
import threading
import time

import pytest

from bench.machine import describe_machine
from bench.process import sample_process, usage_between


def test_usage_counts_the_cpu_time_of_all_threads():
    before, cpu_before = sample_process(os.getpid()), time.process_time_ns()

    def burn():
        end = time.thread_time_ns() + 50_000_000
        while time.thread_time_ns() < end:
            pass

    done, release = threading.Event(), threading.Event()

    def work():
        burn()
        done.set()
        release.wait()

    thread = threading.Thread(target=work)
    thread.start()
    burn()
    done.wait()
    usage = usage_between(before, sample_process(os.getpid()))
    release.set()
    thread.join()
    assert usage.cpu_ns == pytest.approx(time.process_time_ns() - cpu_before, rel=0.2)
    assert sum(1 for spent in usage.threads_ns.values() if spent > 40_000_000) >= 2
    assert usage.peak_rss_bytes >= usage.rss_bytes > 10_000_000


def test_a_process_that_has_ended_is_reported():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    with pytest.raises(ProcessLookupError):
        sample_process(process.pid)


def test_the_machine_is_described():
    machine = describe_machine()
    assert machine.cores >= 1
    assert machine.cpu
    assert machine.python.startswith("CPython 3.")
