"""Single-producer single-consumer rings of fixed-size records.

The producer fills the slot at its count and then publishes the count; the consumer reads up to that count and then
publishes its own. Neither ever waits: a full ring refuses, and the caller counts that.

*Shapes*: `slots` structured [2**n]; `cursors` int64 [RING_CURSOR_WORDS], the two counts two cache lines apart.
"""

from typing import Any

import numpy as np

from media.atomics import load_acquire, store_release
from media.jit import helper, kernel
from media.memory import words_at
from media.tables import RING_CURSOR_WORDS, RING_READ, RING_WRITTEN


def new_cursors() -> np.ndarray[Any, np.dtype[np.int64]]:
    """Both counts at zero."""
    return np.zeros(RING_CURSOR_WORDS, np.int64)


@kernel
def push_records(slots: np.ndarray, cursors: np.ndarray, records: np.ndarray) -> int:
    """Append as many of `records` as fit. Returns how many. Producer's side only."""
    written = cursors[RING_WRITTEN]
    free = slots.size - (written - load_acquire(cursors, RING_READ))
    taken = min(free, records.size)
    for index in range(taken):
        slots[(written + index) & (slots.size - 1)] = records[index]
    store_release(cursors, RING_WRITTEN, written + taken)
    return taken


@kernel
def pop_records(slots: np.ndarray, cursors: np.ndarray, records: np.ndarray) -> int:
    """Move up to `records.size` of the oldest records out. Returns how many. Consumer's side only."""
    read = cursors[RING_READ]
    taken = min(load_acquire(cursors, RING_WRITTEN) - read, records.size)
    for index in range(taken):
        records[index] = slots[(read + index) & (slots.size - 1)]
    store_release(cursors, RING_READ, read + taken)
    return taken


@kernel
def read_count(cursors: np.ndarray) -> int:
    """How many records the consumer has finished with: the acknowledgement a producer waits for."""
    return load_acquire(cursors, RING_READ)


@helper
def slot_to_write(cursors_address: int, mask: int) -> int:
    """Index of the free slot at the producer's end, -1 when the ring is full. For kernels that write in place."""
    cursors = words_at(cursors_address, RING_CURSOR_WORDS)
    written = cursors[RING_WRITTEN]
    if written - load_acquire(cursors, RING_READ) > mask:
        return -1
    return written & mask


@helper
def publish_slot(cursors_address: int) -> None:
    """Hand the slot of `slot_to_write` to the consumer."""
    cursors = words_at(cursors_address, RING_CURSOR_WORDS)
    store_release(cursors, RING_WRITTEN, cursors[RING_WRITTEN] + 1)


@helper
def slot_to_read(cursors_address: int, mask: int) -> int:
    """Index of the oldest published slot, -1 when there is none."""
    cursors = words_at(cursors_address, RING_CURSOR_WORDS)
    read = cursors[RING_READ]
    if load_acquire(cursors, RING_WRITTEN) == read:
        return -1
    return read & mask


@helper
def release_slot(cursors_address: int) -> None:
    """Give the slot of `slot_to_read` back to the producer."""
    cursors = words_at(cursors_address, RING_CURSOR_WORDS)
    store_release(cursors, RING_READ, cursors[RING_READ] + 1)
