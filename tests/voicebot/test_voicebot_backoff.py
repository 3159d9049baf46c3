"""Backoff as arithmetic."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicebot import Backoff


def test_delay_doubles_until_the_maximum() -> None:
    backoff = Backoff(initial_s=0.25, factor=2.0, maximum_s=1.5, jitter=0.5)
    assert [backoff.delay_s(attempt, 0.0) for attempt in range(5)] == [0.25, 0.5, 1.0, 1.5, 1.5]


def test_delay_is_at_least_the_part_without_jitter() -> None:
    backoff = Backoff(initial_s=0.4, jitter=0.25)
    assert backoff.delay_s(0, 1.0) == pytest.approx(0.3)


@given(attempt=st.integers(0, 10**9), fraction=st.floats(0, 1, exclude_max=True))
def test_delay_stays_within_its_bounds_for_any_attempt(attempt: int, fraction: float) -> None:
    backoff = Backoff()
    assert backoff.initial_s * (1 - backoff.jitter) <= backoff.delay_s(attempt, fraction) <= backoff.maximum_s


def test_attempts_are_bounded_unless_told_otherwise() -> None:
    assert [Backoff(attempts=2).allows(attempt) for attempt in range(3)] == [True, True, False]
    assert Backoff(attempts=None).allows(10**9)


@pytest.mark.parametrize(
    "arguments",
    [
        {"initial_s": 0.0},
        {"initial_s": 20.0, "maximum_s": 10.0},
        {"factor": 0.5},
        {"jitter": 1.5},
        {"attempts": 0},
    ],
)
def test_backoff_refuses_nonsense(arguments: dict[str, float]) -> None:
    with pytest.raises(ValueError):
        Backoff(**arguments)
