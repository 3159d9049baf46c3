"""Sessions that somebody ended, by the digest of their token: a client that comes back for one is told why it is gone.

So that it does not just join again, as it would after an expired one. Bounded: the oldest are forgotten.
"""

from collections import OrderedDict

from signaling.removals import Removal

#: An entry is some 300 bytes.
CAPACITY = 10_000


class EndedSessions:
    """See the module. No clock inside."""

    def __init__(self, *, keep_seconds: float, capacity: int = CAPACITY) -> None:
        self._keep_seconds = keep_seconds
        self._capacity = capacity
        self._ended: OrderedDict[bytes, tuple[float, Removal]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._ended)

    def note(self, token_digest: bytes, removal: Removal, now: float) -> None:
        """Remember why a session was ended."""
        self._ended[token_digest] = (now, removal)
        while len(self._ended) > self._capacity or self._oldest() < now - self._keep_seconds:
            self._ended.popitem(last=False)

    def find(self, token_digest: bytes, now: float) -> Removal | None:
        """Return why the session of this token was ended, if it was lately."""
        ended_at, removal = self._ended.get(token_digest, (now, None))
        return removal if ended_at >= now - self._keep_seconds else None

    def _oldest(self) -> float:
        return next(iter(self._ended.values()))[0]
