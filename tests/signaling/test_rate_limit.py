"""The token bucket, on a clock of the test's."""

from hypothesis import given
from hypothesis import strategies as st

from signaling.rate_limit import TokenBucket


def test_a_burst_then_the_rate() -> None:
    bucket = TokenBucket(burst=3, per_second=2, now=100)
    assert [bucket.take(100) for _ in range(4)] == [True, True, True, False]
    assert not bucket.take(100.4)
    assert bucket.take(100.5)
    assert not bucket.take(100.5)


def test_it_never_holds_more_than_the_burst() -> None:
    bucket = TokenBucket(burst=2, per_second=10, now=0)
    assert [bucket.take(1000) for _ in range(3)] == [True, True, False]


@given(st.lists(st.floats(0, 2), max_size=200))
def test_no_sequence_of_requests_gets_more_than_burst_and_rate_allow(pauses: list[float]) -> None:
    bucket = TokenBucket(burst=5, per_second=3, now=0)
    now = 0.0
    granted = 0
    for pause in pauses:
        now += pause
        granted += bucket.take(now)
        assert granted <= 5 + 3 * now + 1e-6
