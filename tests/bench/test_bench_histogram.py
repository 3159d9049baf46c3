"""The latency histogram against numpy, interpreted and compiled."""

import math

import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.histogram import BUCKETS, STEPS, bucket_bounds, bucket_of, mean_ns, percentiles_ns
from media.jit import python_function


@numba.njit
def _buckets_compiled(values):
    return np.array([bucket_of(value) for value in values])


def _buckets(values):
    return np.array([python_function(bucket_of)(int(value)) for value in values])


def _histogram(values):
    return np.bincount(_buckets_compiled(np.asarray(values, np.int64)), minlength=BUCKETS).astype(np.int64)


EDGES = [-5, 0, 1, 255, 256, 257, 511, 512, 1023, 1024, 2**20 - 1, 2**20, 2**36, 2**37 - 1, 2**37, 2**62]


def test_bucket_of_is_the_same_compiled_and_interpreted_at_the_edges():
    np.testing.assert_array_equal(_buckets_compiled(np.array(EDGES)), _buckets(EDGES))


@given(st.integers(min_value=0, max_value=2**37 - 1))
def test_bucket_of_finds_the_bucket_whose_bounds_hold_the_value(value):
    bucket = python_function(bucket_of)(value)
    lower, width = bucket_bounds()
    assert lower[bucket] <= value < lower[bucket] + width[bucket]
    assert width[bucket] <= max(1, value / STEPS)


def test_bucket_bounds_leave_no_gap():
    lower, width = bucket_bounds()
    np.testing.assert_array_equal(lower[1:], (lower + width)[:-1])
    assert lower[0] == 0


@pytest.mark.parametrize("scale", [1_000, 100_000, 50_000_000])
def test_percentiles_agree_with_numpy_within_the_resolution(scale):
    values = np.random.default_rng(scale).exponential(scale, 50_000).astype(np.int64)
    percents = (1, 50, 95, 99, 99.9, 100)
    expected = np.percentile(values, percents, method="inverted_cdf")
    np.testing.assert_allclose(percentiles_ns(_histogram(values), percents), expected, rtol=0.005, atol=1)
    assert mean_ns(_histogram(values)) == pytest.approx(values.mean(), rel=0.005)


def test_percentiles_are_nan_when_nothing_was_measured():
    empty = np.zeros(BUCKETS, np.int64)
    assert all(math.isnan(value) for value in percentiles_ns(empty, (50, 99)))
    assert math.isnan(mean_ns(empty))
