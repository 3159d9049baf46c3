"""A stream of frames to one client: made of the mixer's 20 ms, and kept for a while if the client does not take them.

Overflow policy: the queue is bounded, the oldest frame is dropped and counted, and the next one says that something is
missing before it. So a slow client hears what is newest, and nobody waits for it.
"""

from collections import deque
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from signaling.messages.audio_frames import SILENCE_DBOV, encode_audio_frame
from signaling.voices.mix import FRAME_MS, HeardFrame

#: 1.3 s of the shortest frames: longer than a line hiccups, and older sound is of no use to who answers people.
MAX_FRAMES = 64


class _Frame(NamedTuple):
    """A frame that waits to be fetched."""

    timestamp: int
    pcm: bytes
    level_dbov: int
    voiced: bool
    gap: bool


class HeardStream:
    """See the module. Timestamps are in samples, and those of its frames come without end or order of their own: see ``hear``."""

    __slots__ = (
        "_gap",
        "_level_dbov",
        "_lost",
        "_parts",
        "_parts_each",
        "_queue",
        "_timestamp",
        "_voiced",
        "dropped",
        "number",
        "rate",
    )

    def __init__(self, number: int, *, rate: int, frame_ms: int) -> None:
        self.number = number
        self.rate = rate
        #: Frames that were dropped.
        self.dropped = 0
        self._parts_each = frame_ms // FRAME_MS
        self._queue: deque[_Frame] = deque()
        # Frames before the oldest in the queue, or the next if there is none, were dropped.
        self._lost = False
        # The frame in the making.
        self._parts: list[NDArray[np.int16]] = []
        self._timestamp = 0
        self._level_dbov = SILENCE_DBOV
        self._voiced = self._gap = False

    @property
    def waiting(self) -> int:
        """How many frames wait to be fetched."""
        return len(self._queue)

    def hear(self, frame: HeardFrame, timestamp: int) -> int:
        """Take 20 ms that begin at ``timestamp``, later than all before; return how many frames were dropped for it."""
        dropped = 0
        if self._parts and timestamp != self._timestamp + sum(map(len, self._parts)):
            # Nothing was to be heard since: a frame is as long as it was promised to be, and has no hole.
            missing = self._parts_each - len(self._parts)
            self._parts.extend([np.zeros_like(self._parts[0])] * missing)
            dropped += self._put()
        if not self._parts:
            self._timestamp = timestamp
            self._level_dbov, self._voiced, self._gap = SILENCE_DBOV, False, False
        self._parts.append(frame.samples)
        self._level_dbov = min(self._level_dbov, frame.level_dbov)
        self._voiced = self._voiced or frame.voiced
        self._gap = self._gap or frame.gap
        if len(self._parts) == self._parts_each:
            dropped += self._put()
        return dropped

    def fetch(self) -> bytes:
        """Return the oldest frame as a binary message; ``b""`` when none waits."""
        if not self._queue:
            return b""
        oldest = self._queue.popleft()
        lost, self._lost = self._lost, False
        return encode_audio_frame(
            self.number,
            oldest.pcm,
            timestamp=oldest.timestamp,
            level_dbov=oldest.level_dbov,
            voiced=oldest.voiced,
            gap=oldest.gap or lost,
        )

    def discard(self) -> int:
        """Drop all that waits; return how many frames that was."""
        count = len(self._queue)
        self._queue.clear()
        self.dropped += count
        self._lost = self._lost or count > 0
        return count

    def _put(self) -> int:
        dropped = 0
        if len(self._queue) >= MAX_FRAMES:
            self._queue.popleft()
            self.dropped += 1
            self._lost = True
            dropped = 1
        samples = self._parts[0] if self._parts_each == 1 else np.concatenate(self._parts)
        pcm = samples.astype("<i2", copy=False).tobytes()
        self._queue.append(_Frame(self._timestamp, pcm, self._level_dbov, self._voiced, self._gap))
        self._parts.clear()
        return dropped
