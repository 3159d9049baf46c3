"""Token buckets by key, on a clock of the test's."""

from hypothesis import given
from hypothesis import strategies as st

from signaling.auth import Allowances, Rate

RATE = Rate(burst=3, per_second=2)


def test_a_burst_then_the_rate_with_the_figures_a_client_needs() -> None:
    allowances = Allowances()
    taken = [allowances.take("a", RATE, 100) for _ in range(4)]
    assert [each.allowed for each in taken] == [True, True, True, False]
    assert [each.remaining for each in taken] == [2, 1, 0, 0]
    assert taken[0].limit == 3
    assert taken[0].full_in_seconds == 0.5
    assert taken[3].full_in_seconds == 1.5
    assert taken[3].retry_after_seconds == 0.5
    assert not allowances.take("a", RATE, 100.4).allowed
    assert allowances.take("a", RATE, 100.5).allowed


def test_keys_do_not_share() -> None:
    allowances = Allowances()
    for _ in range(3):
        assert allowances.take("a", RATE, 0).allowed
    assert not allowances.take("a", RATE, 0).allowed
    assert allowances.take("b", RATE, 0).allowed


def test_what_is_given_back_can_be_taken_again_and_is_no_profit() -> None:
    allowances = Allowances()
    for _ in range(10):
        assert allowances.take("a", RATE, 0).allowed
        allowances.give_back("a", RATE, 0)
    allowances.give_back("a", RATE, 0)
    allowances.give_back("nobody", RATE, 0)
    assert len(allowances) == 1
    assert [allowances.take("a", RATE, 0).allowed for _ in range(4)] == [True, True, True, False]


def test_memory_is_bounded_and_who_came_last_stays() -> None:
    allowances = Allowances(capacity=2)
    for _ in range(3):
        allowances.take("a", RATE, 0)
    allowances.take("b", RATE, 0)
    assert not allowances.take("a", RATE, 0).allowed  # and is the one used last
    allowances.take("c", RATE, 0)
    assert len(allowances) == 2
    assert allowances.forgotten_early == 1
    assert not allowances.take("a", RATE, 0).allowed
    # By then both are full again, and forgetting them changes nothing.
    for index in range(10):
        allowances.take(index, RATE, 1000 + 10 * index)
    assert allowances.forgotten_early == 1


def test_a_lower_limit_holds_at_once() -> None:
    allowances = Allowances()
    allowances.take("a", RATE, 0)
    assert allowances.take("a", Rate(burst=1, per_second=1), 0).allowed
    assert not allowances.take("a", Rate(burst=1, per_second=1), 0).allowed


def test_a_clock_that_runs_backwards_grants_nothing() -> None:
    allowances = Allowances()
    for _ in range(3):
        allowances.take("a", RATE, 100)
    assert not allowances.take("a", RATE, 50).allowed


@given(st.lists(st.tuples(st.floats(0, 2), st.sampled_from("ab")), max_size=100))
def test_no_sequence_of_requests_gets_more_than_burst_and_rate_allow(steps) -> None:
    allowances = Allowances()
    now = 0.0
    granted = {"a": 0, "b": 0}
    for pause, key in steps:
        now += pause
        granted[key] += allowances.take(key, RATE, now).allowed
        assert granted[key] <= RATE.burst + RATE.per_second * now + 1e-6
