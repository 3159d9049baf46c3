"""How often somebody may have something: a bucket of tokens that fills at a steady rate. No clock inside."""


class TokenBucket:
    """Holds ``burst`` tokens at most, and gets one every ``every_s``."""

    __slots__ = ("_at_s", "_burst", "_every_s", "_tokens")

    def __init__(self, *, burst: int, every_s: float) -> None:
        self._burst = burst
        self._every_s = every_s
        self._tokens = float(burst)
        self._at_s: float | None = None

    def take(self, now_s: float) -> bool:
        """Take a token, if there is one."""
        self._fill(now_s)
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def wait_s(self, now_s: float) -> float:
        """Return how long it takes until there is one."""
        self._fill(now_s)
        return max(0.0, (1 - self._tokens) * self._every_s)

    def is_full(self, now_s: float) -> bool:
        """Tell whether it could be forgotten: nobody has taken anything for long."""
        self._fill(now_s)
        return self._tokens >= self._burst

    def _fill(self, now_s: float) -> None:
        if self._at_s is not None:
            self._tokens = min(self._burst, self._tokens + max(0.0, now_s - self._at_s) / self._every_s)
        self._at_s = now_s
