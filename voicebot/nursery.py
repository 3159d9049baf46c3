"""A nursery whose background tasks keep their failures to themselves, so that the caller's come out bare."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import trio


@asynccontextmanager
async def open_bare_nursery() -> AsyncGenerator[trio.Nursery, None]:
    """Open a nursery that cancels its tasks when the body ends, and raises the body's own exception unwrapped.

    A library's ``async with`` must not turn ``KeyError`` of the body into ``ExceptionGroup([KeyError])``. When several
    tasks failed at once their group is raised as it is. Cancellations that came along are absorbed by the failure.
    """
    failure: BaseException | None = None
    try:
        async with trio.open_nursery() as nursery:
            yield nursery
            nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        _, failures = group.split(trio.Cancelled)
        if failures is None:
            raise
        # One level is the nursery's own; a group that the body raised stays a group.
        failure = failures.exceptions[0] if len(failures.exceptions) == 1 else failures
    if failure is not None:
        raise failure  # outside of the handler, so that the group is not shown as its context
