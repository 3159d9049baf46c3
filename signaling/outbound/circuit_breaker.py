"""A circuit breaker: calls to somebody who keeps failing are refused at once, instead of waiting for each to fail.

Theory. CLOSED: calls go through; ``FAILURES`` in a row open it. OPEN: calls are refused for ``OPEN_SECONDS``. Then the
next call makes it HALF_OPEN and is the probe: it alone goes through, all others are refused. Its success closes the
breaker, its failure opens it again; if it is cancelled nothing has been learnt, and the next call is the probe. A call
that was let through before the breaker opened tells nothing when it ends later.

No clock, no tasks inside: time is passed in. ``guard`` puts it around a call.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from types import TracebackType
from typing import Self

from signaling.outbound.retry import RetryableError

FAILURES = 5
OPEN_SECONDS = 30.0
#: When to come back while the probe is under way.
PROBE_SECONDS = 1.0


class BreakerState(Enum):
    """Whether calls go through."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class BreakerEvent(Enum):
    """What happens to a breaker."""

    #: A call that counts ended well, or badly.
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    #: It was one failure too many.
    TRIPPED = "tripped"
    #: A call comes after the open time.
    PROBED = "probed"
    #: The probe was cancelled.
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
        _E.SUCCEEDED: _S.CLOSED,
        _E.FAILED: _S.OPEN,
        _E.ABANDONED: _S.HALF_OPEN,
        _E.PROBED: _S.HALF_OPEN,
    },
}


class IllegalTransitionError(Exception):
    """The event makes no sense in the state; nothing changed. A fault of the caller's."""


class CircuitOpenError(RetryableError):
    """The call was not made, for the last ones failed; ``retry_after`` says when it may be tried."""

    attempted = False

    def __init__(self, name: str, retry_after: float) -> None:
        super().__init__(
            f"calls to {name} are suspended after repeated failures; the next is let through in {retry_after:.0f} s"
        )
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class Permit:
    """A call was let through; give it back to ``settle`` once."""

    #: Openings before it; a call from before an opening tells nothing after it.
    generation: int


@dataclass(frozen=True, slots=True)
class BreakerStatistics:
    """Figures for metrics."""

    state: BreakerState
    succeeded: int
    failed: int
    refused: int
    opened: int


class CircuitBreaker:
    """See the module."""

    __slots__ = (
        "_failed",
        "_failures",
        "_failures_in_a_row",
        "_generation",
        "_open_seconds",
        "_opened_at",
        "_probing",
        "_refused",
        "_state",
        "_succeeded",
        "name",
    )

    def __init__(self, name: str, *, failures: int = FAILURES, open_seconds: float = OPEN_SECONDS) -> None:
        self.name = name
        self._failures = failures
        self._open_seconds = open_seconds
        self._state = BreakerState.CLOSED
        self._failures_in_a_row = 0
        self._opened_at = 0.0
        self._probing = False
        self._generation = 0
        self._succeeded = 0
        self._failed = 0
        self._refused = 0

    @property
    def state(self) -> BreakerState:
        """The state; an open breaker stays open until a call comes."""
        return self._state

    def statistics(self) -> BreakerStatistics:
        """Return figures for metrics."""
        return BreakerStatistics(
            self._state, self._succeeded, self._failed, self._refused, opened=self._generation
        )

    def admit(self, now: float) -> Permit:
        """Let a call through.

        Raises: CircuitOpenError.
        """
        if self._state is not BreakerState.CLOSED:
            wait = self._opened_at + self._open_seconds - now
            if self._probing or wait > 0:
                self._refused += 1
                raise CircuitOpenError(self.name, wait if wait > 0 else PROBE_SECONDS)
            self._advance(BreakerEvent.PROBED)
            self._probing = True
        return Permit(self._generation)

    def settle(self, permit: Permit, event: BreakerEvent, now: float) -> None:
        """Tell how a call ended: SUCCEEDED, FAILED or ABANDONED (cancelled).

        Raises: IllegalTransitionError for another event.
        """
        if event not in {BreakerEvent.SUCCEEDED, BreakerEvent.FAILED, BreakerEvent.ABANDONED}:
            raise IllegalTransitionError(f"a call cannot end with {event}")
        self._succeeded += event is BreakerEvent.SUCCEEDED
        self._failed += event is BreakerEvent.FAILED
        if permit.generation != self._generation:
            return
        if self._state is BreakerState.HALF_OPEN:
            self._probing = False
        if event is BreakerEvent.SUCCEEDED:
            self._failures_in_a_row = 0
        elif event is BreakerEvent.FAILED:
            self._failures_in_a_row += 1
            if self._state is BreakerState.CLOSED and self._failures_in_a_row >= self._failures:
                event = BreakerEvent.TRIPPED
        self._advance(event)
        if self._state is BreakerState.OPEN:
            self._opened_at = now
            self._generation += 1

    def guard(self, clock: Callable[[], float], *, judge: Callable[[Exception], bool | None]) -> "Guard":
        """Return a context manager around one call; entering it raises CircuitOpenError.

        ``judge`` tells of an exception whether the other side has failed (True), did its part (False) or was never
        asked (None). Cancellation tells nothing.
        """
        return Guard(self, clock, judge)

    def _advance(self, event: BreakerEvent) -> None:
        following = TRANSITIONS[self._state].get(event)
        if following is None:
            raise IllegalTransitionError(f"{event} cannot happen to a breaker that is {self._state.value}")
        self._state = following


class Guard:
    """One call under a breaker; see ``CircuitBreaker.guard``."""

    __slots__ = ("_breaker", "_clock", "_judge", "_permit")

    def __init__(
        self,
        breaker: CircuitBreaker,
        clock: Callable[[], float],
        judge: Callable[[Exception], bool | None],
    ) -> None:
        self._breaker = breaker
        self._clock = clock
        self._judge = judge
        self._permit: Permit | None = None

    async def __aenter__(self) -> Self:
        self._permit = self._breaker.admit(self._clock())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        assert self._permit is not None
        self._breaker.settle(self._permit, self._outcome(error), self._clock())

    def _outcome(self, error: BaseException | None) -> BreakerEvent:
        if error is None:
            return BreakerEvent.SUCCEEDED
        if not isinstance(error, Exception):
            return BreakerEvent.ABANDONED
        failed = self._judge(error)
        if failed is None:
            return BreakerEvent.ABANDONED
        return BreakerEvent.FAILED if failed else BreakerEvent.SUCCEEDED
