"""Speech on its way: how much of each item was heard, against a slow twin."""

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from voicebot.speech import HeardSpan, Speech

RATE = 1000  # a sample is a millisecond


@given(
    pieces=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 41)), max_size=30),
    played=st.floats(0, 700),
    finished=st.booleans(),
)
def test_spans_are_what_a_count_of_samples_says(
    pieces: list[tuple[int, int]], played: float, finished: bool
) -> None:
    pieces.sort()  # items come one after the other
    speech = Speech("r", RATE, limit_s=100)
    owners: list[int] = []
    odd: dict[int, int] = {}
    for item, size in pieces:
        assert speech.append(f"i{item}", 0, bytes(size))
        odd[item] = odd.get(item, 0) + size
        owners += [item] * (odd[item] // 2 - owners.count(item))
    if finished:
        speech.finish()
    heard = owners[: round(played)]
    last = max(odd, default=None)
    assert speech.heard(played) == [
        HeardSpan(
            f"i{item}",
            0,
            heard.count(item),
            owners.count(item),
            whole=heard.count(item) == owners.count(item) and (finished or item != last),
        )
        for item in sorted(odd)
    ]
    assert speech.length_ms == len(owners)


async def test_speech_is_played_as_it_comes_and_ends_when_all_is_said(
    autojump_clock: trio.testing.MockClock,
) -> None:
    speech = Speech("r", RATE, limit_s=1)
    read = []

    async def play() -> None:
        read.extend([(piece, trio.current_time()) async for piece in speech])

    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            began = trio.current_time()
            nursery.start_soon(play)
            speech.append("i", 0, b"ab")
            await trio.sleep(1)
            speech.append("i", 0, b"cde")
            speech.append("i", 0, b"f")
            await trio.sleep(1)
            speech.finish()
    assert [(piece, round(at - began)) for piece, at in read] == [(b"ab", 0), (b"cd", 1), (b"ef", 1)]


async def test_speech_that_is_cut_ends_at_once() -> None:
    speech = Speech("r", RATE, limit_s=1)
    speech.append("i", 0, b"abcd")
    speech.cut()
    assert [piece async for piece in speech] == []
    assert not speech.append("i", 0, b"ef")
    assert speech.dropped_samples == 1


def test_speech_that_nobody_reads_is_bounded() -> None:
    speech = Speech("r", RATE, limit_s=1)
    taken = sum(speech.append("i", 0, bytes(200)) for _ in range(30))
    assert taken == 10
    assert speech.dropped_samples == 2000
    assert speech.length_ms == pytest.approx(1000)
