"""Counts by ranges, as Prometheus reads them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signaling.histogram import LATENCY_BOUNDS, Histogram


def test_values_are_counted_at_or_below_their_bounds() -> None:
    histogram = Histogram((0.1, 1.0))
    for value in (0.05, 0.1, 0.11, 1.0, 7.0):
        histogram.observe(value)
    assert histogram.cumulative() == [("0.1", 2), ("1.0", 4), ("+Inf", 5)]
    assert histogram.count == 5
    assert histogram.sum == pytest.approx(8.26)


@given(st.lists(st.floats(0, 100)))
def test_buckets_grow_to_the_count(values: list[float]) -> None:
    histogram = Histogram()
    for value in values:
        histogram.observe(value)
    rows = histogram.cumulative()
    assert [count for _, count in rows] == [
        sum(value <= bound for value in values) for bound in (*LATENCY_BOUNDS, float("inf"))
    ]
    assert histogram.quantile(1.0) >= max(values, default=0.0)


def test_quantiles_are_bounds() -> None:
    histogram = Histogram((1, 2, 3))
    assert histogram.quantile(0.5) == 0
    for value in (0.5, 1.5, 1.5, 9):
        histogram.observe(value)
    assert [histogram.quantile(share) for share in (0.25, 0.5, 0.75, 1)] == [1, 2, 2, float("inf")]


@pytest.mark.parametrize("bounds", [(), (1, 1), (2, 1)])
def test_bounds_must_ascend(bounds: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="ascend"):
        Histogram(bounds)
