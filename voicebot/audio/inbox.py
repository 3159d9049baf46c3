"""Frames that wait for the reader of one stream. No tasks, no I/O."""

from collections import deque
from dataclasses import replace

import trio

from voicebot.audio.frame import AudioFrame
from voicebot.errors import VoicebotError

#: Some seconds of frames of 20 ms. Overflow policy: the oldest goes, ``dropped`` counts it, the next one says ``gap``.
CAPACITY = 64


class Inbox:
    """A bounded queue between the socket and the reader, which never holds the socket up."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._frames: deque[AudioFrame] = deque()
        self._capacity = capacity
        #: Whether something was lost before the first frame that waits, and before the next that comes.
        self._gap = self._next_gap = False
        self._readers = trio.lowlevel.ParkingLot()
        self._error: VoicebotError | None = None
        #: Why no frames come any more; None while they do.
        self.ended: str | None = None
        #: Frames that nobody took in time.
        self.dropped = 0

    def put_nowait(self, frame: AudioFrame) -> None:
        """Append a frame; after ``end`` it goes nowhere."""
        if self.ended is not None:
            return
        if self._next_gap:
            self._next_gap = False
            frame = replace(frame, gap=True)
        if len(self._frames) == self._capacity:
            self._frames.popleft()
            self.dropped += 1
            self._gap = True
        self._frames.append(frame)
        self._readers.unpark()

    def mark_gap(self) -> None:
        """Let the next frame say that something was lost before it."""
        self._next_gap = True

    def end(self, reason: str, error: VoicebotError | None = None) -> None:
        """Let readers have what is there, and then the end, or this error; only the first counts."""
        if self.ended is None:
            self.ended = reason
            self._error = error
            self._readers.unpark_all()

    async def get(self) -> AudioFrame | None:
        """Wait for the next frame; None: it was the last.

        Raises: the error given to ``end``, after the last frame.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        while not self._frames:
            if self._error is not None:
                raise self._error
            if self.ended is not None:
                await trio.lowlevel.cancel_shielded_checkpoint()
                return None
            await self._readers.park()
        await trio.lowlevel.cancel_shielded_checkpoint()
        frame = self._frames.popleft()
        if self._gap:
            # The oldest went: what was lost is before the first that is left.
            self._gap = False
            frame = replace(frame, gap=True)
        return frame
