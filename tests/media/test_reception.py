"""Reception statistics, against lists of extended sequence numbers and the formulas of RFC 3550."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from media.jit import helper
from media.memory import inbound_at, record_at
from media.reception import MAX_DROPOUT, cumulative_lost, take_fraction_lost, update_reception
from media.tables import CONTEXT, INBOUND, PACKET

CLOCK_RATE = 48_000


@helper
def update(context):
    return update_reception(record_at(CONTEXT, context), 0)


@helper
def take_fraction(context):
    return take_fraction_lost(inbound_at(record_at(CONTEXT, context), 0))


@helper
def cumulative(context):
    return cumulative_lost(inbound_at(record_at(CONTEXT, context), 0))


class Stream:
    """One inbound stream in a context of its own."""

    def __init__(self):
        self._packet = np.zeros(1, PACKET)
        self.inbound = np.zeros(1, INBOUND)
        self.inbound["clock_rate"] = CLOCK_RATE
        self._context = np.zeros(1, CONTEXT)
        self._context["packet"] = self._packet.ctypes.data
        self._context["inbound"] = self.inbound.ctypes.data
        self.address = self._context.ctypes.data

    def receive(self, sequence_number, timestamp=0, now_ns=0):
        self._packet["sequence_number"] = sequence_number
        self._packet["timestamp"] = timestamp
        self._packet["length"] = 100
        self._context["now_ns"] = now_ns
        return update(self.address)

    def take_fraction_lost(self):
        return take_fraction(self.address)

    def cumulative_lost(self):
        return cumulative(self.address)


steps = st.lists(st.integers(-100, 200), max_size=60)


@settings(deadline=None)
@given(st.integers(0, 0xFFFF), steps, st.integers(0, 60))
def test_losses_agree_with_a_list_of_extended_numbers(first, jumps, report_after):
    stream = Stream()
    numbers = [first]
    assert stream.receive(first) == 1
    expected_before = received_before = 0
    for index, jump in enumerate(jumps):
        if index == report_after:
            expected, received = max(numbers) - first + 1, len(numbers)
            assert stream.take_fraction_lost() == fraction(expected, received)
            expected_before, received_before = expected, received
        highest = max(numbers)
        numbers.append(highest + jump)
        assert stream.receive((highest + jump) & 0xFFFF) == jump
    expected = max(numbers) - first + 1
    assert stream.inbound["highest_sequence"][0] == max(numbers)
    assert stream.inbound["packets"][0] == len(numbers)
    assert stream.inbound["bytes"][0] == 100 * len(numbers)
    assert stream.cumulative_lost() == expected - len(numbers)
    assert stream.take_fraction_lost() == fraction(expected - expected_before, len(numbers) - received_before)
    assert stream.take_fraction_lost() == 0


def fraction(expected, received):
    """RFC 3550 A.3."""
    return 0 if expected <= 0 or received >= expected else min(255, 256 * (expected - received) // expected)


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 50_000_000), st.integers(-2000, 4000)), max_size=40),
    st.sampled_from([0, 0xFFFFFF00, 0x7FFFFFFF]),
)
def test_jitter_follows_the_integer_formula_of_rfc_3550_a8(packets, timestamp):
    stream = Stream()
    now_ns, jitter, transit = 10**15, 0, None
    for sequence_number, (pause_ns, ticks) in enumerate(packets):
        now_ns += pause_ns
        timestamp += ticks
        stream.receive(sequence_number, timestamp & 0xFFFFFFFF, now_ns)
        arrival = now_ns // 1000 * CLOCK_RATE // 1_000_000
        if transit is not None:
            jitter += abs(arrival - timestamp - transit) - (jitter + 8 >> 4)
        transit = arrival - timestamp
        assert stream.inbound["jitter_16ths"][0] == jitter


@pytest.mark.parametrize("jump", [MAX_DROPOUT + 1, -MAX_DROPOUT - 1, 0x7FFF, -0x8000])
def test_a_jump_too_far_is_a_publisher_that_started_afresh(jump):
    stream = Stream()
    for sequence_number in (100, 101, 110):
        stream.receive(sequence_number)
    assert stream.cumulative_lost() == 8
    assert stream.receive((110 + jump) & 0xFFFF) == 1
    assert stream.cumulative_lost() == 0
    assert stream.take_fraction_lost() == 0
    assert stream.receive((111 + jump) & 0xFFFF) == 1


@pytest.mark.parametrize("jump", [MAX_DROPOUT, -MAX_DROPOUT])
def test_a_jump_just_near_enough_is_loss_or_lateness(jump):
    stream = Stream()
    stream.receive(100)
    assert stream.receive((100 + jump) & 0xFFFF) == jump


def test_cumulative_loss_is_clamped_to_24_bits():
    stream = Stream()
    stream.receive(0)
    stream.inbound["highest_sequence"] = 2**25
    assert stream.cumulative_lost() == 0x7FFFFF
    stream.inbound["highest_sequence"] = 0
    stream.inbound["received"] = 2**25
    assert stream.cumulative_lost() == -0x800000
