"""The memory of the workers: every array a kernel reaches by address, owned here.

`WorkerMemory` must outlive the kernel that runs on it: the address in `context` keeps nothing alive by itself.
Tables are allocated at full capacity but touched only where they are used, so an idle worker costs little memory.
"""

import mmap
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from media.native import (
    IOVEC,
    MMSGHDR,
    POLLFD,
    POLLIN,
    SEGMENT_CONTROL,
    SEGMENT_CONTROL_BYTES,
    SO_MEMINFO_WORDS,
    SOL_UDP,
    TIMESPEC,
    UDP_SEGMENT,
)
from media.ring import new_cursors
from media.sha1 import BLOCK_WORDS, DIGEST_WORDS
from media.tables import (
    ADDRESS,
    COMMAND,
    CONTEXT,
    EVENT,
    GROUP,
    HISTORY,
    HISTORY_SPAN,
    INBOUND,
    OUTBOUND,
    PACKET,
    PACKET_BYTES,
    PEER,
    PENDING,
    RECEIVE_BATCH,
    RECEIVE_BYTES,
    RECEIVE_STRIDE,
    RING_CURSOR_WORDS,
    SEND_BATCH,
    SEND_BUFFER_BYTES,
    SEND_EAGERLY,
    SOCKADDR_BYTES,
    TAP,
    TRACK,
)
from media.verdicts import Verdict

Array = np.ndarray[Any, np.dtype[Any]]

COUNTER_WORDS = 64
LARGE_BYTES = 65_536
assert len(Verdict) <= COUNTER_WORDS


@dataclass(frozen=True)
class Capacity:
    """How many rows the tables of one worker have. Rings and hash sizes are powers of two."""

    peers: int = 8192
    tracks: int = 32768
    inbound: int = 16384
    outbound: int = 65536
    groups: int = 8192
    history: int = 8192
    commands: int = 8192
    events: int = 1024
    taps: int = 1024

    @property
    def addresses(self) -> int:
        """Slots of the address hash: at most half full with every peer at its limit of addresses."""
        return 1 << (self.peers * 8 - 1).bit_length()


def untouched(shape: int | tuple[int, ...], dtype: Any) -> Array:
    """Return zeros that take memory only where they are touched, and give it back when they are freed.

    That is what `np.zeros` does, until malloc has seen arrays of some megabytes come and go: from then on it takes such
    from its heap and clears them, and tables of which hardly anything is used weigh a hundred megabytes.
    """
    count, kind = int(np.prod(shape)), np.dtype(dtype)
    if count * kind.itemsize < LARGE_BYTES:
        return np.zeros(shape, kind)
    pages = mmap.mmap(-1, count * kind.itemsize, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    return np.frombuffer(pages, kind, count).reshape(shape)


class SharedMemory:
    """What all workers and mixers of a relay share: the taps between them and the flags that say who sleeps."""

    def __init__(self, workers: int, capacity: Capacity) -> None:
        # A lone worker has nobody to tap; one slot keeps the addresses valid.
        slots = capacity.taps if workers > 1 else 1
        self.workers = workers
        self.taps: Array = untouched((workers * workers, slots), TAP)
        self.cursors: Array = untouched((workers * workers, RING_CURSOR_WORDS), np.int64)
        self.sleep_flags: Array = untouched((workers, 8), np.int64)
        self.wake_fds: Array = untouched(workers, np.int64)


class WorkerMemory:
    """The tables, rings and buffers of one worker, and the CONTEXT that points at them."""

    def __init__(
        self,
        *,
        worker: int,
        shared: SharedMemory,
        capacity: Capacity,
        socket: int,
        wake_fd: int,
        event_fd: int,
        keyframe_interval_ns: int,
        real_time: bool = False,
    ) -> None:
        self.capacity = capacity
        self.peers: Array = untouched(capacity.peers, PEER)
        self.tracks: Array = untouched(capacity.tracks, TRACK)
        self.inbound: Array = untouched(capacity.inbound, INBOUND)
        self.outbound: Array = untouched(capacity.outbound, OUTBOUND)
        self.groups: Array = untouched(capacity.groups, GROUP)
        self.commands: Array = untouched(capacity.commands, COMMAND)
        self.command_cursors = new_cursors()
        self.events: Array = untouched(capacity.events, EVENT)
        self.event_cursors = new_cursors()
        self.counters: Array = untouched(COUNTER_WORDS, np.int64)
        self._shared = shared
        self._buffers: dict[str, Array] = {
            "addresses": untouched(capacity.addresses, ADDRESS),
            "history": untouched(capacity.history, HISTORY),
            "history_index": untouched((capacity.inbound, HISTORY_SPAN), np.int32),
            "receive_bytes": untouched((RECEIVE_BATCH, RECEIVE_STRIDE), np.uint8),
            "receive_addresses": untouched((RECEIVE_BATCH, SOCKADDR_BYTES), np.uint8),
            "receive_messages": untouched(RECEIVE_BATCH, MMSGHDR),
            "send_bytes": untouched(SEND_BUFFER_BYTES, np.uint8),
            "send_pending": untouched(SEND_BATCH, PENDING),
            "send_vectors": untouched(SEND_BATCH, IOVEC),
            "send_messages": untouched(SEND_BATCH, MMSGHDR),
            "send_controls": untouched(SEND_BATCH, SEGMENT_CONTROL),
            "poll": untouched(2, POLLFD),
            "clock": untouched(1, TIMESPEC),
            "packet_length": untouched(1, np.int32),
            "wake_count": np.ones(2, np.int64),
            "iv": untouched(12, np.uint8),
            "key": untouched(3, np.int64),
            "names": untouched(64, np.uint8),
            "packet": untouched(1, PACKET),
            "report": untouched(PACKET_BYTES, np.uint8),
            "block": untouched(8, np.int64),
            "wanted": untouched(8, np.int64),
            "digest": untouched(DIGEST_WORDS, np.int64),
            "schedule": untouched(BLOCK_WORDS, np.int64),
            "socket_memory": untouched(SO_MEMINFO_WORDS + 1, np.int32),
        }
        self._receive_vectors: Array = untouched(RECEIVE_BATCH, IOVEC)
        self._wire_messages()
        self._buffers["poll"]["fd"] = (socket, wake_fd)
        self._buffers["poll"]["events"] = POLLIN
        self.context: Array = untouched(1, CONTEXT)
        self._set(
            {
                "worker": worker,
                "workers": shared.workers,
                "socket": socket,
                "wake_fd": wake_fd,
                "event_fd": event_fd,
                "peer_capacity": capacity.peers,
                "track_capacity": capacity.tracks,
                "inbound_capacity": capacity.inbound,
                "outbound_capacity": capacity.outbound,
                "group_capacity": capacity.groups,
                "address_mask": capacity.addresses - 1,
                "history_capacity": capacity.history,
                "keyframe_interval_ns": keyframe_interval_ns,
                "real_time_wanted": real_time,
                "segmentation": 1,
                "send_limit": SEND_EAGERLY,
                "peers": self.peers.ctypes.data,
                "tracks": self.tracks.ctypes.data,
                "inbound": self.inbound.ctypes.data,
                "outbound": self.outbound.ctypes.data,
                "groups": self.groups.ctypes.data,
                "counters": self.counters.ctypes.data,
                "commands": self.commands.ctypes.data,
                "command_cursors": self.command_cursors.ctypes.data,
                "command_mask": capacity.commands - 1,
                "events": self.events.ctypes.data,
                "event_cursors": self.event_cursors.ctypes.data,
                "event_mask": capacity.events - 1,
                "taps": shared.taps.ctypes.data,
                "tap_cursors": shared.cursors.ctypes.data,
                "tap_mask": shared.taps.shape[1] - 1,
                "sleep_flags": shared.sleep_flags.ctypes.data,
                "wake_fds": shared.wake_fds.ctypes.data,
            }
        )
        self._set({name: array.ctypes.data for name, array in self._buffers.items()})
        shared.wake_fds[worker] = wake_fd

    @property
    def address(self) -> int:
        """What `media.worker.run_worker` takes."""
        return int(self.context.ctypes.data)

    def _set(self, fields: Mapping[str, int]) -> None:
        for name, value in fields.items():
            self.context[name] = value

    def _wire_messages(self) -> None:
        buffers = self._buffers
        rows = np.arange(RECEIVE_BATCH, dtype=np.uint64)
        self._receive_vectors["base"] = buffers["receive_bytes"].ctypes.data + rows * RECEIVE_STRIDE
        self._receive_vectors["length"] = RECEIVE_BYTES
        incoming = buffers["receive_messages"]
        incoming["name"] = buffers["receive_addresses"].ctypes.data + rows * SOCKADDR_BYTES
        incoming["name_length"] = SOCKADDR_BYTES
        incoming["iov"] = self._receive_vectors.ctypes.data + rows * IOVEC.itemsize
        incoming["iov_count"] = 1
        controls = buffers["send_controls"]
        controls["length"] = SEGMENT_CONTROL_BYTES
        controls["level"] = SOL_UDP
        controls["type"] = UDP_SEGMENT
