"""One subscriber's bounded queue of events, between a publisher that never waits and a reader that may be slow.

Overflow policy, chosen by the subscriber: ``DROP_NEWEST`` misses the event, counts it, and shows the gap in the
numbers; ``CLOSE``, for who must not miss anything, ends the subscription: what is queued can still be read, and then
reading fails with the reason.
"""

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

import trio

from signaling.events import Event
from signaling.histogram import Histogram
from signaling.stamped import Stamped

#: Events a reader takes without letting other tasks run: to switch tasks costs as much as to handle one.
TURN = 16


class Overflow(Enum):
    """What becomes of a subscription whose queue is full."""

    DROP_NEWEST = "drop_newest"
    CLOSE = "close"


class SubscriptionLostError(Exception):
    """The subscriber was too slow and would miss events from here on; the text says so."""


@dataclass(slots=True)
class SubscriberCounters:
    """What became of the events for all subscriptions of one name, ended ones included. They only grow."""

    handled: int = 0
    missed: int = 0
    #: Subscriptions ended because they were too slow.
    lost: int = 0
    #: Seconds from publishing to the end of the handler.
    latency: Histogram = field(default_factory=Histogram)


class Subscription:
    """See the module. One task reads: iterate, or ``wait_for`` some and ``take`` them."""

    def __init__(
        self,
        name: str,
        *,
        capacity: int,
        overflow: Overflow = Overflow.DROP_NEWEST,
        types: tuple[type[Event], ...] | None = None,
        counters: SubscriberCounters,
        failures: Counter[str],
        clock: Callable[[], float],
    ) -> None:
        self.name = name
        self.types = types
        self.missed = 0
        self.counters = counters
        self.failures = failures
        self._capacity = capacity
        self._overflow = overflow
        self._clock = clock
        self._queue: deque[Stamped] = deque()
        self._lost: str | None = None
        self._closed = False
        #: How many events the reader sleeps for; 0: it does not.
        self._wanted = 0
        self._arrived = trio.Event()
        self._turn = 0

    @property
    def queued(self) -> int:
        """How many events wait to be read."""
        return len(self._queue)

    @property
    def lost(self) -> str | None:
        """Why the subscription was ended by its overflow, or None."""
        return self._lost

    def __aiter__(self) -> "Subscription":
        return self

    async def __anext__(self) -> Stamped:
        await self.wait_for(1)
        return self._queue.popleft()

    async def wait_for(self, count: int) -> None:
        """Wait until so many events are queued, or, when no more will come, at least one.

        Raises: SubscriptionLostError when nothing is left of a subscription that overflowed;
        trio.ClosedResourceError after ``close``; trio.BusyResourceError when another task reads.
        """
        if self._wanted:
            raise trio.BusyResourceError(f"another task reads the subscription {self.name!r}")
        if len(self._queue) >= count and self._turn < TURN:
            self._turn += 1
            await trio.lowlevel.checkpoint_if_cancelled()
        else:
            self._turn = 0
            await trio.lowlevel.checkpoint()
        while len(self._queue) < count and not self._closed and self._lost is None:
            self._wanted, self._arrived = count, trio.Event()
            try:
                await self._arrived.wait()
            finally:
                self._wanted = 0
        if self._closed:
            raise trio.ClosedResourceError(f"the subscription {self.name!r} is closed")
        if not self._queue:
            raise SubscriptionLostError(self._lost)

    def take(self, most: int) -> list[Stamped]:
        """Return what is queued, at most so many events; never waits."""
        return [self._queue.popleft() for _ in range(min(most, len(self._queue)))]

    def note_handled(self, stamped: Stamped) -> None:
        """Measure how long it took from publishing the event until now."""
        self.counters.handled += 1
        self.counters.latency.observe(self._clock() - stamped.published_at)

    # For the bus.

    def hears(self, kind: type[Event]) -> bool:
        """Tell whether events of this class are wanted."""
        return self._lost is None and (self.types is None or issubclass(kind, self.types))

    def offer(self, stamped: Stamped) -> None:
        """Queue the event, or do what the overflow policy says."""
        if self._lost is None and len(self._queue) < self._capacity:
            self._queue.append(stamped)
            if self._wanted and len(self._queue) >= self._wanted:
                self._arrived.set()
            return
        self.missed += 1
        self.counters.missed += 1
        if self._overflow is Overflow.CLOSE and self._lost is None:
            self.counters.lost += 1
            self._lost = (
                f"the subscriber {self.name!r} was too slow: {self._capacity} events waited for it "
                f"when number {stamped.seq} came"
            )
            self._arrived.set()

    def close(self) -> None:
        """End the subscription; what is still queued is dropped."""
        self._closed = True
        self._queue.clear()
        self._arrived.set()
