"""What waits to be sent to one administrator, and when: events gathered into frames. No clock inside.

An event goes out at once, but no sooner after the last frame than the client asked for. Events that tell a state many
times a second wait at least ``FREQUENT_SECONDS`` after the last frame, and of each such state only the newest is sent.
Whatever is sent takes all that waits with it, so that numbers ascend from frame to frame: a client may go on from the
last number it has seen. Nothing is dropped: when a frame is full it is due.
"""

from math import inf

from signaling.messages.feed import MAX_FRAME_EVENTS, FeedEvent, FeedEvents

FREQUENT_SECONDS = 0.2


class FeedBatch:
    """See the module."""

    def __init__(self, *, min_interval_seconds: float = 0.0, max_events: int = MAX_FRAME_EVENTS) -> None:
        self._min_interval_seconds = min_interval_seconds
        self._max_events = max_events
        #: State that an event tells, or its own number -> the newest event of it; in the order of the numbers.
        self._waiting: dict[object, FeedEvent] = {}
        self._urgent = False
        self._replaced = 0
        self._last_frame = -inf

    def add(self, event: FeedEvent, state: object = None) -> None:
        """Let an event wait; a former one that tells the same ``state`` need not be sent any more."""
        if state is None:
            self._urgent = True
            self._waiting[event.seq] = event
            return
        if self._waiting.pop(state, None) is not None:
            self._replaced += 1
        self._waiting[state] = event

    @property
    def empty(self) -> bool:
        """Whether nothing waits."""
        return not self._waiting

    @property
    def full(self) -> bool:
        """Whether what waits fills a frame."""
        return len(self._waiting) >= self._max_events

    def due_at(self) -> float:
        """Return when the next frame is to be sent; infinity when nothing waits."""
        if self.empty:
            return inf
        if self.full:
            return -inf
        patience = 0.0 if self._urgent else FREQUENT_SECONDS
        return self._last_frame + max(self._min_interval_seconds, patience)

    def take(self, now: float) -> FeedEvents:
        """Return the frame to send now."""
        keys = list(self._waiting)[: self._max_events]
        events = tuple(self._waiting.pop(key) for key in keys)
        replaced, self._replaced = self._replaced, 0
        self._urgent = self._urgent and bool(self._waiting)
        self._last_frame = now
        return FeedEvents(events=events, missed=replaced)
