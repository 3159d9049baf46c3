"""The packets kept for NACKs, against a log of everything that was ever kept."""

import ctypes

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from media.history import find_kept, keep_packet
from media.jit import helper
from media.memory import HISTORY_DATA, record_at
from media.tables import CONTEXT, HISTORY, HISTORY_SPAN, INBOUND, PACKET, PACKET_BYTES

STREAMS = 3


@helper
def keep(context, inbound, source):
    keep_packet(record_at(CONTEXT, context), inbound, source)


@helper
def find(context, inbound, sequence_number):
    return find_kept(record_at(CONTEXT, context), inbound, sequence_number)


class Pool:
    """A history of `capacity` packets for `STREAMS` inbound streams."""

    def __init__(self, capacity):
        self._history = np.zeros(capacity, HISTORY)
        self._index = np.zeros((STREAMS, HISTORY_SPAN), np.int32)
        self._packet = np.zeros(1, PACKET)
        self.inbound = np.zeros(STREAMS, INBOUND)
        self.inbound["generation"] = np.arange(1, STREAMS + 1)
        self._context = np.zeros(1, CONTEXT)
        self._context["history"] = self._history.ctypes.data
        self._context["history_capacity"] = capacity
        self._context["history_index"] = self._index.ctypes.data
        self._context["packet"] = self._packet.ctypes.data
        self._context["inbound"] = self.inbound.ctypes.data
        self._address = self._context.ctypes.data

    def keep(self, stream, sequence_number, data):
        source = np.frombuffer(data, np.uint8).copy()
        self._packet["sequence_number"] = sequence_number
        self._packet["length"] = len(data)
        keep(self._address, stream, source.ctypes.data)

    def find(self, stream, sequence_number):
        address = find(self._address, stream, sequence_number)
        if address == 0:
            return None
        row = (address - self._history.ctypes.data) // HISTORY.itemsize
        length = int(self._history["meta"]["length"][row])
        return ctypes.string_at(address + HISTORY_DATA, length)


sequence_numbers = st.one_of(
    st.integers(0, 6), st.integers(HISTORY_SPAN - 2, HISTORY_SPAN + 4), st.integers(0xFFFC, 0xFFFF)
)


@settings(deadline=None)
@given(
    st.integers(1, 9),
    st.lists(st.tuples(st.integers(0, STREAMS - 1), sequence_numbers, st.binary(min_size=1, max_size=8))),
)
def test_a_packet_is_found_until_the_pool_or_its_stream_has_moved_on(capacity, packets):
    pool = Pool(capacity)
    log = []
    for stream, sequence_number, data in packets:
        pool.keep(stream, sequence_number, data)
        log.append((stream, sequence_number, data))
        for wanted_stream, wanted, _ in log:
            # The stream remembers one packet for each place of its index, the pool the latest of all.
            expected = None
            for kept_stream, kept, content in reversed(log[-capacity:]):
                if kept_stream == wanted_stream and (kept - wanted) % HISTORY_SPAN == 0:
                    expected = content if kept == wanted else None
                    break
            assert pool.find(wanted_stream, wanted) == expected


def test_packets_of_an_earlier_use_of_the_row_are_not_found():
    pool = Pool(4)
    pool.keep(1, 7, b"old")
    assert pool.find(1, 7) == b"old"
    pool.inbound["generation"][1] = 99
    assert pool.find(1, 7) is None


def test_the_longest_packet_is_kept_whole():
    pool = Pool(2)
    data = bytes(index % 251 for index in range(PACKET_BYTES))
    pool.keep(0, 1, data)
    pool.keep(0, 2, b"next")
    assert pool.find(0, 1) == data
