"""Frames that wait for the reader of one stream. No tasks, no I/O."""

from dataclasses import replace

from voicebot.audio.ending_queue import EndingQueue
from voicebot.audio.frame import AudioFrame

#: Some seconds of frames of 20 ms. Overflow policy: the oldest goes, ``dropped`` counts it, the next one says ``gap``.
CAPACITY = 64


class Inbox(EndingQueue[AudioFrame]):
    """A bounded queue between the socket and the reader, which never holds the socket up."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        super().__init__()
        self._capacity = capacity
        #: Whether something was lost before the first frame that waits, and before the next that comes.
        self._gap = self._next_gap = False
        #: Frames that nobody took in time.
        self.dropped = 0

    def put_nowait(self, frame: AudioFrame) -> None:
        """Append a frame; after ``end`` it goes nowhere."""
        if self.ended is not None:
            return
        if self._next_gap:
            self._next_gap = False
            frame = replace(frame, gap=True)
        if len(self._waiting) == self._capacity:
            self._waiting.popleft()
            self.dropped += 1
            self._gap = True
        self._put(frame)

    def mark_gap(self) -> None:
        """Let the next frame say that something was lost before it."""
        self._next_gap = True

    def _take(self) -> AudioFrame:
        frame = super()._take()
        if self._gap:
            # The oldest went: what was lost is before the first that is left.
            self._gap = False
            frame = replace(frame, gap=True)
        return frame
