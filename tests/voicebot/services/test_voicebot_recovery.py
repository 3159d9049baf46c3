"""Staying with a service: attempts, their times, and what they tell the circuit breaker. Virtual time."""

import pytest
import trio
import trio.testing

from signaling.outbound.circuit_breaker import BreakerState, CircuitBreaker
from voicebot.backoff import Backoff
from voicebot.services.errors import CircuitOpenError, ServiceRefusedError, ServiceUnavailableError
from voicebot.services.recovery import Trial, keep_served

STEADY = Backoff(initial_s=1, factor=2, maximum_s=8, jitter=0, attempts=None)


class Service:
    """Fails as it is told to, and notes when it was tried."""

    def __init__(self, *lives: float | Exception) -> None:
        #: Each attempt: how long it lives before it breaks, or what it raises at once; after the last all is well.
        self.lives = list(lives)
        self.tried: list[float] = []
        self.reports: list[str] = []
        self.began = trio.current_time()

    async def serve(self, trial: Trial) -> None:
        self.tried.append(trio.current_time() - self.began)
        if not self.lives:
            return
        life = self.lives.pop(0)
        if isinstance(life, Exception):
            raise life
        trial.succeed()
        await trio.sleep(life)
        raise ServiceUnavailableError("x", "broke")

    def report(self, error: ServiceUnavailableError) -> None:
        self.reports.append(type(error).__name__)

    async def run(self, breaker: CircuitBreaker | None = None, backoff: Backoff = STEADY) -> None:
        with trio.fail_after(1000):
            await keep_served(
                self.serve,
                breaker=breaker or CircuitBreaker("x", failures=100),
                backoff=backoff,
                report=self.report,
                dice=lambda: 0.0,
            )


def down(retry_after_s: float | None = None) -> ServiceUnavailableError:
    return ServiceUnavailableError("x", "is down", retry_after_s=retry_after_s)


async def test_attempts_come_ever_later_up_to_the_longest_delay(
    autojump_clock: trio.testing.MockClock,
) -> None:
    service = Service(*[down()] * 6)
    await service.run()
    assert service.tried == pytest.approx([0, 1, 3, 7, 15, 23, 31])


async def test_count_starts_anew_after_a_connection_that_lived(
    autojump_clock: trio.testing.MockClock,
) -> None:
    service = Service(down(), down(), 8.0, down())
    await service.run()
    assert service.tried == pytest.approx([0, 1, 3, 12, 14])


async def test_connection_that_dies_young_does_not(autojump_clock: trio.testing.MockClock) -> None:
    service = Service(*[0.5] * 4)
    await service.run()
    assert service.tried == pytest.approx([0, 1.5, 4, 8.5, 17])


async def test_service_that_asks_for_patience_gets_it(autojump_clock: trio.testing.MockClock) -> None:
    service = Service(down(retry_after_s=50))
    await service.run()
    assert service.tried == pytest.approx([0, 50])


async def test_open_circuit_is_waited_for_and_closed_by_the_probe(
    autojump_clock: trio.testing.MockClock,
) -> None:
    breaker = CircuitBreaker("x", failures=3, open_seconds=30)
    service = Service(*[down()] * 4)
    await service.run(breaker)
    # Three failures at 0, 1 and 3 open it; the probe at 33 fails as well.
    assert service.tried == pytest.approx([0, 1, 3, 33, 63])
    assert service.reports.count(CircuitOpenError.__name__) == 2
    assert breaker.state is BreakerState.CLOSED


async def test_open_circuit_says_when_it_is_tried_again(autojump_clock: trio.testing.MockClock) -> None:
    breaker = CircuitBreaker("x", failures=1, open_seconds=5)
    Trial(breaker).fail()
    await trio.sleep(1)
    with pytest.raises(CircuitOpenError, match=r"^x is left alone .* tried again in 4 s") as raised:
        Trial(breaker)
    assert raised.value.retry_after_s == 4


async def test_refusal_ends_it_at_once_and_says_nothing_of_its_health(
    autojump_clock: trio.testing.MockClock,
) -> None:
    breaker = CircuitBreaker("x", failures=1)
    service = Service(ServiceRefusedError("x", "does not want us"))
    with pytest.raises(ServiceRefusedError):
        await service.run(breaker)
    assert breaker.state is BreakerState.CLOSED


async def test_attempts_may_be_bounded(autojump_clock: trio.testing.MockClock) -> None:
    service = Service(*[down()] * 10)
    with pytest.raises(ServiceUnavailableError, match="is down"):
        await service.run(backoff=Backoff(initial_s=1, factor=1, maximum_s=1, jitter=0, attempts=2))
    assert len(service.tried) == 3


async def test_probe_that_is_cancelled_leaves_it_to_the_next(autojump_clock: trio.testing.MockClock) -> None:
    breaker = CircuitBreaker("x", failures=1, open_seconds=5)
    with trio.move_on_after(1):
        await Service(down()).run(breaker)
    assert breaker.state is BreakerState.OPEN
    await trio.sleep(5)

    async def hang(trial: Trial) -> None:
        await trio.sleep_forever()

    with trio.move_on_after(1):
        await keep_served(hang, breaker=breaker)
    assert breaker.state is BreakerState.HALF_OPEN
    await Service().run(breaker)
    assert breaker.state is BreakerState.CLOSED
