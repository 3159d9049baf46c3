"""What this machine offers the relay, found out before it runs: for `relay doctor`. Opens ports and closes them again."""

import ctypes
import os
import platform
import socket
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pylibsrtp

from media import native
from media.audio.opus_library import libopus
from media.jit import cache_directory
from media.worker import run_worker
from relay.errors import LocalProtocolError
from relay.scheduling import favoured
from relay.udp import BUFFER_BYTES, advertised_addresses, open_udp_socket

SHORT_SLICES_SINCE: Final = (6, 12)
"""Linux takes the wish of `relay.scheduling` from any version, and acts on it from this one (EEVDF slices)."""

LAST_PORT: Final = 65_535


@dataclass(frozen=True)
class PortFault:
    """A worker's port that cannot be opened, and why."""

    port: int
    reason: str


@dataclass(frozen=True)
class UdpBuffers:
    """What the system gives a worker's socket, of what it is asked for; in bytes of payload, as `setsockopt` counts."""

    wanted: int
    receive: int
    send: int


@dataclass(frozen=True)
class KernelCache:
    """Where compiled kernels are kept."""

    directory: Path
    writable: bool
    #: Whether the worker's kernel is there already; if not, the first start takes a minute or two.
    compiled: bool


def default_workers() -> int:
    """Workers a relay has that is not told how many: one per core but one, at least one."""
    return max(1, len(os.sched_getaffinity(0)) - 1)


def default_mixers() -> int:
    """Mixers likewise: one per eight cores, at least one. A mix for a thousand who listen takes a tenth of a core."""
    return max(1, len(os.sched_getaffinity(0)) // 8)


def announced_addresses(host: str, public_addresses: tuple[str, ...] = ()) -> tuple[str, ...]:
    """What clients would be told to send to.

    Raises: LocalProtocolError when an address is none.
    """
    return advertised_addresses(host, public_addresses)


def udp_port_faults(host: str, udp_port: int, workers: int) -> tuple[PortFault, ...]:
    """Return the ports that the workers could not have now."""
    faults = []
    for port in [udp_port + index for index in range(workers)] if udp_port else [0]:
        if port > LAST_PORT:
            faults.append(PortFault(port, f"there is no UDP port {port}; the last is {LAST_PORT}"))
            continue
        try:
            open_udp_socket(host, port).close()
        except LocalProtocolError as error:
            faults.append(PortFault(port, str(error)))
    return tuple(faults)


def udp_buffers(host: str) -> UdpBuffers:
    """Return what the system grants a socket opened as the workers open theirs.

    Raises: LocalProtocolError when none can be opened at all.
    """
    with open_udp_socket(host, 0) as opened:
        # Linux tells twice what it was asked for: the other half is for its own records (socket(7)).
        receive = opened.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // 2
        send = opened.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) // 2
    return UdpBuffers(BUFFER_BYTES, receive, send)


def libsrtp_version() -> str:
    """The version of the libsrtp whose functions the kernels call."""
    name = native.libsrtp.srtp_get_version_string
    name.restype = ctypes.c_char_p
    return f"{bytes(name()).decode()}, of pylibsrtp {pylibsrtp.__version__}"


def libopus_version() -> str:
    """The version of the libopus whose functions the mixer calls."""
    return str(libopus.opus_get_version_string().decode())


def kernel_cache() -> KernelCache:
    """Return where the kernels are, or will be."""
    directory = cache_directory()
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            writable = True
    except OSError:
        writable = False
    dispatcher: Any = run_worker
    here = Path(dispatcher._cache.cache_path)  # noqa: SLF001 - numba tells it nowhere else
    compiled = any(here.glob(f"{run_worker.__module__.rpartition('.')[2]}.*.nbi"))
    return KernelCache(directory, writable, compiled)


def real_time_allowed() -> bool:
    """Whether a worker may be a real-time thread (`media.priority`)."""

    def attempt() -> bool:
        with favoured(real_time=True):
            return os.sched_getscheduler(0) != os.SCHED_OTHER

    # In a thread of its own: the caller's may be of a class that `favoured` leaves alone.
    with ThreadPoolExecutor(1, initializer=_be_ordinary) as threads:
        return threads.submit(attempt).result()


def short_slices_known() -> bool:
    """Whether this Linux knows slices of different length, which a worker asks for where it may not be real-time."""
    release = platform.release().partition("-")[0].split(".")
    return tuple(int(part) for part in release[:2] if part.isdecimal()) >= SHORT_SLICES_SINCE


def _be_ordinary() -> None:
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
