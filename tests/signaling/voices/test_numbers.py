"""Numbers of streams go up, go round, and are not given twice at a time."""

from signaling.messages.audio import MAX_STREAM
from signaling.voices.numbers import StreamNumbers


def test_numbers_count_from_one_and_those_given_are_known() -> None:
    numbers = StreamNumbers()
    assert not numbers.was_given(1)
    assert [numbers.give(()) for _ in range(3)] == [1, 2, 3]
    assert [number for number in range(6) if numbers.was_given(number)] == [1, 2, 3]


def test_numbers_go_round_and_leave_out_those_in_use() -> None:
    numbers = StreamNumbers()
    for _ in range(MAX_STREAM):
        numbers.give(())
    assert numbers.give({1, 2, 4}) == 3
    assert numbers.give({1, 2, 3, 4}) == 5
    assert numbers.was_given(MAX_STREAM)
    assert not numbers.was_given(0)
