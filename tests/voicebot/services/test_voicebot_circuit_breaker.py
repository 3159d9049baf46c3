"""The circuit breaker against a model that remembers everything."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from voicebot.services.circuit_breaker import (
    OUTCOMES,
    TRANSITIONS,
    BreakerEvent,
    BreakerState,
    CircuitBreaker,
    Permit,
)
from voicebot.services.errors import CircuitOpenError

LIMIT = 3
OPEN_S = 10.0


class BreakerModel(RuleBasedStateMachine):
    """Calls overlap, end late or never; the model is the rules in words."""

    permits = Bundle("permits")

    def __init__(self) -> None:
        super().__init__()
        self.breaker = CircuitBreaker("x", failures=LIMIT, open_s=OPEN_S)
        self.now = 0.0
        #: Outcomes that count, since the last success or opening.
        self.failures = 0
        self.open_until: float | None = None
        self.probe: Permit | None = None
        self.current: set[int] = set()  # ids of permits from this side of the last opening
        self.kept: list[Permit] = []  # so that ids stay theirs

    @rule(seconds=st.sampled_from([0.125, 5.0, 9.875, 10.0, 30.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(target=permits)
    def call(self) -> Permit | None:
        closed = self.open_until is None
        probing = not closed and self.now >= self.open_until and self.probe is None
        if not closed and not probing:
            with pytest.raises(CircuitOpenError) as raised:
                self.breaker.admit(self.now)
            assert raised.value.retry_after_s > 0
            assert raised.value.retry_after_s <= OPEN_S
            return None
        permit = self.breaker.admit(self.now)
        self.kept.append(permit)
        self.current.add(id(permit))
        if probing:
            self.probe = permit
        return permit

    @rule(permit=consumes(permits), outcome=st.sampled_from(sorted(OUTCOMES, key=str)))
    def end(self, permit: Permit | None, outcome: BreakerEvent) -> None:
        if permit is None:
            return
        self.breaker.settle(permit, outcome, self.now)
        if id(permit) not in self.current:
            return
        probe = permit is self.probe
        if probe:
            self.probe = None
        if outcome is BreakerEvent.SUCCEEDED:
            self.failures, self.open_until = 0, None
        elif outcome is BreakerEvent.FAILED:
            self.failures += 1
            if probe or self.failures >= LIMIT:
                self.open_until = self.now + OPEN_S
                self.current.clear()

    @invariant()
    def state_is_what_the_model_says(self) -> None:
        state = self.breaker.state
        if self.open_until is None:
            assert state is BreakerState.CLOSED
        elif self.probe is not None:
            assert state is BreakerState.HALF_OPEN
        else:
            assert state in {BreakerState.OPEN, BreakerState.HALF_OPEN}


TestBreakerModel = BreakerModel.TestCase
TestBreakerModel.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def test_every_state_and_event_is_in_the_table() -> None:
    assert set(TRANSITIONS) == set(BreakerState)
    for state in (BreakerState.CLOSED, BreakerState.HALF_OPEN):
        assert OUTCOMES.issubset(TRANSITIONS[state])
    assert set(TRANSITIONS[BreakerState.OPEN]) == {BreakerEvent.PROBED}


def test_call_cannot_end_with_what_is_no_outcome() -> None:
    breaker = CircuitBreaker("x")
    permit = breaker.admit(0)
    with pytest.raises(ValueError, match="cannot end with"):
        breaker.settle(permit, BreakerEvent.TRIPPED, 0)


@pytest.mark.parametrize("wrong", [{"failures": 0}, {"open_s": 0}])
def test_breaker_that_makes_no_sense_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="expected failures"):
        CircuitBreaker("x", **wrong)


def test_figures_are_told() -> None:
    breaker = CircuitBreaker("x", failures=1, open_s=5)
    breaker.settle(breaker.admit(0), BreakerEvent.FAILED, 0)
    with pytest.raises(
        CircuitOpenError, match="x is left alone after repeated failures; it is tried again in 4 s"
    ):
        breaker.admit(1)
    statistics = breaker.statistics()
    assert (statistics.state, statistics.refused, statistics.opened) == (BreakerState.OPEN, 1, 1)
