"""The changes between the Trio thread and the writer's: bounded, in the order of the calls.

When it is full, calls are refused whole, and whoever refuses counts. Events go first: a part of the room is not for them,
so that while the database is away lobbies and sessions find room when events no longer do.
"""

import time
from collections import deque
from collections.abc import Sequence
from threading import Condition

import trio

from signaling.storage.changes import AddEvent, Change

#: The part of the room that calls of nothing but events may use.
EVENTS_SHARE = 0.75
#: Changes that nobody waits for may wait this long for others, to be written with them.
LINGER_SECONDS = 0.02
#: Locks cannot be waited for endlessly with a time limit; waking up once a minute costs nothing.
_LONGEST_WAIT_SECONDS = 60.0


class Ticket:
    """One call's changes: all are kept or none. ``settled`` is there when somebody waits for it."""

    __slots__ = ("changes", "error", "settled", "since")

    def __init__(self, changes: tuple[Change, ...], settled: trio.Event | None = None) -> None:
        self.changes: Sequence[Change] = changes
        self.settled = settled
        #: Why the changes were not kept; set before ``settled``.
        self.error: Exception | None = None
        #: When it was queued, by the monotonic clock.
        self.since = 0.0


class ChangeQueue:
    """See the module. A lock guards it, held for microseconds on either side."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._tickets: deque[Ticket] = deque()
        #: Changes that wait or are being written.
        self._queued = 0
        self._waited_for = 0
        self._closed = False
        self._given_up = False
        self._changed = Condition()

    # On the Trio thread.

    @property
    def queued(self) -> int:
        """Changes that wait or are being written."""
        return self._queued

    @property
    def is_closed(self) -> bool:
        """Whether nothing more is taken."""
        return self._closed

    def put(self, ticket: Ticket) -> bool:
        """Append a call's changes, or tell that there is no room for them."""
        size = len(ticket.changes)
        with self._changed:
            free = self.capacity - self._queued
            if all(type(change) is AddEvent for change in ticket.changes):
                free -= int(self.capacity * (1 - EVENTS_SHARE))
            if self._closed or (size > free and size):
                return False
            ticket.since = time.monotonic()
            self._tickets.append(ticket)
            self._queued += size
            self._waited_for += ticket.settled is not None
            self._changed.notify_all()
        return True

    def close(self) -> None:
        """Take nothing more; what is there is still written."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def give_up(self) -> None:
        """Let the writer end, whatever is there."""
        with self._changed:
            self._closed = self._given_up = True
            self._changed.notify_all()

    # On the writer's thread.

    def take(self, most: int, until: float) -> list[Ticket]:
        """Return what waits, up to ``most`` changes but a whole call at least; nothing when it is closed or ``until``.

        Times are those of the monotonic clock.
        """
        with self._changed:
            while not self._ready(most):
                now = time.monotonic()
                wake = min(until, self._tickets[0].since + LINGER_SECONDS) if self._tickets else until
                if now >= wake:
                    break
                self._changed.wait(min(wake - now, _LONGEST_WAIT_SECONDS))
            taken: list[Ticket] = []
            size = 0
            while self._tickets and (not taken or size + len(self._tickets[0].changes) <= most):
                ticket = self._tickets.popleft()
                size += len(ticket.changes)
                self._waited_for -= ticket.settled is not None
                taken.append(ticket)
            return taken

    def written(self, tickets: list[Ticket]) -> None:
        """Make room: these are kept, or never will be."""
        with self._changed:
            self._queued -= sum(len(ticket.changes) for ticket in tickets)

    def pause(self, seconds: float) -> bool:
        """Wait, and tell whether to go on; no longer than until ``give_up``."""
        with self._changed:
            return not self._changed.wait_for(lambda: self._given_up, seconds)

    @property
    def is_over(self) -> bool:
        """Whether nothing is there and nothing will come, or nobody cares."""
        with self._changed:
            return self._given_up or (self._closed and not self._tickets)

    def _ready(self, most: int) -> bool:
        return self._closed or self._waited_for > 0 or self._queued >= most
