"""Staying with a service: try, be served, and when that ends try again, by back-off and circuit breaker."""

import random
from collections.abc import Awaitable, Callable

import trio

from signaling.outbound import circuit_breaker
from signaling.outbound.circuit_breaker import BreakerEvent, CircuitBreaker, Permit
from voicebot.backoff import Backoff
from voicebot.services.errors import CircuitOpenError, ServiceUnavailableError

#: For ever: a bot without its service still is in the lobby, and the service comes back some day.
SERVICE_BACKOFF = Backoff(initial_s=0.25, maximum_s=15.0, attempts=None)

Serve = Callable[["Trial"], Awaitable[None]]
"""Opens a connection and uses it; returns when it is not needed any more. Tells the trial when it has proved to be good."""
Report = Callable[[ServiceUnavailableError], None]
"""Told of each failure. Must neither wait nor raise."""


class Trial:
    """One attempt under a circuit breaker; it is decided once."""

    def __init__(self, breaker: CircuitBreaker) -> None:
        """Raises: CircuitOpenError, with the time until the next may be made."""
        self._breaker = breaker
        try:
            self._permit: Permit | None = breaker.admit(trio.current_time())
        except circuit_breaker.CircuitOpenError as error:
            raise CircuitOpenError(
                breaker.name,
                f"is left alone after repeated failures; it is tried again in {error.retry_after:.0f} s",
                retry_after_s=error.retry_after,
            ) from None

    def succeed(self) -> None:
        """The service does what it should."""
        self._settle(BreakerEvent.SUCCEEDED)

    def fail(self) -> None:
        """It does not."""
        self._settle(BreakerEvent.FAILED)

    def abandon(self) -> None:
        """Nobody knows."""
        self._settle(BreakerEvent.ABANDONED)

    def _settle(self, outcome: BreakerEvent) -> None:
        permit, self._permit = self._permit, None
        if permit is not None:
            self._breaker.settle(permit, outcome, trio.current_time())


async def keep_served(
    serve: Serve,
    *,
    breaker: CircuitBreaker,
    backoff: Backoff = SERVICE_BACKOFF,
    report: Report = lambda _: None,
    dice: Callable[[], float] = random.random,
) -> None:
    """Run ``serve`` again and again until it returns. A connection that lived for the longest delay starts the count anew.

    Raises: what ``serve`` raises, but ServiceUnavailableError only when the attempts are used up.
    """
    attempt = 0
    while True:
        began_s = trio.current_time()
        try:
            await _attempt(serve, breaker)
        except ServiceUnavailableError as error:
            report(error)
            if trio.current_time() - began_s >= backoff.maximum_s:
                attempt = 0
            if not backoff.allows(attempt):
                raise
            delay_s = backoff.delay_s(attempt, dice())
            attempt += not isinstance(error, CircuitOpenError)
            await trio.sleep(max(delay_s, error.retry_after_s or 0.0))
        else:
            return


async def _attempt(serve: Serve, breaker: CircuitBreaker) -> None:
    trial = Trial(breaker)
    try:
        await serve(trial)
    except ServiceUnavailableError:
        trial.fail()
        raise
    else:
        trial.succeed()
    finally:
        trial.abandon()  # cancelled, or refused: that tells nothing of its health
