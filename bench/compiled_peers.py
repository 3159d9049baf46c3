"""Compiled loops that play peers, each in a thread beside Trio."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import trio

from bench.machine import pinned_thread
from relay.scheduling import favoured


async def play_until_cancelled(
    loop: Callable[[int], None],
    record: np.ndarray[Any, Any],
    cpu: int | None,
    *,
    task_status: trio.TaskStatus[None],
) -> None:
    """Run a loop on the address of its record; when cancelled, let it read in `stopping` that it is to end, and join it."""

    def run() -> None:
        # As a worker's thread: it sleeps most of the time, too.
        with pinned_thread(cpu), favoured():
            loop(int(record.ctypes.data))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(trio.to_thread.run_sync, run, limiter=trio.CapacityLimiter(1)))
        task_status.started()
        try:
            await trio.sleep_forever()
        finally:
            record["stopping"] = 1
