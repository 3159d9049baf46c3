"""When to try again: exponential back-off with jitter, as arithmetic. No clock, no randomness of its own."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """How a lost connection is retried.

    The n-th attempt waits between ``(1 - jitter)`` and 1 times ``initial_s * factor ** n``, never above ``maximum_s``.
    The jitter keeps a thousand clients of a restarted server from coming back in step. The first attempts come soon,
    for a session can be resumed for some twenty seconds only. ``attempts`` bounds them (None: for ever); the defaults
    go on for about five minutes. A connection that lived for ``maximum_s`` starts the count anew.
    """

    initial_s: float = 0.25
    factor: float = 2.0
    maximum_s: float = 10.0
    jitter: float = 0.5
    attempts: int | None = 40

    def __post_init__(self) -> None:
        if not 0 < self.initial_s <= self.maximum_s:
            raise ValueError("expected 0 < initial_s <= maximum_s")
        if self.factor < 1:
            raise ValueError("factor must be at least 1")
        if not 0 <= self.jitter <= 1:
            raise ValueError("jitter must be between 0 and 1")
        if self.attempts is not None and self.attempts < 1:
            raise ValueError("attempts must be at least 1, or None")

    def delay_s(self, attempt: int, fraction: float) -> float:
        """Return how long to wait before an attempt (the first is 0); ``fraction`` is the dice, in [0, 1)."""
        # The exponent is bounded before the power: 2.0 ** 1100 is an OverflowError.
        whole = self.maximum_s
        if attempt < 64:
            whole = min(whole, self.initial_s * self.factor**attempt)
        return whole * (1 - self.jitter * fraction)

    def allows(self, attempt: int) -> bool:
        """Tell whether this attempt (the first is 0) may be made."""
        return self.attempts is None or attempt < self.attempts
