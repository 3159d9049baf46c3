"""What the control plane and a kernel's thread have in common, whatever the kernel does: commands and table rows.

`post` sends a command; `open_row` and `retire_row` give rows out and take them back. A retired row, and whatever else
is handed to `when_applied` (SRTP sessions above all), is released only after the kernel has acknowledged everything
posted before: until then a packet under way may still touch it.
"""

import os
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from itertools import count
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
import trio

from media.ring import push_records, read_count
from media.tables import COMMAND, RING_WRITTEN
from relay.errors import CapacityError
from relay.scheduling import favoured

OperationT = TypeVar("OperationT", bound=IntEnum)

_generations = count(1)


@dataclass(frozen=True)
class Row:
    """One use of one table row."""

    index: int
    generation: int


class CommandPort(Generic[OperationT]):
    """The sending end of a kernel's command ring, and the rows of its tables.

    `capacity`: rows of each table, by the operation that closes one of them. `stop`: the operation that ends the kernel.
    """

    title: ClassVar[str]
    """What the kernel's thread is called in errors."""

    def __init__(
        self,
        *,
        index: int,
        commands: np.ndarray[Any, Any],
        cursors: np.ndarray[Any, np.dtype[np.int64]],
        wake_fd: int,
        capacity: Mapping[OperationT, int],
        stop: OperationT,
    ) -> None:
        self.index = index
        self._ring = commands
        self._cursors = cursors
        self._wake_fd = wake_fd
        self._stop = stop
        self._capacity = dict(capacity)
        self._free = {operation: deque(range(rows)) for operation, rows in capacity.items()}
        self._posted = 0
        self._commands_wait = trio.Event()
        # Commands the ring had no room for. Bounded by the rows there are: each open row has a few commands at most.
        self._overflow: deque[np.ndarray[Any, Any]] = deque()
        self._retirements: deque[tuple[int, Callable[[], None]]] = deque()
        self._command = np.zeros(1, COMMAND)

    def post(
        self,
        operation: OperationT,
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
        if operation == self._stop:
            self._push(command, reserve=0)
            os.eventfd_write(self._wake_fd, 1)  # now: the task that would do it is being cancelled
            return
        if self._overflow or not self._push(command):
            self._overflow.append(command.copy())
        self._commands_wait.set()

    def take_row(self, retire_by: OperationT) -> Row:
        """Give out a free row of the table that `retire_by` closes rows of. Post the command that opens it next.

        Raises: CapacityError when the table is full.
        """
        self.require({retire_by: 1})
        return Row(self._free[retire_by].popleft(), next(_generations))

    def open_row(self, operation: OperationT, retire_by: OperationT, values: tuple[int, ...]) -> Row:
        """`take_row`, and post the command that opens it."""
        row = self.take_row(retire_by)
        self.post(operation, row.index, values, generation=row.generation)
        return row

    def require(self, rows: Mapping[OperationT, int]) -> None:
        """Check that this many rows are free, so that what follows cannot fail halfway.

        Raises: CapacityError.
        """
        for operation, needed in rows.items():
            if len(self._free[operation]) < needed:
                table = operation.name.removeprefix("CLOSE_").lower()
                raise CapacityError(
                    f"{self.title} {self.index} has {len(self._free[operation])} of {self._capacity[operation]} "
                    f"{table} rows left, {needed} needed"
                )

    def retire_row(self, operation: OperationT, row: Row) -> None:
        """Post the command that closes a row; the row is free again once it has been applied."""
        self.post(operation, row.index)
        self.when_applied(lambda: self._free[operation].append(row.index))

    def when_applied(self, release: Callable[[], None]) -> None:
        """Call `release` when everything posted so far has been applied."""
        self._retirements.append((self._posted, release))

    def capacity_of(self, operation: OperationT) -> int:
        """How many rows the table has that `operation` closes rows of."""
        return self._capacity[operation]

    def in_use(self, operation: OperationT) -> int:
        """How many rows are given out of the table that `operation` closes rows of."""
        return self._capacity[operation] - len(self._free[operation])

    def is_full(self, operation: OperationT) -> bool:
        """Whether no row is free in the table that `operation` closes rows of."""
        return not self._free[operation]

    def rows_in_use(self) -> dict[str, int]:
        """How many rows of each table are given out."""
        return {
            operation.name.removeprefix("CLOSE_").lower(): self.in_use(operation) for operation in self._free
        }

    def _push(self, command: np.ndarray[Any, Any], reserve: int = 1) -> bool:
        """Put a command into the ring. A slot stays free for STOP: when that is posted, nobody else makes room."""
        free = self._ring.size - (int(self._cursors[RING_WRITTEN]) - self._applied())
        return free > reserve and push_records(self._ring, self._cursors, command) == 1

    def _applied(self) -> int:
        return int(read_count(self._cursors))

    def _acknowledge(self, applied: int) -> None:
        while self._overflow and self._push(self._overflow[0]):
            self._overflow.popleft()
            self._commands_wait.set()
        while self._retirements and self._retirements[0][0] <= applied:
            self._retirements.popleft()[1]()

    async def _run_thread(
        self,
        run: Callable[[int], None],
        context: np.ndarray[Any, Any],
        name: str,
        attend: Callable[[], Awaitable[None]],
        *,
        task_status: trio.TaskStatus[None],
    ) -> None:
        """Run a kernel in a thread of this name and `attend` to what it tells until cancelled.

        Then stop it, join it and retire all rows.
        """
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._run_kernel, run, context, name)
                nursery.start_soon(attend)
                nursery.start_soon(self._wake_kernel)
                task_status.started()
                try:
                    await trio.sleep_forever()
                finally:
                    self.post(self._stop, 0)
        finally:
            self._acknowledge(self._posted)

    async def _run_kernel(self, run: Callable[[int], None], context: np.ndarray[Any, Any], name: str) -> None:
        """Let a kernel run on its context in a thread until it is told to stop."""

        def run_favoured() -> None:
            # Where it shares its core with Python, what is on time goes first.
            with favoured() as ours:
                context["real_time_wanted"] &= ours
                run(context.ctypes.data)

        # A limiter of its own: as many threads as kernels, whatever else the program runs in threads.
        await trio.to_thread.run_sync(run_favoured, limiter=trio.CapacityLimiter(1), thread_name=name)

    async def _wake_kernel(self) -> None:
        """Wake the kernel for new commands, once for all that one pass of the scheduler has posted.

        Waking costs two switches of threads and a round of the kernel; an offer posts five commands. Packets need not
        wait for this: whichever wakes the kernel finds the commands applied first.
        """
        while True:
            await self._commands_wait.wait()
            self._commands_wait = trio.Event()
            os.eventfd_write(self._wake_fd, 1)
