"""Rings: against a queue, around the wrap, and between two threads."""

import threading
from collections import deque

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from media.jit import helper
from media.memory import words_at
from media.ring import (
    new_cursors,
    pop_records,
    publish_slot,
    push_records,
    read_count,
    release_slot,
    slot_to_read,
    slot_to_write,
)
from media.tables import RING_READ, RING_WRITTEN

RECORD = np.dtype([("value", "i8"), ("square", "i8")])


def records_of(values):
    records = np.zeros(len(values), RECORD)
    records["value"] = values
    records["square"] = np.square(values)
    return records


def check(records):
    assert (records["square"] == np.square(records["value"])).all()
    return records["value"].tolist()


@settings(deadline=None)
@given(
    st.sampled_from([1, 2, 8]),
    st.lists(st.tuples(st.booleans(), st.integers(0, 12)), max_size=40),
    st.sampled_from([0, 5, 2**40]),
)
def test_ring_behaves_as_a_bounded_queue(capacity, operations, before):
    slots = np.zeros(capacity, RECORD)
    cursors = new_cursors()
    cursors[[RING_WRITTEN, RING_READ]] = before
    twin: deque[int] = deque()
    following = finished = 0
    for is_push, count in operations:
        if is_push:
            offered = list(range(following, following + count))
            taken = push_records(slots, cursors, records_of(offered))
            assert taken == min(count, capacity - len(twin))
            twin.extend(offered[:taken])
            following += taken
        else:
            out = np.zeros(count, RECORD)
            taken = pop_records(slots, cursors, out)
            assert taken == min(count, len(twin))
            assert check(out[:taken]) == [twin.popleft() for _ in range(taken)]
            assert not out[taken:]["value"].any()
            finished += taken
        assert read_count(cursors) == before + finished


@helper
def write_in_place(cursors, slots, mask, value):
    index = slot_to_write(cursors, mask)
    if index >= 0:
        words_at(slots, mask + 1)[index] = value
        publish_slot(cursors)
    return index


@helper
def read_in_place(cursors, slots, mask):
    index = slot_to_read(cursors, mask)
    if index < 0:
        return -1
    value = words_at(slots, mask + 1)[index]
    release_slot(cursors)
    return value


def test_ring_slots_written_in_place_come_out_in_order_and_a_full_ring_refuses():
    cursors = new_cursors()
    slots = np.zeros(4, np.int64)
    addresses = (cursors.ctypes.data, slots.ctypes.data)
    assert read_in_place(*addresses, 3) == -1
    for start in range(10):
        for value in range(start, start + 4):
            assert write_in_place(*addresses, 3, value) == (cursors[RING_WRITTEN] - 1) % 4
        assert write_in_place(*addresses, 3, 99) == -1
        assert [read_in_place(*addresses, 3) for _ in range(5)] == [*range(start, start + 4), -1]


@helper
def produce(cursors, slots, mask, count):
    for value in range(count):
        while write_in_place(cursors, slots, mask, value) < 0:
            pass


@helper
def consume(cursors, slots, mask, count):
    wrong = 0
    for value in range(count):
        found = read_in_place(cursors, slots, mask)
        while found < 0:
            found = read_in_place(cursors, slots, mask)
        if found != value:
            wrong += 1
    return wrong


@pytest.mark.parametrize("capacity", [1, 64])
def test_ring_hands_everything_over_between_two_threads(capacity):
    cursors = new_cursors()
    slots = np.zeros(capacity, np.int64)
    arguments = (cursors.ctypes.data, slots.ctypes.data, capacity - 1)
    # Compiled before the threads start: a spinning kernel must not wait for a compiler.
    produce(*arguments, 0)
    assert consume(*arguments, 0) == 0
    count = 500 * capacity
    producer = threading.Thread(target=produce, args=(*arguments, count))
    producer.start()
    assert consume(*arguments, count) == 0
    producer.join(60)
    assert not producer.is_alive()
    assert cursors[RING_READ] == cursors[RING_WRITTEN] == count
