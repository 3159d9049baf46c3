"""Connections whose first request has not arrived: so many at most, and the one who has most of them loses one first.

So half-open connections and slow-loris cost places for seconds at most, and whoever opens them by the hundred from one
address pushes out its own, not those of others.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import trio

from signaling.auth.client_address import attempts_key


class PendingHead:
    """One of them; ``scope`` is cancelled when its place is taken."""

    __slots__ = ("evicted", "scope")

    def __init__(self) -> None:
        self.scope = trio.CancelScope()
        self.evicted = False


class PendingHeads:
    """See the module."""

    def __init__(self, max_pending: int) -> None:
        #: How many lost their place.
        self.evicted = 0
        self._max_pending = max_pending
        self._count = 0
        # The oldest first, of groups as of members.
        self._groups: dict[str, dict[PendingHead, None]] = {}

    def __len__(self) -> int:
        return self._count

    @contextmanager
    def admit(self, peer_address: str) -> Iterator[PendingHead]:
        """Take a place for the length of a scope, if need be another's."""
        if self._count >= self._max_pending:
            self._evict()
        group = attempts_key(peer_address)
        pending = PendingHead()
        self._groups.setdefault(group, {})[pending] = None
        self._count += 1
        try:
            yield pending
        finally:
            if not pending.evicted:
                self._remove(group, pending)

    def cancel_all(self) -> None:
        """Let all of them go."""
        for members in self._groups.values():
            for pending in members:
                pending.scope.cancel()

    def _evict(self) -> None:
        """Cancel the oldest of the address that has most; of several, of the one that has been here longest."""
        group, members = max(self._groups.items(), key=lambda item: len(item[1]))
        pending = next(iter(members))
        self._remove(group, pending)
        self.evicted += 1
        pending.evicted = True
        pending.scope.cancel()

    def _remove(self, group: str, pending: PendingHead) -> None:
        del self._groups[group][pending]
        if not self._groups[group]:
            del self._groups[group]
        self._count -= 1
