"""What a model says in one go, on its way to be heard: fed as it arrives, played as an async iterator, and cut when somebody interrupts.

A model's speech consists of items, and these of contents, which it remembers by their names; how much of each was heard follows
from how much of the whole was.
"""

from collections import deque
from dataclasses import dataclass
from typing import Self

import trio

BYTES_A_SAMPLE = 2


@dataclass(slots=True)
class Span:
    """One content of one item; samples."""

    item_id: str
    content_index: int
    start: int
    length: int = 0
    #: Half a sample that waits for its other half.
    left: bytes = b""


@dataclass(frozen=True, slots=True)
class HeardSpan:
    """How much of a content was heard; ``whole`` when that is all there is of it."""

    item_id: str
    content_index: int
    heard_ms: int
    length_ms: int
    whole: bool


class Speech:
    """See the module. An async iterator of PCM (s16le mono), to be played once.

    Not more than ``limit_s`` wait to be read; what is longer ``overflows``, and is not taken.
    """

    def __init__(self, name: str, rate: int, *, limit_s: float) -> None:
        #: The response's id.
        self.name = name
        self._rate = rate
        self._limit_bytes = round(limit_s * rate) * BYTES_A_SAMPLE
        self._spans: list[Span] = []
        self._pieces: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._samples = 0
        self._arrived = trio.Event()
        #: The model has said all of it.
        self.finished = False
        #: Somebody interrupted it: nothing of it is played any more.
        self.was_cut = False
        #: Samples that came after the cut, or beyond the limit.
        self.dropped_samples = 0

    @property
    def length_ms(self) -> float:
        """How long it is, as far as it has come."""
        return self._samples * 1000 / self._rate

    def append(self, item_id: str, content_index: int, pcm: bytes) -> bool:
        """Take a piece. False: it is not taken, for too much waits, or nobody listens any more."""
        if self.was_cut or self.finished or self._waiting_bytes + len(pcm) > self._limit_bytes:
            self.dropped_samples += len(pcm) // BYTES_A_SAMPLE
            return False
        span = self._span(item_id, content_index)
        pcm = span.left + pcm
        whole = len(pcm) // BYTES_A_SAMPLE * BYTES_A_SAMPLE
        pcm, span.left = pcm[:whole], pcm[whole:]
        if pcm:
            span.length += whole // BYTES_A_SAMPLE
            self._samples += whole // BYTES_A_SAMPLE
            self._waiting_bytes += whole
            self._pieces.append(pcm)
            self._arrived.set()
        return True

    def finish(self) -> None:
        """Nothing more comes."""
        self.finished = True
        self._arrived.set()

    def cut(self) -> None:
        """Play no more of it."""
        self.was_cut = True
        self._pieces.clear()
        self._waiting_bytes = 0
        self._arrived.set()

    def heard(self, played_ms: float) -> list[HeardSpan]:
        """Return how much of each content was heard, when so much of the whole was. A part of a millisecond does not count.

        The last content of a speech that is not finished is never whole: more of it may be on its way.
        """
        played = min(self._samples, round(played_ms * self._rate / 1000))
        spans = []
        for span in self._spans:
            heard = min(span.length, max(0, played - span.start))
            whole = heard == span.length and (self.finished or span is not self._spans[-1])
            spans.append(
                HeardSpan(span.item_id, span.content_index, self._ms(heard), self._ms(span.length), whole)
            )
        return spans

    def _ms(self, samples: int) -> int:
        return samples * 1000 // self._rate

    def _span(self, item_id: str, content_index: int) -> Span:
        # Contents come one after the other.
        if self._spans:
            last = self._spans[-1]
            if (last.item_id, last.content_index) == (item_id, content_index):
                return last
        self._spans.append(Span(item_id, content_index, self._samples))
        return self._spans[-1]

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        while not self._pieces:
            if self.finished or self.was_cut:
                raise StopAsyncIteration
            self._arrived = trio.Event()
            await self._arrived.wait()
        piece = self._pieces.popleft()
        self._waiting_bytes -= len(piece)
        return piece
