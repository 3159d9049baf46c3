"""Compiles every kernel the relay runs, or loads it from the cache.

The kernels are simply run once, on a worker of the smallest size that has no socket and is told to stop: what numba
compiles for is then, by construction, what the relay calls with.
"""

import subprocess
import sys
from pathlib import Path
from typing import Any

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
    """Blocks: a minute or two from a cold cache, a second from a warm one. Call it from a thread, before serving.

    numba compiles one function at a time in a process, so from a cold cache another process compiles the mixer meanwhile.
    Should that fail, it is compiled here.
    """
    compiler = None if _is_cached(run_mixer) else _start_compiler()
    _warm_up_worker()
    if compiler is not None:
        compiler.wait()
    warm_up_mixer()


def _is_cached(kernel: Any) -> bool:
    # numba tells it nowhere else. An index is written last, and its directory is named by all the sources.
    name = kernel.__module__.rpartition(".")[2]
    return any(Path(kernel._cache.cache_path).glob(f"{name}.{kernel.__name__}-*.nbi"))  # noqa: SLF001


def _start_compiler() -> "subprocess.Popen[bytes] | None":
    program = "from media.warm_up import warm_up_mixer; warm_up_mixer()"
    try:
        return subprocess.Popen(  # noqa: S603 - our own interpreter
            [sys.executable, "-c", program],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    except OSError:
        return None


def warm_up_mixer() -> None:
    """Compile, or load, what a mixer runs."""
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
