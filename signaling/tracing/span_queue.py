"""Spans on their way to the collector: put down by any thread without waiting, taken in batches by one that exports.

Bounded; when it is full the newest span is dropped and counted. The lock is held for the length of a list operation.
"""

import threading
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from signaling.tracing.tracer import TracingStatistics

Item = TypeVar("Item")

#: A span is some 2 KiB in memory.
QUEUE_SPANS = 8192
BATCH_SPANS = 512
#: So long a span may wait for others to travel with.
LINGER_SECONDS = 1.0


class SpanQueue(Generic[Item]):
    """See the module."""

    def __init__(
        self,
        *,
        capacity: int = QUEUE_SPANS,
        batch: int = BATCH_SPANS,
        linger_seconds: float = LINGER_SECONDS,
    ) -> None:
        self._capacity = capacity
        self._batch = batch
        self._linger_seconds = linger_seconds
        self._waiting: list[Item] = []
        self._changed = threading.Condition()
        self._closed = False
        self._dropped = 0
        self._exported = 0
        self._failed = 0

    def put(self, item: Item) -> None:
        """Queue a span, or drop and count it."""
        with self._changed:
            if self._closed or len(self._waiting) >= self._capacity:
                self._dropped += 1
                return
            self._waiting.append(item)
            if len(self._waiting) in {1, self._batch}:
                self._changed.notify()

    def close(self) -> None:
        """Take no more; ``export_with`` returns when it has tried what is queued."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def export_with(self, export: Callable[[Sequence[Item]], bool]) -> None:
        """Hand batches to ``export`` until closed and empty; it tells whether the collector took them. Blocks: in a thread."""
        while batch := self._take():
            # Not held while exporting.
            taken = export(batch)
            with self._changed:
                if taken:
                    self._exported += len(batch)
                else:
                    self._failed += len(batch)

    def statistics(self) -> TracingStatistics:
        """Return what became of the spans."""
        with self._changed:
            return TracingStatistics(len(self._waiting), self._exported, self._dropped, self._failed)

    def _take(self) -> list[Item]:
        """Wait for a batch: full, or as full as it gets within the lingering; empty when closed and empty."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            self._changed.wait_for(
                lambda: len(self._waiting) >= self._batch or self._closed, self._linger_seconds
            )
            batch = self._waiting[: self._batch]
            del self._waiting[: self._batch]
            return batch
