"""Audio on its way to a service: how much waits, what is lost, and when what a service heard was said."""

from itertools import pairwise

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from voicebot.audio.frame import AudioFrame
from voicebot.services.audio_feed import AudioFeed
from voicebot.services.bounded_queue import BoundedQueue
from voicebot.services.timeline import MAX_BREAKS, Timeline
from voicebot.voice_gate import VoiceGate

RATE = 1000  # a sample is a millisecond


@given(st.lists(st.integers(1, 60), max_size=60), st.integers(20, 500))
async def test_newest_audio_waits_and_the_rest_is_counted(sizes: list[int], limit: int) -> None:
    feed = AudioFeed(RATE, limit_ms=limit)
    at = 0
    for size in sizes:
        feed.put_nowait(bytes(2 * size), at)
        at += size
        assert feed.waiting_ms <= max(limit, size)
        # No more than needed is dropped.
        assert feed.dropped_ms == 0 or feed.waiting_ms > limit - 60
    assert feed.waiting_ms + feed.dropped_ms == at
    feed.finish()
    read = []
    while (chunk := await feed.get()) is not None:
        read.append(chunk)
    assert sum(chunk.samples for chunk in read) == at - feed.dropped_samples
    # What is left is the end of it, without holes.
    for before, after in pairwise(read):
        assert before.timestamp + before.samples == after.timestamp
    if read:
        assert read[-1].timestamp + read[-1].samples == at


async def test_feed_is_tightened_once_nobody_should_wait_any_more() -> None:
    feed = AudioFeed(RATE, limit_ms=2000)
    for number in range(100):
        feed.put_nowait(bytes(40), number * 20)
    assert feed.dropped_samples == 0
    feed.tighten()
    assert feed.waiting_ms == 200
    feed.tighten(5000)  # never looser
    assert feed.limit_ms == 200
    chunk = await feed.get()
    assert chunk is not None
    assert chunk.timestamp == 1800


async def test_feed_makes_its_reader_wait(autojump_clock) -> None:
    feed = AudioFeed(RATE)
    read = []

    async def take() -> None:
        while (chunk := await feed.get()) is not None:
            read.append((chunk.timestamp, trio.current_time()))

    async with trio.open_nursery() as nursery:
        began = trio.current_time()
        nursery.start_soon(take)
        for number in range(3):
            await trio.sleep(1)
            feed.put_nowait(b"ab", number)
        await trio.sleep(1)
        feed.finish()
    assert [(timestamp, round(at - began)) for timestamp, at in read] == [(0, 1), (1, 2), (2, 3)]


@given(st.lists(st.tuples(st.integers(0, 300), st.integers(1, 50)), min_size=1, max_size=40))
def test_time_of_the_source_is_that_of_the_sample(chunks: list[tuple[int, int]]) -> None:
    timeline = Timeline(RATE)
    times: list[int] = []  # of each sample that was sent
    at = 0
    for pause, size in chunks:
        at += pause
        timeline.add(at, size)
        times += range(at, at + size)
        at += size
    assert timeline.sent_s == pytest.approx(len(times) / RATE)
    for position in range(0, len(times), 7):
        assert timeline.source_ms(position / RATE) == pytest.approx(times[position], abs=1e-6)


def test_timeline_remembers_a_bounded_number_of_breaks() -> None:
    timeline = Timeline(RATE)
    for number in range(3 * MAX_BREAKS):
        timeline.add(1000 * number, 10)
    assert timeline.source_ms(timeline.sent_s - 0.005) == pytest.approx(1000 * (3 * MAX_BREAKS - 1) + 5)
    assert timeline.source_ms(-1) >= 0


def frame(number: int, *, voiced: bool, level: int = 127) -> AudioFrame:
    return AudioFrame(bytes(40), RATE, number * 20, level=level, voiced=voiced)


def test_gate_lets_voices_through_with_what_is_around_them() -> None:
    gate = VoiceGate(hangover_ms=100, lead_ms=60)
    voiced = {20, 21, 22, 60}
    through = [
        each.timestamp // 20
        for number in range(100)
        for each in gate.hear(frame(number, voiced=number in voiced))
    ]
    assert through == [*range(17, 28), *range(57, 66)]
    assert gate.kept_back_ms == (100 - len(through) - 3) * 20


def test_gate_lets_through_what_is_loud_though_no_voice_is_heard_in_it() -> None:
    gate = VoiceGate()
    assert gate.hear(frame(0, voiced=False, level=61)) == []
    assert len(gate.hear(frame(1, voiced=False, level=59))) == 2


async def test_queue_drops_the_oldest_and_ends_after_its_close() -> None:
    queue: BoundedQueue[int] = BoundedQueue(3)
    for number in range(5):
        queue.put_nowait(number)
    queue.close()
    queue.put_nowait(9)
    assert [number async for number in queue] == [2, 3, 4]
    assert queue.dropped == 2
    queue = BoundedQueue(3)
    queue.put_nowait(1)
    queue.clear()
    assert queue.dropped == 1
