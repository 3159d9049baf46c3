"""The one retry policy: how often, how long between, and when to stop.

Back-off is exponential with full jitter: before attempt n + 1 a random time between 0 and ``base * 2^(n-1)``, at most
``cap``, so that clients that failed together do not come back together. A ``Retry-After`` of the other side is waited
for at least; a call that an open circuit breaker refused is no attempt. All attempts and pauses together end before the deadline; a pause that would cross it is not begun.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from random import Random
from typing import TypeVar

import trio

_T = TypeVar("_T")


class RetryableError(Exception):
    """Base of errors after which the same call may succeed; ``retry_after`` is in seconds, if the other side said so.

    ``attempted`` is False when nothing was tried at all; then ``retry_after`` must say when to come back.
    """

    retry_after: float | None = None
    attempted: bool = True


class GaveUpError(Exception):
    """All attempts failed, or the time was up; the cause is the last error."""

    def __init__(self, attempts: int, last: RetryableError | None) -> None:
        reason = "none of them ended in time" if last is None else str(last)
        super().__init__(f"gave up after {attempts} attempt{'' if attempts == 1 else 's'}: {reason}")
        self.attempts = attempts
        self.last = last


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """See the module."""

    attempts: int = 5
    base_seconds: float = 0.5
    cap_seconds: float = 30.0
    deadline_seconds: float = 120.0

    def __post_init__(self) -> None:
        if self.attempts < 1 or min(self.base_seconds, self.cap_seconds, self.deadline_seconds) < 0:
            raise ValueError("a retry policy needs at least one attempt and no negative times")

    def pause_seconds(self, failed: int, random: Random, retry_after: float | None = None) -> float:
        """Return how long to wait after so many failed attempts (at least one)."""
        # The exponent is bounded: 2^1024 is no float.
        limit = min(self.cap_seconds, self.base_seconds * 2 ** min(failed - 1, 60))
        return max(random.uniform(0, limit), retry_after or 0.0)


async def retry(call: Callable[[], Awaitable[_T]], policy: RetryPolicy, *, random: Random) -> _T:
    """Await ``call()`` until it succeeds; any error that is not a ``RetryableError`` passes through at once.

    Raises: GaveUpError.
    """
    deadline = trio.current_time() + policy.deadline_seconds
    last: RetryableError | None = None
    attempts = 0
    while True:
        try:
            with trio.move_on_at(deadline):
                return await call()
            raise GaveUpError(attempts + 1, last) from last
        except RetryableError as error:
            last = error
        attempts += last.attempted
        pause = policy.pause_seconds(max(attempts, 1), random, last.retry_after)
        if attempts == policy.attempts or trio.current_time() + pause >= deadline:
            raise GaveUpError(attempts, last) from last
        await trio.sleep(pause)
