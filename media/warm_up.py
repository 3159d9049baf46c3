"""Compiles every kernel the relay runs, or loads it from the cache.

The kernels are simply run once, on a worker of the smallest size that has no socket and is told to stop: what numba
compiles for is then, by construction, what the relay calls with.
"""

import numpy as np

from media.mixer.loop import run_mixer
from media.mixer.operations import MixerOperation
from media.mixer.ports import load_word, store_word
from media.mixer.state import MixerCapacity, MixerMemory
from media.mixer.tables import PCM_FRAME
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
    """Blocks: about two minutes from a cold cache, a second from a warm one. Call it from a thread, before serving."""
    _warm_up_worker()
    _warm_up_mixer()


def _warm_up_mixer() -> None:
    memory = MixerMemory(
        index=0,
        shared=SharedMemory(1, _SMALLEST),
        capacity=MixerCapacity(mixes=1, inputs=1, outputs=1, commands=2),
        wake_fd=_NO_DESCRIPTOR,
        event_fd=_NO_DESCRIPTOR,
    )
    _stop(memory.commands, memory.command_cursors, MixerOperation.STOP)
    run_mixer(memory.address)
    assert read_count(memory.command_cursors) == 1
    store_word(memory.port_words[0], 0, load_word(memory.port_words[0], 0))
    push_records(memory.frames[0], memory.frame_cursors[0], np.zeros(1, PCM_FRAME))
    pop_records(memory.frames[0], memory.frame_cursors[0], np.zeros(1, PCM_FRAME))


def _warm_up_worker() -> None:
    memory = WorkerMemory(
        worker=0,
        shared=SharedMemory(1, _SMALLEST),
        capacity=_SMALLEST,
        socket=_NO_DESCRIPTOR,
        wake_fd=_NO_DESCRIPTOR,
        event_fd=_NO_DESCRIPTOR,
        keyframe_interval_ns=0,
    )
    _stop(memory.commands, memory.command_cursors, Operation.STOP)
    run_worker(memory.address)
    assert read_count(memory.command_cursors) == 1
    pop_records(memory.events, memory.event_cursors, np.zeros(1, EVENT))


def _stop(commands: np.ndarray, cursors: np.ndarray, operation: int) -> None:
    stop = np.zeros(1, COMMAND)
    stop["operation"] = operation
    push_records(commands, cursors, stop)
