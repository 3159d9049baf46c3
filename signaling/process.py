"""What this process uses, from ``/proc`` (which is memory, not disk) and ``times``."""

import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path

_STATM = Path("/proc/self/statm")
_DESCRIPTORS = Path("/proc/self/fd")
_STATUS = Path("/proc/self/status")


@dataclass(frozen=True, slots=True)
class ProcessStatistics:
    """See the module. Zero where the system does not tell."""

    pid: int
    cpu_seconds: float
    resident_bytes: int
    threads: int
    descriptors: int


def process_statistics() -> ProcessStatistics:
    """Return what this process uses now. Cost: some 50 microseconds and one more for every ten descriptors."""
    return ProcessStatistics(
        pid=os.getpid(),
        cpu_seconds=time.process_time(),
        resident_bytes=_resident_bytes(),
        threads=_threads(),
        descriptors=_descriptors(),
    )


def _resident_bytes() -> int:
    try:
        return int(_STATM.read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError, ValueError):
        return 0


def _threads() -> int:
    try:
        for line in _STATUS.read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            if name == "Threads":
                return int(value)
    except (OSError, ValueError):
        pass
    return threading.active_count()


def _descriptors() -> int:
    try:
        return len(os.listdir(_DESCRIPTORS)) - 1  # noqa: PTH208 - Path.iterdir is slower; one is this listing's own
    except OSError:
        return 0
