"""What waits to be sent to one client: a queue bounded in frames and bytes.

``put`` is synchronous and never waits, so that telling a lobby something costs the same whoever listens.
Overflow policy: the queue is emptied and the owner is told once that this client is too slow; it closes the
connection. Frames are not dropped one by one, for a client that missed an event would show something wrong.
"""

from collections import deque
from collections.abc import Callable

import trio

#: A join to a lobby of 1,000 while the client's radio sleeps: about this many events.
MAX_FRAMES = 1024


class Outbox:
    """See the module. One task takes; anybody puts."""

    def __init__(
        self, *, max_bytes: int, on_overflow: Callable[[], None], max_frames: int = MAX_FRAMES
    ) -> None:
        self._frames: deque[str] = deque()
        self._bytes = 0
        self._max_bytes = max_bytes
        self._max_frames = max_frames
        self._on_overflow = on_overflow
        self._ended = False
        self._waiting = trio.Event()

    def __len__(self) -> int:
        return len(self._frames)

    @property
    def queued_bytes(self) -> int:
        """Length of what waits, in characters of JSON (bytes, but for what is not ASCII)."""
        return self._bytes

    def put(self, text: str) -> None:
        """Queue a frame; nothing happens after ``end``."""
        if self._ended:
            return
        # A single frame larger than the whole queue (the snapshot of a huge lobby) may pass through an empty
        # one.
        full = self._frames and self._bytes + len(text) > self._max_bytes
        if full or len(self._frames) >= self._max_frames:
            self.end(discard=True)
            self._on_overflow()
            return
        self._append(text)

    def end(self, final: str | None = None, *, discard: bool = False) -> None:
        """Take nothing more; ``final`` is sent last, and ``discard`` drops what waits before it."""
        if discard:
            self._frames.clear()
            self._bytes = 0
        if final is not None:
            self._append(final)
        self._ended = True
        self._waiting.set()

    async def take(self) -> str | None:
        """Return the next frame, or None when the outbox has ended and is empty."""
        while not self._frames:
            if self._ended:
                return None
            self._waiting = trio.Event()
            await self._waiting.wait()
        text = self._frames.popleft()
        self._bytes -= len(text)
        return text

    def _append(self, text: str) -> None:
        self._frames.append(text)
        self._bytes += len(text)
        self._waiting.set()
