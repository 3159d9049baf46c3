"""The last events of a lobby as they were sent, for clients that come back: numbered frames, bounded.

Numbers grow by one an event and are the same for everybody in the lobby, so that a frame is made once. What a client
missed is all that has a higher number than the last one it got, if all of that is still here.

Bounded in three ways, oldest out first: by count, so that what is replayed fits into a client's queue; by size, for the
same reason; by age, for nobody may come back later than that anyway.
"""

from collections import deque

#: Half of what waits for a client at most (``outbox.MAX_FRAMES``): others happen meanwhile.
REPLAY_EVENTS = 512
#: Four bytes each at most: half of a client's queue as it is by default.
REPLAY_CHARACTERS = 512 * 1024
#: For noticing that a client is lost; the patience with a lost one comes on top (``server.py``).
REPLAY_SECONDS = 60.0


class Replay:
    """See the module. No clock inside: times are seconds on any clock that does not run backwards."""

    __slots__ = ("_characters", "_frames", "_max_characters", "_max_events", "_max_seconds", "_seq")

    def __init__(
        self,
        *,
        first_seq: int = 0,
        max_events: int = REPLAY_EVENTS,
        max_characters: int = REPLAY_CHARACTERS,
        max_seconds: float = REPLAY_SECONDS,
    ) -> None:
        self._seq = first_seq
        self._frames: deque[tuple[float, str]] = deque()
        self._characters = 0
        self._max_events = max_events
        self._max_characters = max_characters
        self._max_seconds = max_seconds

    @property
    def seq(self) -> int:
        """The number of the last event."""
        return self._seq

    @property
    def next_seq(self) -> int:
        """The number that the next event must be given."""
        return self._seq + 1

    def append(self, frame: str, now: float) -> None:
        """Keep the frame of event ``next_seq``."""
        self._seq += 1
        self._frames.append((now, frame))
        self._characters += len(frame)
        while len(self._frames) > self._max_events or self._characters > self._max_characters:
            self._forget_oldest()
        self._forget_old(now)

    def since(self, seq: int, now: float) -> tuple[str, ...] | None:
        """Return the frames of all events after number ``seq``, in order; None when not all of them are here."""
        self._forget_old(now)
        missed = self._seq - seq
        if not 0 <= missed <= len(self._frames):
            return None
        kept = len(self._frames) - missed
        return tuple(frame for index, (_, frame) in enumerate(self._frames) if index >= kept)

    def _forget_old(self, now: float) -> None:
        while self._frames and self._frames[0][0] < now - self._max_seconds:
            self._forget_oldest()

    def _forget_oldest(self) -> None:
        _, frame = self._frames.popleft()
        self._characters -= len(frame)
