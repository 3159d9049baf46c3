"""A circuit breaker for services outside: who keeps failing is left alone for a while, by all bots of a provider together.

Theory. CLOSED: attempts go through; ``failures`` in a row open it. OPEN: attempts are refused for ``open_s``. Then the next
makes it HALF_OPEN and is the probe: it alone goes through. Its success closes the breaker, its failure opens it again; a
probe that was abandoned has shown nothing, and the next attempt is the probe. An attempt from before an opening tells
nothing when it ends after it.

No clock, no tasks, no randomness: time is passed in. (``signaling`` has one of its own, around calls; this package takes nothing
from the server.)
"""

from dataclasses import dataclass
from enum import Enum

from voicebot.services.errors import CircuitOpenError

FAILURES = 5
OPEN_S = 30.0
#: When to come back while the probe is under way.
PROBE_S = 1.0


class BreakerState(Enum):
    """Whether attempts go through."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class BreakerEvent(Enum):
    """What happens to a breaker."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    #: It was one failure too many.
    TRIPPED = "tripped"
    #: An attempt comes after the open time.
    PROBED = "probed"
    #: An attempt was given up without a result.
    ABANDONED = "abandoned"


_S, _E = BreakerState, BreakerEvent

TRANSITIONS: dict[BreakerState, dict[BreakerEvent, BreakerState]] = {
    _S.CLOSED: {
        _E.SUCCEEDED: _S.CLOSED,
        _E.FAILED: _S.CLOSED,
        _E.TRIPPED: _S.OPEN,
        _E.ABANDONED: _S.CLOSED,
    },
    _S.OPEN: {_E.PROBED: _S.HALF_OPEN},
    _S.HALF_OPEN: {
        _E.PROBED: _S.HALF_OPEN,
        _E.SUCCEEDED: _S.CLOSED,
        _E.FAILED: _S.OPEN,
        _E.ABANDONED: _S.HALF_OPEN,
    },
}

#: How an attempt may end.
OUTCOMES = frozenset({_E.SUCCEEDED, _E.FAILED, _E.ABANDONED})


@dataclass(frozen=True, slots=True)
class Permit:
    """An attempt was let through; give it back to ``settle`` once."""

    generation: int


@dataclass(frozen=True, slots=True)
class BreakerStatistics:
    """Figures for metrics; the counters only grow."""

    state: BreakerState
    refused: int
    opened: int


class CircuitBreaker:
    """See the module."""

    def __init__(self, service: str, *, failures: int = FAILURES, open_s: float = OPEN_S) -> None:
        if failures < 1 or open_s <= 0:
            raise ValueError("expected failures >= 1 and open_s > 0")
        self.service = service
        self._limit = failures
        self._open_s = open_s
        self._state = BreakerState.CLOSED
        self._failures = 0
        self._opened_at_s = 0.0
        self._probing = False
        self._opened = 0
        self._refused = 0

    @property
    def state(self) -> BreakerState:
        """The state; an open breaker stays open until an attempt comes."""
        return self._state

    def statistics(self) -> BreakerStatistics:
        """Return figures for metrics."""
        return BreakerStatistics(self._state, self._refused, self._opened)

    def admit(self, now_s: float) -> Permit:
        """Let an attempt through.

        Raises: CircuitOpenError, with the time until the next may be made.
        """
        if self._state is not BreakerState.CLOSED:
            wait_s = self._opened_at_s + self._open_s - now_s
            if self._probing or wait_s > 0:
                self._refused += 1
                wait_s = wait_s if wait_s > 0 else PROBE_S
                raise CircuitOpenError(
                    self.service,
                    f"is left alone after repeated failures; it is tried again in {wait_s:.0f} s",
                    retry_after_s=wait_s,
                )
            self._state = TRANSITIONS[self._state][BreakerEvent.PROBED]
            self._probing = True
        return Permit(self._opened)

    def settle(self, permit: Permit, outcome: BreakerEvent, now_s: float) -> None:
        """Tell how an attempt ended: SUCCEEDED, FAILED or ABANDONED.

        Raises: ValueError for another event; nothing has changed then.
        """
        if outcome not in OUTCOMES:
            raise ValueError(f"an attempt cannot end with {outcome}")
        if permit.generation != self._opened:
            return
        self._probing = False
        if outcome is BreakerEvent.SUCCEEDED:
            self._failures = 0
        elif outcome is BreakerEvent.FAILED:
            self._failures += 1
            if self._state is BreakerState.CLOSED and self._failures >= self._limit:
                outcome = BreakerEvent.TRIPPED
        self._state = TRANSITIONS[self._state][outcome]
        if self._state is BreakerState.OPEN:
            self._opened_at_s = now_s
            self._opened += 1
