"""Circuit breakers by the name of what they protect, at most so many.

Overflow policy: the one unused for longest is forgotten, of those first that are closed, for they know little.
"""

from collections import OrderedDict
from collections.abc import Mapping

from signaling.circuit_breaker import (
    FAILURES,
    OPEN_SECONDS,
    BreakerState,
    BreakerStatistics,
    CircuitBreaker,
)

#: More hosts than a service calls.
MAX_BREAKERS = 256


class BreakerMap:
    """See the module."""

    def __init__(
        self,
        *,
        capacity: int = MAX_BREAKERS,
        failures: int = FAILURES,
        open_seconds: float = OPEN_SECONDS,
    ) -> None:
        self.forgotten = 0
        self._capacity = capacity
        self._failures = failures
        self._open_seconds = open_seconds
        #: In the order of their last use.
        self._breakers: OrderedDict[str, CircuitBreaker] = OrderedDict()

    def get(self, name: str) -> CircuitBreaker:
        """Return the breaker of this name, a new one if need be."""
        breaker = self._breakers.get(name)
        if breaker is not None:
            self._breakers.move_to_end(name)
            return breaker
        if len(self._breakers) >= self._capacity:
            self._forget_one()
        breaker = CircuitBreaker(name, failures=self._failures, open_seconds=self._open_seconds)
        self._breakers[name] = breaker
        return breaker

    def statistics(self) -> Mapping[str, BreakerStatistics]:
        """Return figures for metrics, by name."""
        return {name: breaker.statistics() for name, breaker in self._breakers.items()}

    def _forget_one(self) -> None:
        oldest = next(iter(self._breakers))
        closed = (name for name, each in self._breakers.items() if each.state is BreakerState.CLOSED)
        del self._breakers[next(closed, oldest)]
        self.forgotten += 1
