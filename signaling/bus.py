"""The event bus: one sequence of numbered, timestamped events, heard by any number of isolated subscribers.

``publish`` is synchronous and never waits. Each subscriber has a bounded queue of its own; when that is full
the subscriber misses the newest event, its ``missed`` counts it, and the gap shows in the sequence numbers.
So no subscriber can delay or fail the publisher or another subscriber. The last events are kept for those who
come late.
"""

from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

import trio

from signaling.events import Event

#: About a minute of a busy lobby; an event is some 500 bytes.
REPLAY_EVENTS = 1000
SUBSCRIBER_EVENTS = 1000


@dataclass(frozen=True, slots=True)
class Stamped:
    """An event with its place in the sequence (from 1, without gaps) and the time it happened."""

    seq: int
    at: datetime
    event: Event


class Subscription:
    """One subscriber's bounded queue; iterate over it."""

    def __init__(self, name: str, capacity: int) -> None:
        self.name = name
        self.missed = 0
        self._send, self._receive = trio.open_memory_channel[Stamped](capacity)

    def __aiter__(self) -> trio.MemoryReceiveChannel[Stamped]:
        return self._receive

    def offer(self, stamped: Stamped) -> None:
        """Queue the event, or count it as missed."""
        try:
            self._send.send_nowait(stamped)
        except trio.WouldBlock:
            self.missed += 1

    def close(self) -> None:
        """End the subscription; what is still queued is dropped."""
        self._send.close()
        self._receive.close()


class Bus:
    """See the module."""

    def __init__(self, *, replay_events: int = REPLAY_EVENTS) -> None:
        self.published: Counter[str] = Counter()
        self._seq = 0
        self._recent: deque[Stamped] = deque(maxlen=replay_events)
        self._subscriptions: list[Subscription] = []

    @property
    def subscriptions(self) -> tuple[Subscription, ...]:
        """Who listens now."""
        return tuple(self._subscriptions)

    def publish(self, event: Event) -> Stamped:
        """Give the event its number and time and offer it to every subscriber."""
        self._seq += 1
        stamped = Stamped(self._seq, datetime.now(UTC), event)
        self.published[type(event).__name__] += 1
        self._recent.append(stamped)
        for subscription in self._subscriptions:
            subscription.offer(stamped)
        return stamped

    @contextmanager
    def subscribe(
        self, name: str, *, since: int | None = None, capacity: int = SUBSCRIBER_EVENTS
    ) -> Iterator[Subscription]:
        """Hear all events from now on; with ``since``, first those kept whose number is higher than it."""
        subscription = Subscription(name, capacity)
        if since is not None:
            for stamped in self._recent:
                if stamped.seq > since:
                    subscription.offer(stamped)
        self._subscriptions.append(subscription)
        try:
            yield subscription
        finally:
            self._subscriptions.remove(subscription)
            subscription.close()
