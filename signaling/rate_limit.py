"""A token bucket: how often something may happen, with bursts. No clock inside."""


class TokenBucket:
    """Allows ``burst`` at once and ``per_second`` in the long run."""

    __slots__ = ("_burst", "_last", "_per_second", "_tokens")

    def __init__(self, *, burst: float, per_second: float, now: float) -> None:
        self._burst = burst
        self._per_second = per_second
        self._tokens = burst
        self._last = now

    def take(self, now: float) -> bool:
        """Take one token if there is one; ``now`` is in seconds on any clock that does not run backwards."""
        self._tokens = min(self._burst, self._tokens + (now - self._last) * self._per_second)
        self._last = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
