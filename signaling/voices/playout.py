"""One playout: samples on their way from a client into a mouth. What is where, as arithmetic; no task, no clock.

Samples are first *given* by the client, then *moved* into the mouth, a few seconds ahead of what is heard, then *played*.
"""

from collections import deque

import numpy as np
from numpy.typing import NDArray

from signaling.voices.mix import Mouth


class Playout:
    """See the module."""

    __slots__ = (
        "_start",
        "_waiting",
        "_waiting_samples",
        "ended",
        "finished",
        "given",
        "moved",
        "number",
        "overflowed",
        "rate",
        "reported",
    )

    def __init__(self, number: int, *, rate: int) -> None:
        self.number = number
        self.rate = rate
        #: Samples the client has given.
        self.given = 0
        #: Samples that are, or were, in the mouth.
        self.moved = 0
        #: The client gives no more.
        self.ended = False
        #: It was more than may wait; the rest was dropped.
        self.overflowed = False
        #: The mouth knows that this is the end.
        self.finished = False
        #: Samples played that the client was told of last.
        self.reported = 0
        self._waiting: deque[NDArray[np.int16]] = deque()
        self._waiting_samples = 0
        # The mouth's position before its first sample; None: its turn has not come.
        self._start: int | None = None

    @property
    def complete(self) -> bool:
        """Whether all there is has been moved, and no more comes."""
        return self.ended and self._start is not None and not self._waiting

    @property
    def has_waiting(self) -> bool:
        """Whether samples wait to be moved."""
        return bool(self._waiting)

    def begin(self, mouth: Mouth) -> None:
        """Note that its turn has come: what is moved next is heard after all that is in the mouth."""
        if self._start is None:
            self._start = mouth.queued

    def give(self, samples: NDArray[np.int16]) -> None:
        """Take samples from the client."""
        if len(samples):
            self._waiting.append(samples)
            self._waiting_samples += len(samples)
            self.given += len(samples)

    def move(self, mouth: Mouth, *, lead_samples: int) -> None:
        """Move samples into the mouth until so many wait there.

        Raises: relay.CapacityError.
        """
        while self._waiting and mouth.queued - mouth.played < lead_samples:
            samples = self._waiting[0]
            mouth.queue(samples)
            self._waiting.popleft()
            self._waiting_samples -= len(samples)
            self.moved += len(samples)

    def overflow(self) -> None:
        """End it with what is in the mouth already."""
        self._waiting.clear()
        self._waiting_samples = 0
        self.ended = self.overflowed = True

    def end_position(self) -> int:
        """Return the mouth's position after its last sample so far."""
        assert self._start is not None
        return self._start + self.moved

    def played_at(self, position: int) -> int:
        """Return how many of its samples have been played when the mouth is at this position."""
        return 0 if self._start is None else min(max(position - self._start, 0), self.moved)

    def seconds_unplayed(self, position: int) -> float:
        """Return how much has been given and not played, dropped samples not counted."""
        return (self._waiting_samples + self.moved - self.played_at(position)) / self.rate

    def to_ms(self, samples: int) -> float:
        """Return how long so many samples are: exact, for all rates divide 48,000."""
        return samples * 1000 / self.rate
