"""When a frame is due, what is in it, and that numbers ascend."""

from math import inf

from hypothesis import given
from hypothesis import strategies as st
from test_event_mapping import AT

from signaling.event_feed.batch import FREQUENT_SECONDS, FeedBatch
from signaling.messages.feed import FeedEvent


def event(seq: int) -> FeedEvent:
    return FeedEvent(seq=seq, at=AT, type="Happened", data={}, correlation_id="")


def test_an_event_is_due_at_once_and_nothing_never() -> None:
    batch = FeedBatch()
    assert batch.due_at() == inf
    batch.add(event(1))
    assert batch.due_at() <= 0
    assert [each.seq for each in batch.take(5).events] == [1]
    assert batch.due_at() == inf
    assert batch.empty


def test_the_client_chooses_the_least_time_between_frames() -> None:
    batch = FeedBatch(min_interval_seconds=2)
    batch.add(event(1))
    batch.take(5)
    batch.add(event(2))
    assert batch.due_at() == 7


def test_passing_states_wait_and_only_the_newest_is_sent() -> None:
    batch = FeedBatch()
    batch.add(event(1))
    batch.take(10)
    for seq, who in ((2, "a"), (3, "b"), (4, "a")):
        batch.add(event(seq), state=who)
    assert batch.due_at() == 10 + FREQUENT_SECONDS
    frame = batch.take(10.2)
    assert [each.seq for each in frame.events] == [3, 4]
    assert frame.missed == 1


def test_passing_states_ride_with_what_is_sent_anyway() -> None:
    batch = FeedBatch()
    batch.add(event(1), state="a")
    batch.take(10)
    batch.add(event(2), state="a")
    batch.add(event(3))
    assert batch.due_at() == 10
    assert [each.seq for each in batch.take(10).events] == [2, 3]


def test_a_full_frame_is_due_whatever_the_client_wants() -> None:
    batch = FeedBatch(min_interval_seconds=60, max_events=3)
    for seq in range(1, 6):
        batch.add(event(seq))
    assert batch.full
    assert batch.due_at() == -inf
    assert [each.seq for each in batch.take(0).events] == [1, 2, 3]
    assert not batch.full
    assert batch.due_at() == 60


@given(
    st.lists(st.tuples(st.sampled_from(["", "a", "b"]), st.booleans(), st.floats(0, 0.5))),
    st.sampled_from([0.0, 0.3]),
)
def test_numbers_ascend_and_nothing_but_what_was_replaced_is_left_out(steps, interval) -> None:
    batch = FeedBatch(min_interval_seconds=interval, max_events=4)
    now, sent, missed, newest = 0.0, [], 0, {}
    frames: list[float] = []
    for seq, (state, look, wait) in enumerate(steps, 1):
        now += wait
        batch.add(event(seq), state or None)
        newest[state or seq] = seq
        if look and batch.due_at() <= now:
            full = batch.full
            frame = batch.take(now)
            if not full:
                assert not frames or now - frames[-1] >= interval - 1e-9
            frames.append(now)
            sent += [each.seq for each in frame.events]
            missed += frame.missed
    while not batch.empty:
        frame = batch.take(now)
        sent += [each.seq for each in frame.events]
        missed += frame.missed
    assert sent == sorted(set(sent))
    assert len(sent) + missed == len(steps)
    assert set(newest.values()) <= set(sent)
