"""Compiles every kernel the relay runs, or loads it from the cache.

The kernels are simply run once, on a worker of the smallest size that has no socket and is told to stop: what numba
compiles for is then, by construction, what the relay calls with.
"""

import numpy as np

from media.operations import Operation
from media.ring import pop_records, push_records, read_count
from media.state import Capacity, SharedMemory, WorkerMemory
from media.tables import COMMAND, EVENT
from media.worker import run_worker

_SMALLEST = Capacity(
    peers=1, tracks=1, inbound=1, outbound=1, groups=1, history=1, commands=2, events=2, taps=2
)
_NO_DESCRIPTOR = -1


def warm_up() -> None:
    """Blocks: about a minute from a cold cache, a second from a warm one. Call it from a thread, before serving."""
    memory = WorkerMemory(
        worker=0,
        shared=SharedMemory(1, _SMALLEST),
        capacity=_SMALLEST,
        socket=_NO_DESCRIPTOR,
        wake_fd=_NO_DESCRIPTOR,
        event_fd=_NO_DESCRIPTOR,
        keyframe_interval_ns=0,
    )
    stop = np.zeros(1, COMMAND)
    stop["operation"] = Operation.STOP
    push_records(memory.commands, memory.command_cursors, stop)
    run_worker(memory.address)
    assert read_count(memory.command_cursors) == 1
    pop_records(memory.events, memory.event_cursors, np.zeros(1, EVENT))
