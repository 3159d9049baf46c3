"""The search for the highest rate, against relays whose capacity is known."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.search import MAX_STEPS, RESOLUTION, search_highest_rate


class Relay:
    """Carries what is below its capacity; fails by chance in the trials listed."""

    def __init__(self, capacity, unlucky=()):
        self.capacity = capacity
        self.unlucky = set(unlucky)
        self.trials = 0

    async def try_rate(self, rate):
        self.trials += 1
        return rate <= self.capacity and self.trials not in self.unlucky


@settings(max_examples=50, deadline=None)
@given(capacity=st.floats(60, 1e6), start=st.floats(1, 1e6))
async def test_search_ends_within_the_resolution_below_the_capacity(capacity, start):
    relay = Relay(capacity)
    found = await search_highest_rate(start, 1e9, relay.try_rate)
    assert found.best <= capacity < found.best * RESOLUTION
    assert relay.trials <= 2 * MAX_STEPS


async def test_one_unlucky_trial_does_not_end_the_search():
    found = await search_highest_rate(50, 1e9, Relay(1000, unlucky=[1, 4, 9]).try_rate)
    assert 1000 / RESOLUTION <= found.best <= 1000


async def test_search_stops_at_the_ceiling():
    found = await search_highest_rate(50, 700, Relay(1e9).try_rate)
    assert (found.best, found.failed) == (700, 0)


async def test_search_reports_when_nothing_passes():
    found = await search_highest_rate(50, 1e9, Relay(0).try_rate)
    assert found.best == 0
    assert found.failed == pytest.approx(0, abs=1e-6)
