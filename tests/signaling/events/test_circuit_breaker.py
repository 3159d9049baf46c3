"""The breaker's table, walked; and random histories of calls against what is promised of it."""

import pytest
import trio
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from signaling.outbound.circuit_breaker import (
    TRANSITIONS,
    BreakerEvent,
    BreakerState,
    CircuitBreaker,
    CircuitOpenError,
    IllegalTransitionError,
)

CLOSED, OPEN, HALF_OPEN = BreakerState.CLOSED, BreakerState.OPEN, BreakerState.HALF_OPEN
SUCCEEDED, FAILED, ABANDONED = BreakerEvent.SUCCEEDED, BreakerEvent.FAILED, BreakerEvent.ABANDONED


def breaker_in(state: BreakerState) -> CircuitBreaker:
    breaker = CircuitBreaker("host")
    if state is not CLOSED:
        for _ in range(5):
            breaker.settle(breaker.admit(0), FAILED, 0)
    if state is HALF_OPEN:
        breaker.admit(30)
    assert breaker.state is state
    return breaker


@pytest.mark.parametrize("state", BreakerState)
@pytest.mark.parametrize("event", BreakerEvent)
def test_every_event_in_every_state_does_what_the_table_says(state, event) -> None:
    breaker = breaker_in(state)
    following = TRANSITIONS[state].get(event)
    if following is None:
        with pytest.raises(IllegalTransitionError, match=state.value):
            breaker._advance(event)
        assert breaker.state is state
    else:
        breaker._advance(event)
        assert breaker.state is following


def test_every_state_is_in_the_table_and_can_be_left() -> None:
    assert set(TRANSITIONS) == set(BreakerState)
    for state, row in TRANSITIONS.items():
        assert set(row.values()) - {state}


def test_five_failures_in_a_row_open_it_for_thirty_seconds() -> None:
    breaker = CircuitBreaker("host")
    for _ in range(4):
        breaker.settle(breaker.admit(0), FAILED, 0)
    breaker.settle(breaker.admit(0), SUCCEEDED, 0)
    for _ in range(4):
        breaker.settle(breaker.admit(0), FAILED, 0)
    assert breaker.state is CLOSED
    breaker.settle(breaker.admit(0), FAILED, 10)
    assert breaker.state is OPEN
    with pytest.raises(CircuitOpenError, match="host") as refused:
        breaker.admit(39)
    assert refused.value.retry_after == 1
    probe = breaker.admit(40)
    assert breaker.state is HALF_OPEN
    with pytest.raises(CircuitOpenError):
        breaker.admit(40)
    breaker.settle(probe, SUCCEEDED, 41)
    assert breaker.state is CLOSED
    assert breaker.statistics().refused == 2
    assert breaker.statistics().opened == 1


def test_a_probe_that_fails_opens_it_again_and_one_that_is_cancelled_lets_the_next_probe() -> None:
    breaker = breaker_in(OPEN)
    breaker.settle(breaker.admit(30), FAILED, 35)
    with pytest.raises(CircuitOpenError):
        breaker.admit(64)
    breaker.settle(breaker.admit(65), ABANDONED, 66)
    assert breaker.state is HALF_OPEN
    breaker.settle(breaker.admit(66), SUCCEEDED, 66)
    assert breaker.state is CLOSED


def test_a_call_from_before_the_opening_tells_nothing_after_it() -> None:
    breaker = CircuitBreaker("host")
    late = breaker.admit(0)
    for _ in range(5):
        breaker.settle(breaker.admit(0), FAILED, 0)
    breaker.settle(late, SUCCEEDED, 1)
    assert breaker.state is OPEN
    probe = breaker.admit(30)
    breaker.settle(breaker_in(CLOSED).admit(0), FAILED, 30)  # a permit of generation 0
    assert breaker.state is HALF_OPEN
    breaker.settle(probe, SUCCEEDED, 31)
    assert breaker.state is CLOSED


def test_a_call_cannot_end_with_what_is_no_end() -> None:
    breaker = CircuitBreaker("host")
    with pytest.raises(IllegalTransitionError, match="cannot end"):
        breaker.settle(breaker.admit(0), BreakerEvent.TRIPPED, 0)


async def test_the_guard_tells_failures_from_refusals_and_cancellation(autojump_clock) -> None:
    breaker = CircuitBreaker("host", failures=1)

    def judge(error: Exception) -> bool | None:
        return {ValueError: True, KeyError: False}.get(type(error))

    async def call(error: BaseException | None) -> None:
        async with breaker.guard(trio.current_time, judge=judge):
            if error is not None:
                raise error

    for error in (KeyError(), LookupError()):
        with pytest.raises(type(error)):
            await call(error)
    with trio.move_on_after(1) as scope:
        async with breaker.guard(trio.current_time, judge=judge):
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert breaker.statistics().failed == 0
    assert breaker.statistics().succeeded == 1
    with pytest.raises(ValueError, match="down"):
        await call(ValueError("down"))
    assert breaker.state is OPEN
    with pytest.raises(CircuitOpenError):
        await call(None)
    await trio.sleep(30)
    await call(None)
    assert breaker.state is CLOSED


class Histories(RuleBasedStateMachine):
    """Calls begin and end in any order while time passes; the twin knows only failures in a row and when it opened."""

    def __init__(self) -> None:
        super().__init__()
        self.breaker = CircuitBreaker("host", failures=3, open_seconds=10)
        self.now = 0.0
        self.under_way: list[tuple[object, int]] = []
        self.openings = 0
        self.opened_at: float | None = None
        self.in_a_row = 0
        self.probe: object | None = None

    @rule(seconds=st.floats(0, 12))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def call_begins(self) -> None:
        may = self.opened_at is None or (self.probe is None and self.now >= self.opened_at + 10)
        try:
            permit = self.breaker.admit(self.now)
        except CircuitOpenError as error:
            assert (may, error.retry_after > 0) == (False, True)  # noqa: PT017 - which of both is the model's to say
            return
        assert may
        self.under_way.append((permit, self.openings))
        if self.opened_at is not None:
            self.probe = permit

    @precondition(lambda self: self.under_way)
    @rule(data=st.data(), event=st.sampled_from([SUCCEEDED, FAILED, ABANDONED]))
    def call_ends(self, data, event: BreakerEvent) -> None:
        permit, openings = self.under_way.pop(data.draw(st.integers(0, len(self.under_way) - 1)))
        self.breaker.settle(permit, event, self.now)
        if openings != self.openings:
            return  # too late to tell anything
        if permit is self.probe:
            self.probe = None
            if event is SUCCEEDED:
                self.opened_at, self.in_a_row = None, 0
            elif event is FAILED:
                self.opened_at, self.openings = self.now, self.openings + 1
        elif event is SUCCEEDED:
            self.in_a_row = 0
        elif event is FAILED:
            self.in_a_row += 1
            if self.in_a_row >= 3:
                self.opened_at, self.openings = self.now, self.openings + 1

    @invariant()
    def it_is_closed_exactly_when_nothing_has_opened_it(self) -> None:
        assert (self.breaker.state is CLOSED) == (self.opened_at is None)
        assert self.breaker.statistics().opened == self.openings
        if self.probe is not None:
            assert self.breaker.state is HALF_OPEN


TestHistories = Histories.TestCase
TestHistories.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
