"""Waiting for what the relay's workers do, and looking at it."""

import os
from collections.abc import Callable

import trio

from relay import Router


async def commands_applied(router: Router) -> None:
    """Wait until every worker has done what it was told so far."""
    for worker in router.workers:
        applied = trio.Event()
        worker.when_applied(applied.set)
        os.eventfd_write(worker._event_fd, 1)
        await applied.wait()


async def eventually(condition: Callable[[], object]) -> None:
    """Wait for what changes without telling anybody: memory of a worker, for instance. Look every millisecond."""
    while not condition():  # noqa: ASYNC110 - there is no event to wait for
        await trio.sleep(0.001)


async def wait_verdict(router: Router, name: str, at_least: int) -> None:
    """Wait until a counter of the workers has come to a value."""
    await eventually(lambda: router.statistics().verdicts[name] >= at_least)


def rows_in_use(router: Router) -> list[dict[str, int]]:
    """Of each worker, by table."""
    return [dict(worker.rows) for worker in router.statistics().workers]
