"""Frames of a stream: whole, in order, bounded, and honest about what is missing."""

import numpy as np
import pytest
from fake_mix import FakeFrame
from hypothesis import given
from hypothesis import strategies as st

from signaling.messages import AudioFrameWire, decode_audio_frame_untrusted
from signaling.voices.stream import MAX_FRAMES, HeardStream

SIZE = 320


def heard(place: int, **marks: object) -> FakeFrame:
    """Return 20 ms at 16 kHz, every sample of which is the number of the frame."""
    return FakeFrame(np.full(SIZE, place, np.int16), place * SIZE, **marks)


def fetched(stream: HeardStream) -> list[AudioFrameWire]:
    frames = []
    while message := stream.fetch():
        frames.append(decode_audio_frame_untrusted(message))
    return frames


def numbers(frame: AudioFrameWire) -> list[int]:
    """Return of which 20 ms the frame consists."""
    return [int(each) for each in np.frombuffer(frame.pcm, "<i2")[::SIZE]]


def test_a_frame_comes_out_as_it_went_in() -> None:
    stream = HeardStream(7, rate=16000, frame_ms=20)
    stream.hear(heard(3, level_dbov=30, voiced=True, gap=True), 960)
    (frame,) = fetched(stream)
    assert frame == AudioFrameWire(
        7, heard(3).samples.tobytes(), timestamp=960, level_dbov=30, voiced=True, gap=True
    )
    assert stream.fetch() == b""


@pytest.mark.parametrize(("frame_ms", "parts"), [(20, 1), (40, 2), (60, 3), (100, 5)])
def test_longer_frames_are_put_together_and_marked_with_what_is_in_them(frame_ms: int, parts: int) -> None:
    stream = HeardStream(1, rate=16000, frame_ms=frame_ms)
    for place in range(2 * parts):
        loudest = place == parts
        marks = {"level_dbov": 20 if loudest else 60, "voiced": loudest, "gap": loudest}
        stream.hear(heard(place, **marks), place * SIZE)
    first, second = fetched(stream)
    assert numbers(first) == list(range(parts))
    assert numbers(second) == list(range(parts, 2 * parts))
    assert (first.timestamp, second.timestamp) == (0, parts * SIZE)
    assert (first.level_dbov, first.voiced, first.gap) == (60, False, False)
    assert (second.level_dbov, second.voiced, second.gap) == (20, True, True)


def test_a_frame_that_silence_has_cut_short_is_filled_with_silence() -> None:
    stream = HeardStream(1, rate=16000, frame_ms=60)
    stream.hear(heard(1), 0)
    stream.hear(heard(2), SIZE)
    for place in (100, 101, 102):
        stream.hear(heard(place), place * SIZE)
    first, second = fetched(stream)
    assert numbers(first) == [1, 2, 0]
    assert numbers(second) == [100, 101, 102]
    assert (first.timestamp, second.timestamp, second.gap) == (0, 100 * SIZE, False)


def test_who_is_too_slow_misses_the_oldest_and_is_told_where() -> None:
    stream = HeardStream(1, rate=16000, frame_ms=20)
    dropped = sum(stream.hear(heard(place), place * SIZE) for place in range(MAX_FRAMES + 3))
    assert dropped == stream.dropped == 3
    frames = fetched(stream)
    assert [numbers(each) for each in frames] == [[place] for place in range(3, MAX_FRAMES + 3)]
    assert [each.gap for each in frames] == [True] + [False] * (MAX_FRAMES - 1)
    stream.hear(heard(1000), 1000 * SIZE)
    assert [each.gap for each in fetched(stream)] == [False]


def test_what_is_discarded_is_counted_and_the_next_frame_says_so() -> None:
    stream = HeardStream(1, rate=16000, frame_ms=20)
    for place in range(5):
        stream.hear(heard(place), place * SIZE)
    assert stream.discard() == 5
    assert (stream.waiting, stream.dropped) == (0, 5)
    for place in (5, 6):
        stream.hear(heard(place), place * SIZE)
    assert [each.gap for each in fetched(stream)] == [True, False]


@given(
    st.lists(st.sampled_from(["hear", "hear", "hear", "silence", "fetch", "discard"]), max_size=400),
    st.sampled_from([20, 40, 60, 100]),
)
def test_frames_are_whole_in_order_and_say_exactly_what_is_missing(steps: list[str], frame_ms: int) -> None:
    stream = HeardStream(1, rate=8000, frame_ms=frame_ms)
    size = 160
    at = 0
    taken: list[AudioFrameWire] = []
    #: All frames that were ever made: a twin that never drops.
    twin = HeardStream(1, rate=8000, frame_ms=frame_ms)
    made: list[AudioFrameWire] = []
    for step in steps:
        if step == "hear":
            frame = FakeFrame(np.full(size, at % 1000, np.int16), at)
            stream.hear(frame, at)
            twin.hear(frame, at)
            made += fetched(twin)
            at += size
        elif step == "silence":
            at += 100 * size
        elif step == "discard":
            stream.discard()
        elif message := stream.fetch():
            taken.append(decode_audio_frame_untrusted(message))
    taken += fetched(stream)
    assert len(taken) + stream.dropped == len(made)
    places = {each.timestamp: place for place, each in enumerate(made)}
    expected = -1
    for each in taken:
        place = places[each.timestamp]
        assert each.pcm == made[place].pcm
        assert each.samples == size * frame_ms // 20
        assert place > expected
        assert each.gap == (place != expected + 1)
        expected = place
