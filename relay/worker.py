"""A relay worker seen from the control plane: its thread, its socket, its events and what can be read of its tables."""

import os
import socket as socketlib
import time
from functools import partial
from typing import Any, Final, Protocol

import numpy as np
import trio

from media.native import SO_MEMINFO, SO_MEMINFO_DROPS, SO_MEMINFO_WORDS
from media.operations import Operation
from media.ring import pop_records
from media.state import Capacity, SharedMemory, WorkerMemory
from media.tables import EVENT, EVENT_DATAGRAM, NONE
from media.verdicts import Verdict
from media.worker import run_worker
from relay.command_port import CommandPort, Row
from relay.overload import SHED_VERDICTS, OverloadEvent, OverloadWatch
from relay.stun import Address
from relay.udp import decode_address

EVENT_BATCH: Final = 64
"""Events handled between two checkpoints, so that a flood of checks does not hold up the other tasks."""

TURN_NS: Final = 1_000_000
"""Time after which a checkpoint comes all the same: 64 flights of DTLS handshakes would take 20 ms (a storm of joins)."""


class EventHandler(Protocol):
    """What the router does with a worker's events. Both run on the Trio thread and must not block."""

    def receive_datagram(
        self, worker: "Worker", data: bytes, source: Address, peer_row: int, now_ns: int
    ) -> None:
        """STUN or DTLS arrived; `peer_row` is NONE when the source is nobody's yet."""

    def discover_stream(
        self, worker: "Worker", peer_row: int, ssrc: int, payload_type: int, mid: str
    ) -> None:
        """A peer sends an SSRC it did not announce; `mid` as the packet said, or empty."""

    def tell_overload(self, event: OverloadEvent) -> None:
        """A worker's overload has begun or is over."""


class Worker(CommandPort[Operation]):
    """One compiled loop on one UDP port."""

    title = "worker"

    def __init__(
        self,
        *,
        index: int,
        shared: SharedMemory,
        capacity: Capacity,
        socket: socketlib.socket,
        keyframe_interval_ns: int,
        real_time: bool,
    ) -> None:
        self.socket = socket
        self.port: int = socket.getsockname()[1]
        wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._event_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.memory = WorkerMemory(
            worker=index,
            shared=shared,
            capacity=capacity,
            socket=socket.fileno(),
            wake_fd=wake_fd,
            event_fd=self._event_fd,
            keyframe_interval_ns=keyframe_interval_ns,
            real_time=real_time,
        )
        super().__init__(
            index=index,
            commands=self.memory.commands,
            cursors=self.memory.command_cursors,
            wake_fd=wake_fd,
            capacity={
                Operation.CLOSE_PEER: capacity.peers,
                Operation.CLOSE_TRACK: capacity.tracks,
                Operation.CLOSE_INBOUND: capacity.inbound,
                Operation.CLOSE_OUTBOUND: capacity.outbound,
                Operation.CLOSE_GROUP: capacity.groups,
            },
            stop=Operation.STOP,
        )
        # Columns asked for again and again: looking one up in the table takes longer than reading it.
        self._now_ns = self.memory.context["now_ns"]
        self._levels_ns = self.memory.tracks["level_ns"]
        self._levels_dbov = self.memory.tracks["level_dbov"]
        self._events = np.zeros(EVENT_BATCH, EVENT)
        self._overload = OverloadWatch(index)
        self.load = 0
        """Peers on this worker; kept by the router, which spreads them."""
        self.control_datagrams_dropped = 0
        """STUN and DTLS datagrams the socket refused: a full buffer, or an unreachable address."""

    async def run(self, handler: EventHandler, *, task_status: trio.TaskStatus[None]) -> None:
        """Run the kernel and hand its events over until cancelled; then stop it, join it and retire all rows."""
        pump = partial(self._pump_events, handler)
        await self._run_thread(run_worker, self.memory.context, "relay worker", pump, task_status=task_status)

    def release(self) -> None:
        """Close the socket and the descriptors of a worker that does not run, or no longer. Call once."""
        os.close(self._wake_fd)
        os.close(self._event_fd)
        self.socket.close()

    async def _pump_events(self, handler: EventHandler) -> None:
        while True:
            await trio.lowlevel.wait_readable(self._event_fd)
            os.eventfd_read(self._event_fd)
            self._watch_overload(handler)
            # Read before the events are drained: a row is given out anew only when no event of its last use is left.
            acknowledged = self._applied()
            while taken := pop_records(self.memory.events, self.memory.event_cursors, self._events):
                turn_ends_ns = time.monotonic_ns() + TURN_NS
                for event in self._events[:taken]:
                    self._dispatch(handler, event)
                    if time.monotonic_ns() >= turn_ends_ns:
                        await trio.lowlevel.checkpoint()
                        turn_ends_ns = time.monotonic_ns() + TURN_NS
                await trio.lowlevel.checkpoint()
            self._acknowledge(acknowledged)

    def _watch_overload(self, handler: EventHandler) -> None:
        if self._overload.is_quiet and not self.shedding:
            return
        counters = self.memory.counters
        event = self._overload.update(
            level=self.shedding,
            tracks=self.shed_tracks,
            wait_ms=self.queue_wait_ms,
            shed={verdict.name.lower(): int(counters[verdict]) for verdict in SHED_VERDICTS},
            now_ns=time.monotonic_ns(),
        )
        if event is not None:
            handler.tell_overload(event)

    def _dispatch(self, handler: EventHandler, event: Any) -> None:
        row = int(event["peer"])
        if event["kind"] == EVENT_DATAGRAM:
            data = event["data"][: int(event["length"])].tobytes()
            source = decode_address(event["address"].tobytes())
            handler.receive_datagram(self, data, source, row, int(event["time_ns"]))
        else:
            mid = event["data"][: int(event["length"])].tobytes().decode("ascii", "replace")
            handler.discover_stream(self, row, int(event["ssrc"]), int(event["payload_type"]), mid)

    def send_datagram(self, data: bytes, sockaddr: tuple[Any, ...]) -> None:
        """Send from this worker's port, now, or drop: STUN and DTLS repeat themselves."""
        try:
            self.socket.sendto(data, sockaddr)
        except OSError:
            self.control_datagrams_dropped += 1

    @property
    def shedding(self) -> int:
        """The grade up to which packets are shed, 0 none (`media.overload`)."""
        return int(self.memory.context["shedding"][0])

    @property
    def is_real_time(self) -> bool:
        """Whether its thread is a real-time one now (`media.priority`)."""
        return bool(self.memory.context["real_time"][0])

    @property
    def shed_tracks(self) -> int:
        """Tracks that nobody gets, for now."""
        return int(self.memory.context["shed_tracks"][0])

    @property
    def queue_wait_ms(self) -> float:
        """The shortest time a packet waited in the receive queue, in the last window of 50 ms."""
        return int(self.memory.context["wait_ns"][0]) / 1e6

    def datagrams_dropped(self) -> int:
        """Datagrams the system had no room for in the socket's receive buffer."""
        memory = self.socket.getsockopt(socketlib.SOL_SOCKET, SO_MEMINFO, SO_MEMINFO_WORDS * 4)
        return int(np.frombuffer(memory, np.uint32)[SO_MEMINFO_DROPS])

    def last_received_ns(self, row: Row) -> int:
        """When the last authentic SRTP or SRTCP packet of a peer, or check that the worker answered, arrived."""
        return int(self.memory.peers["last_received_ns"][row.index])

    def level_dbov(self, row: Row, max_age_ns: int) -> int | None:
        """Smoothed RFC 6464 level of a track; None when none has come for so long."""
        if self._now_ns.item(0) - self._levels_ns.item(row.index) > max_age_ns:
            return None
        level: float = self._levels_dbov.item(row.index)
        return round(level)

    def silent_peers(self, since_ns: int) -> list[int]:
        """Rows of open peers of whom nothing authentic has reached the worker since then. Cheap: thousands are not in it."""
        peers = self.memory.peers
        return np.flatnonzero((peers["last_received_ns"] < since_ns) & (peers["generation"] != 0)).tolist()

    def last_check_ns(self, row: Row) -> int:
        """When the worker last answered a check of a peer, from its selected address; 0 when it never did."""
        return int(self.memory.peers["last_check_ns"][row.index])

    def verdicts(self) -> dict[str, int]:
        """The counters, by name."""
        return {verdict.name.lower(): int(self.memory.counters[verdict]) for verdict in Verdict}


__all__ = ["NONE", "EventHandler", "Row", "Worker"]
