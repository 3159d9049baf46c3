"""The event bus: one sequence of numbered, timestamped events, heard by any number of isolated subscribers.

``publish`` is synchronous and never waits. Each subscriber has a bounded queue of its own with a stated overflow
policy (``subscription.py``), and a task of its own that reads it (``event_handler.py``). So no subscriber can delay or
fail the publisher or another subscriber. The last events are kept for those who come late (``replay.py``); older ones
are in the store (``event_store.py``).

The sequence has no gaps while the server runs, and never runs backwards: at a start it continues from a number above
all that were given before.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from signaling.correlation import correlation_id
from signaling.event_replay import Replay, ReplayBuffer
from signaling.events import Event
from signaling.stamped import Stamped
from signaling.subscription import Overflow, SubscriberCounters, Subscription, SubscriptionLostError

__all__ = ["Bus", "Overflow", "Stamped", "Subscription", "SubscriptionLostError"]

#: About a minute of ten thousand lively sessions; an event is some 500 bytes.
REPLAY_EVENTS = 10_000
#: Longer than any client takes to come back; what is older is read from the store.
REPLAY_SECONDS = 300.0
#: A thousand clients that leave at once make a few thousand events; the queue holds references only.
SUBSCRIBER_EVENTS = 10_000


class Bus:
    """See the module. ``first_seq`` is the number before the first event's; ``clock`` counts seconds, never backwards."""

    def __init__(
        self,
        *,
        first_seq: int = 0,
        replay_events: int = REPLAY_EVENTS,
        replay_seconds: float = REPLAY_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.published: Counter[str] = Counter()
        #: subscriber -> faults of its handler.
        self.failures: Counter[str] = Counter()
        #: name -> what became of the events for it; names are constants of the code, so this is bounded.
        self.subscribers: dict[str, SubscriberCounters] = {}
        #: The first event of this life has the number after it.
        self.first_seq = first_seq
        self._seq = first_seq
        self._clock = clock
        self._recent = ReplayBuffer(
            max_events=replay_events, max_age_seconds=replay_seconds, next_seq=first_seq + 1
        )
        self._subscriptions: list[Subscription] = []
        #: class of event -> who hears it; emptied whenever subscriptions come or go.
        self._listeners: dict[type[Event], tuple[Subscription, ...]] = {}

    @property
    def seq(self) -> int:
        """The number of the last event."""
        return self._seq

    @property
    def subscriptions(self) -> tuple[Subscription, ...]:
        """Who listens now."""
        return tuple(self._subscriptions)

    @property
    def replay(self) -> ReplayBuffer:
        """What is kept for those who come late."""
        return self._recent

    def publish(self, event: Event) -> Stamped:
        """Give the event its number and time and offer it to every subscriber that wants it.

        Cost: 1.8 us and 0.1 us for each subscriber (timeit, one core of the machine of docs/benchmarks.md).
        """
        kind = type(event)
        self._seq += 1
        stamped = Stamped(self._seq, datetime.now(UTC), event, correlation_id(), self._clock())
        self.published[kind.__name__] += 1
        self._recent.add(stamped)
        listeners = self._listeners.get(kind)
        if listeners is None:
            listeners = self._listeners[kind] = tuple(
                each for each in self._subscriptions if each.hears(kind)
            )
        for subscription in listeners:
            subscription.offer(stamped)
        return stamped

    def kept_after(self, seq: int) -> Replay:
        """Return the events still kept whose number is higher than ``seq``, and whether that is all of them."""
        return self._recent.after(seq, self._clock())

    @contextmanager
    def subscribe(
        self,
        name: str,
        *,
        since: int | None = None,
        types: tuple[type[Event], ...] | None = None,
        capacity: int = SUBSCRIBER_EVENTS,
        overflow: Overflow = Overflow.DROP_NEWEST,
    ) -> Iterator[Subscription]:
        """Hear all events from now on; with ``since``, first those kept whose number is higher than it.

        ``types`` are classes of events; events derived from one of them are heard too.
        """
        counters = self.subscribers.setdefault(name, SubscriberCounters())
        subscription = Subscription(
            name,
            capacity=capacity,
            overflow=overflow,
            types=types,
            counters=counters,
            failures=self.failures,
            clock=self._clock,
        )
        if since is not None:
            for stamped in self.kept_after(since).events:
                if subscription.hears(type(stamped.event)):
                    subscription.offer(stamped)
        self._subscriptions.append(subscription)
        self._listeners.clear()
        try:
            yield subscription
        finally:
            self._subscriptions.remove(subscription)
            self._listeners.clear()
            subscription.close()
