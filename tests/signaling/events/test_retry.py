"""How often, how long between, and when it is over."""

import random

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from signaling.outbound.retry import GaveUpError, RetryableError, RetryPolicy, retry


class BusyError(RetryableError):
    def __init__(self, retry_after: float | None = None) -> None:
        super().__init__("busy")
        self.retry_after = retry_after


class RefusedError(RetryableError):
    attempted = False
    retry_after = 10.0

    def __init__(self) -> None:
        super().__init__("refused")


class Longest(random.Random):
    """The longest pause each time."""

    def uniform(self, a: float, b: float) -> float:
        return b


class Call:
    def __init__(self, *outcomes: BaseException | int, takes: float = 0.0) -> None:
        self.outcomes = list(outcomes)
        self.at: list[float] = []
        self.takes = takes
        self.start = trio.current_time()

    async def __call__(self) -> int:
        self.at.append(trio.current_time() - self.start)
        await trio.sleep(self.takes)
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome


async def test_pauses_double_up_to_the_cap(autojump_clock) -> None:
    call = Call(*[BusyError()] * 5, 7)
    policy = RetryPolicy(attempts=6, base_seconds=1, cap_seconds=5)
    assert await retry(call, policy, random=Longest()) == 7
    assert call.at == pytest.approx([0, 1, 3, 7, 12, 17])


async def test_it_gives_up_after_the_last_attempt_and_says_why(autojump_clock) -> None:
    call = Call(*[BusyError()] * 3)
    with pytest.raises(GaveUpError, match="gave up after 3 attempts: busy") as given_up:
        await retry(call, RetryPolicy(attempts=3), random=random.Random(1))
    assert given_up.value.attempts == 3
    assert isinstance(given_up.value.__cause__, BusyError)


async def test_an_error_that_will_not_pass_passes_through_at_once(autojump_clock) -> None:
    call = Call(KeyError("x"), 7)
    with pytest.raises(KeyError):
        await retry(call, RetryPolicy(), random=random.Random(1))
    assert len(call.at) == 1


async def test_retry_after_is_waited_for(autojump_clock) -> None:
    call = Call(BusyError(20), BusyError(0.1), 7)
    await retry(call, RetryPolicy(base_seconds=1), random=Longest())
    assert call.at == pytest.approx([0, 20, 22])


async def test_a_pause_that_would_cross_the_deadline_is_not_begun(autojump_clock) -> None:
    call = Call(BusyError(3600), 7)
    with pytest.raises(GaveUpError, match="after 1 attempt:"):
        await retry(call, RetryPolicy(deadline_seconds=60), random=Longest())
    assert trio.current_time() - call.start == 0


async def test_an_attempt_that_hangs_ends_with_the_deadline(autojump_clock) -> None:
    call = Call(7, takes=1000)
    with pytest.raises(GaveUpError, match="none of them ended in time"):
        await retry(call, RetryPolicy(deadline_seconds=60), random=Longest())
    assert trio.current_time() - call.start == pytest.approx(60)


async def test_a_call_that_was_not_made_is_no_attempt_and_time_still_runs_out(autojump_clock) -> None:
    call = Call(BusyError(), *[RefusedError()] * 3, BusyError(), 7)
    assert await retry(call, RetryPolicy(attempts=3, base_seconds=1), random=Longest()) == 7
    assert call.at == pytest.approx([0, 1, 11, 21, 31, 33])
    call = Call(*[RefusedError()] * 10)
    with pytest.raises(GaveUpError, match="gave up after 0 attempts: refused"):
        await retry(call, RetryPolicy(attempts=3, deadline_seconds=25), random=Longest())
    assert call.at == pytest.approx([0, 10, 20])


async def test_cancellation_is_no_failure(autojump_clock) -> None:
    call = Call(7, takes=1000)
    with trio.move_on_after(1) as scope:
        await retry(call, RetryPolicy(), random=Longest())
    assert scope.cancelled_caught


@given(st.integers(1, 5000), st.integers(0, 2**32), st.one_of(st.none(), st.floats(0, 100)))
def test_jitter_is_full_and_never_beyond_the_cap(failed: int, seed: int, retry_after: float | None) -> None:
    policy = RetryPolicy(base_seconds=0.5, cap_seconds=30)
    pause = policy.pause_seconds(failed, random.Random(seed), retry_after)
    assert (retry_after or 0) <= pause <= max(30, retry_after or 0)


def test_jitter_reaches_from_nothing_to_everything() -> None:
    chance = random.Random(1)
    pauses = [RetryPolicy(base_seconds=1).pause_seconds(3, chance) for _ in range(1000)]
    assert min(pauses) < 0.1
    assert 3.9 < max(pauses) <= 4


@pytest.mark.parametrize("wrong", [{"attempts": 0}, {"base_seconds": -1}, {"deadline_seconds": -1}])
def test_a_policy_must_make_sense(wrong) -> None:
    with pytest.raises(ValueError, match="at least one attempt"):
        RetryPolicy(**wrong)
