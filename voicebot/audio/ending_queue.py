"""A queue that comes to an end, for one who writes without waiting and those who read. No tasks, no I/O."""

from collections import deque
from typing import Generic, TypeVar

import trio

from voicebot.errors import VoicebotError

T = TypeVar("T")


class EndingQueue(Generic[T]):
    """How much may wait is the affair of who derives from it, and puts into it."""

    def __init__(self) -> None:
        self._waiting: deque[T] = deque()
        self._readers = trio.lowlevel.ParkingLot()
        self._error: VoicebotError | None = None
        #: Why no more come; None while they do.
        self.ended: str | None = None

    def end(self, reason: str, error: VoicebotError | None = None) -> None:
        """Let readers have what is there, and then the end, or this error; only the first counts."""
        if self.ended is None:
            self.ended = reason
            self._error = error
            self._readers.unpark_all()

    async def get(self) -> T | None:
        """Wait for the next; None: it was the last.

        Raises: the error given to ``end``, after the last.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        while not self._waiting:
            if self._error is not None:
                raise self._error
            if self.ended is not None:
                await trio.lowlevel.cancel_shielded_checkpoint()
                return None
            await self._readers.park()
        await trio.lowlevel.cancel_shielded_checkpoint()
        return self._take()

    def _put(self, one: T) -> None:
        self._waiting.append(one)
        self._readers.unpark()

    def _take(self) -> T:
        return self._waiting.popleft()
