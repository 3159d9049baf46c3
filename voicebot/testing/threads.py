"""Threads in tests whose time is virtual: while one works, time stands still.

A clock that jumps does so whenever all tasks wait, and a task that waits for a thread does: a lobby may have passed an hour before a file is
open. What takes real time then takes none.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import trio


@contextmanager
def threads_take_no_time() -> Iterator[None]:
    """Let ``trio.to_thread.run_sync`` keep the clock of this test from jumping, until the end of the scope."""
    run_sync: Callable[..., Any] = trio.to_thread.run_sync

    async def run_sync_in_no_time(function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        over = False

        async def keep_busy() -> None:
            while not over:
                await trio.lowlevel.cancel_shielded_checkpoint()

        result: Any = None
        failure: BaseException | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(keep_busy)
            try:
                result = await run_sync(function, *arguments, **options)
            except BaseException as error:  # noqa: BLE001 - it is raised below, and not in a group
                failure = error
            over = True
        if failure is not None:
            raise failure
        return result

    trio.to_thread.run_sync = run_sync_in_no_time  # type: ignore[assignment] # the same, but for its types
    try:
        yield
    finally:
        trio.to_thread.run_sync = run_sync  # type: ignore[assignment] # as it was
