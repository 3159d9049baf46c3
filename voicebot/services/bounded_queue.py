"""A queue that never makes its writer wait: when it is full the oldest goes, and is counted."""

from collections import deque
from typing import Generic, Self, TypeVar

import trio

T = TypeVar("T")


class BoundedQueue(Generic[T]):
    """An async iterator of what was put in; it ends after ``close``."""

    def __init__(self, capacity: int) -> None:
        self._items: deque[T] = deque(maxlen=capacity)
        self._readers = trio.lowlevel.ParkingLot()
        self._closed = False
        #: Items dropped since the beginning.
        self.dropped = 0

    def put_nowait(self, item: T) -> None:
        """Append an item; after ``close`` it goes nowhere."""
        if self._closed:
            return
        self.dropped += len(self._items) == self._items.maxlen
        self._items.append(item)
        self._readers.unpark()

    def clear(self) -> None:
        """Forget what waits; that counts as dropped."""
        self.dropped += len(self._items)
        self._items.clear()

    def close(self) -> None:
        """Let readers have what is there, and then the end."""
        self._closed = True
        self._readers.unpark_all()

    def __aiter__(self) -> Self:
        return self

    # Not an async generator: one that is left in the middle must be closed by its user, which nobody remembers.
    async def __anext__(self) -> T:
        await trio.lowlevel.checkpoint_if_cancelled()
        while not self._items:
            if self._closed:
                raise StopAsyncIteration
            await self._readers.park()
        await trio.lowlevel.cancel_shielded_checkpoint()
        return self._items.popleft()
