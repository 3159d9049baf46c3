"""The last events, for those who come late: bounded by number and by age, whichever is reached first. No clock inside."""

from collections import Counter, deque
from dataclasses import dataclass
from itertools import islice

from signaling.stamped import Stamped


@dataclass(frozen=True, slots=True)
class Replay:
    """The kept events after a number; ``complete`` when none between them and that number has been dropped."""

    events: tuple[Stamped, ...]
    complete: bool


class ReplayBuffer:
    """See the module. ``evicted`` counts what was dropped, by the reason: ``size`` or ``age``."""

    __slots__ = ("_events", "_max_age_seconds", "_max_events", "_next_seq", "evicted")

    def __init__(self, *, max_events: int, max_age_seconds: float, next_seq: int = 1) -> None:
        self._events: deque[Stamped] = deque()
        self._max_events = max_events
        self._max_age_seconds = max_age_seconds
        self._next_seq = next_seq
        self.evicted: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._events)

    @property
    def oldest_seq(self) -> int:
        """The number of the oldest kept event, or the next one's when none is kept."""
        return self._events[0].seq if self._events else self._next_seq

    def add(self, stamped: Stamped) -> None:
        """Keep an event, the successor of the last one added."""
        events = self._events
        events.append(stamped)
        self._next_seq = stamped.seq + 1
        if len(events) > self._max_events:
            events.popleft()
            self.evicted["size"] += 1
        if events and events[0].published_at < stamped.published_at - self._max_age_seconds:
            self.evict(stamped.published_at)

    def evict(self, now: float) -> None:
        """Drop what is too old."""
        events = self._events
        limit = now - self._max_age_seconds
        while events and events[0].published_at < limit:
            events.popleft()
            self.evicted["age"] += 1

    def after(self, seq: int, now: float) -> Replay:
        """Return what is kept of the events with numbers above ``seq``."""
        self.evict(now)
        start = max(0, seq + 1 - self.oldest_seq)
        return Replay(tuple(islice(self._events, start, None)), complete=seq + 1 >= self.oldest_seq)
