"""A relay worker seen from the control plane: its thread, its socket, its rings and its table rows.

`post` sends a command; `open_row` and `retire_row` give rows out and take them back. A retired row, and whatever else
is handed to `when_applied` (SRTP sessions above all), is released only after the worker has acknowledged everything
posted before: until then a packet under way may still touch it.
"""

import os
import socket as socketlib
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any, Final, Protocol

import numpy as np
import trio

from media.native import SO_MEMINFO, SO_MEMINFO_DROPS, SO_MEMINFO_WORDS
from media.operations import Operation
from media.ring import pop_records, push_records, read_count
from media.state import Capacity, SharedMemory, WorkerMemory
from media.tables import COMMAND, EVENT, EVENT_DATAGRAM, NONE, RING_WRITTEN
from media.verdicts import Verdict
from media.worker import run_worker
from relay.errors import CapacityError
from relay.overload import SHED_VERDICTS, OverloadEvent, OverloadWatch
from relay.scheduling import favoured
from relay.stun import Address
from relay.udp import decode_address

EVENT_BATCH: Final = 64
"""Events handled between two checkpoints, so that a flood of checks does not hold up the other tasks."""

TURN_NS: Final = 1_000_000
"""Time after which a checkpoint comes all the same: 64 flights of DTLS handshakes would take 20 ms (a storm of joins)."""

_generations = count(1)


@dataclass(frozen=True)
class Row:
    """One use of one table row."""

    index: int
    generation: int


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


class Worker:
    """One compiled loop on one UDP port."""

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
        self.index = index
        self.socket = socket
        self.port: int = socket.getsockname()[1]
        self._wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._event_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.memory = WorkerMemory(
            worker=index,
            shared=shared,
            capacity=capacity,
            socket=socket.fileno(),
            wake_fd=self._wake_fd,
            event_fd=self._event_fd,
            keyframe_interval_ns=keyframe_interval_ns,
            real_time=real_time,
        )
        # Columns asked for again and again: looking one up in the table takes longer than reading it.
        self._now_ns = self.memory.context["now_ns"]
        self._levels_ns = self.memory.tracks["level_ns"]
        self._levels_dbov = self.memory.tracks["level_dbov"]
        self._free: dict[Operation, deque[int]] = {
            Operation.CLOSE_PEER: deque(range(capacity.peers)),
            Operation.CLOSE_TRACK: deque(range(capacity.tracks)),
            Operation.CLOSE_INBOUND: deque(range(capacity.inbound)),
            Operation.CLOSE_OUTBOUND: deque(range(capacity.outbound)),
            Operation.CLOSE_GROUP: deque(range(capacity.groups)),
        }
        self._capacity = {operation: len(rows) for operation, rows in self._free.items()}
        self._posted = 0
        self._commands_wait = trio.Event()
        # Commands the ring had no room for. Bounded by the rows there are: each open row has a few commands at most.
        self._overflow: deque[np.ndarray[Any, Any]] = deque()
        self._retirements: deque[tuple[int, Callable[[], None]]] = deque()
        self._command = np.zeros(1, COMMAND)
        self._events = np.zeros(EVENT_BATCH, EVENT)
        self._overload = OverloadWatch(index)
        self.load = 0
        """Peers on this worker; kept by the router, which spreads them."""
        self.control_datagrams_dropped = 0
        """STUN and DTLS datagrams the socket refused: a full buffer, or an unreachable address."""

    async def run(self, handler: EventHandler, *, task_status: trio.TaskStatus[None]) -> None:
        """Run the kernel and hand its events over until cancelled; then stop it, join it and retire all rows."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._run_kernel)
                nursery.start_soon(self._pump_events, handler)
                nursery.start_soon(self._wake_kernel)
                task_status.started()
                try:
                    await trio.sleep_forever()
                finally:
                    self.post(Operation.STOP, 0)
        finally:
            self._acknowledge(self._posted)

    def release(self) -> None:
        """Close the socket and the descriptors of a worker that does not run, or no longer. Call once."""
        os.close(self._wake_fd)
        os.close(self._event_fd)
        self.socket.close()

    async def _run_kernel(self) -> None:
        def run() -> None:
            # Where it shares its core with our own handshakes, packets go first.
            with favoured() as ours:
                self.memory.context["real_time_wanted"] &= ours
                run_worker(self.memory.address)

        # A limiter of its own: as many threads as workers, whatever else the program runs in threads.
        await trio.to_thread.run_sync(run, limiter=trio.CapacityLimiter(1), thread_name="relay worker")

    async def _wake_kernel(self) -> None:
        """Wake the kernel for new commands, once for all that one pass of the scheduler has posted.

        Waking costs two switches of threads and a round of the kernel; an offer posts five commands. Packets need not
        wait for this: whichever wakes the kernel finds the commands applied first.
        """
        while True:
            await self._commands_wait.wait()
            self._commands_wait = trio.Event()
            os.eventfd_write(self._wake_fd, 1)

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

    def post(
        self,
        operation: Operation,
        row: int,
        values: tuple[int, ...] = (),
        blob: bytes = b"",
        generation: int = 0,
    ) -> None:
        """Send one command. Never blocks; commands are applied in order, but STOP may overtake."""
        command = self._command
        command["operation"] = operation
        command["row"] = row
        command["generation"] = generation
        command["values"][0, : len(values)] = values
        if blob:
            command["blob"][0, : len(blob)] = np.frombuffer(blob, np.uint8)
        self._posted += 1
        if operation is Operation.STOP:
            self._push(command, reserve=0)
            os.eventfd_write(self._wake_fd, 1)  # now: the task that would do it is being cancelled
            return
        if self._overflow or not self._push(command):
            self._overflow.append(command.copy())
        self._commands_wait.set()

    def take_row(self, retire_by: Operation) -> Row:
        """Give out a free row of the table that `retire_by` closes rows of. Post the command that opens it next.

        Raises: CapacityError when the table is full.
        """
        self.require({retire_by: 1})
        return Row(self._free[retire_by].popleft(), next(_generations))

    def open_row(self, operation: Operation, retire_by: Operation, values: tuple[int, ...]) -> Row:
        """`take_row`, and post the command that opens it."""
        row = self.take_row(retire_by)
        self.post(operation, row.index, values, generation=row.generation)
        return row

    def require(self, rows: Mapping[Operation, int]) -> None:
        """Check that this many rows are free, so that what follows cannot fail halfway.

        Raises: CapacityError.
        """
        for operation, needed in rows.items():
            if len(self._free[operation]) < needed:
                table = operation.name.removeprefix("CLOSE_").lower()
                raise CapacityError(
                    f"worker {self.index} has {len(self._free[operation])} of {self._capacity[operation]} "
                    f"{table} rows left, {needed} needed"
                )

    def retire_row(self, operation: Operation, row: Row) -> None:
        """Post the command that closes a row; the row is free again once it has been applied."""
        self.post(operation, row.index)
        self.when_applied(lambda: self._free[operation].append(row.index))

    def when_applied(self, release: Callable[[], None]) -> None:
        """Call `release` when everything posted so far has been applied."""
        self._retirements.append((self._posted, release))

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

    def capacity_of(self, operation: Operation) -> int:
        """How many rows the table has that `operation` closes rows of."""
        return self._capacity[operation]

    def in_use(self, operation: Operation) -> int:
        """How many rows are given out of the table that `operation` closes rows of."""
        return self._capacity[operation] - len(self._free[operation])

    def is_full(self, operation: Operation) -> bool:
        """Whether no row is free in the table that `operation` closes rows of."""
        return not self._free[operation]

    def rows_in_use(self) -> dict[str, int]:
        """How many rows of each table are given out."""
        return {
            operation.name.removeprefix("CLOSE_").lower(): self.in_use(operation) for operation in self._free
        }

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

    def _push(self, command: np.ndarray[Any, Any], reserve: int = 1) -> bool:
        """Put a command into the ring. A slot stays free for STOP: when that is posted, nobody else makes room."""
        memory = self.memory
        free = memory.commands.size - (int(memory.command_cursors[RING_WRITTEN]) - self._applied())
        return free > reserve and push_records(memory.commands, memory.command_cursors, command) == 1

    def _applied(self) -> int:
        return int(read_count(self.memory.command_cursors))

    def _acknowledge(self, applied: int) -> None:
        while self._overflow and self._push(self._overflow[0]):
            self._overflow.popleft()
            self._commands_wait.set()
        while self._retirements and self._retirements[0][0] <= applied:
            self._retirements.popleft()[1]()


__all__ = ["NONE", "EventHandler", "Row", "Worker"]
