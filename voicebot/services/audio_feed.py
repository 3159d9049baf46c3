"""Audio on its way to a service: a short queue that rather loses the oldest than be late.

While the service is away or slow only the newest ``limit_ms`` wait; what is dropped is counted. Words that were spoken during an
outage are lost, not heard minutes later.
"""

from collections import deque
from dataclasses import dataclass

import trio

#: The longest backlog that a connection may start with or fall behind by.
BACKLOG_MS = 200.0
#: While the first connection is being opened: nobody waits yet, and the first words are worth it.
FIRST_BACKLOG_MS = 2000.0


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of audio; ``pcm`` is s16le mono, ``timestamp`` that of its first sample, in samples of its source."""

    pcm: bytes
    timestamp: int

    @property
    def samples(self) -> int:
        """How many samples it has."""
        return len(self.pcm) // 2


class AudioFeed:
    """See the module. One reader."""

    def __init__(self, rate: int, *, limit_ms: float = FIRST_BACKLOG_MS) -> None:
        self.rate = rate
        self.limit_ms = limit_ms
        self._chunks: deque[Chunk] = deque()
        self._samples = 0
        self._arrived = trio.Event()
        self._finished = False
        #: Samples that nobody took in time, since the beginning.
        self.dropped_samples = 0

    @property
    def waiting_ms(self) -> float:
        """How much audio waits."""
        return self._samples * 1000 / self.rate

    @property
    def dropped_ms(self) -> float:
        """How much audio was dropped since the beginning."""
        return self.dropped_samples * 1000 / self.rate

    def put_nowait(self, pcm: bytes, timestamp: int) -> None:
        """Append audio; the oldest goes when there is more than may wait."""
        self._chunks.append(Chunk(pcm, timestamp))
        self._samples += self._chunks[-1].samples
        self._trim()
        self._arrived.set()

    def tighten(self, limit_ms: float = BACKLOG_MS) -> None:
        """Let no more than this wait from now on."""
        self.limit_ms = min(self.limit_ms, limit_ms)
        self._trim()

    def finish(self) -> None:
        """Nothing more comes."""
        self._finished = True
        self._arrived.set()

    async def get(self) -> Chunk | None:
        """Wait for audio; None when there is none left and no more comes."""
        while not self._chunks:
            if self._finished:
                return None
            self._arrived = trio.Event()
            await self._arrived.wait()
        chunk = self._chunks.popleft()
        self._samples -= chunk.samples
        return chunk

    def _trim(self) -> None:
        # Whole pieces, but the newest stays: a piece may be longer than what may wait.
        while len(self._chunks) > 1 and self.waiting_ms > self.limit_ms:
            dropped = self._chunks.popleft().samples
            self._samples -= dropped
            self.dropped_samples += dropped
