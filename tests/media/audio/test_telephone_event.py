"""RFC 4733 events: one digit per press, whatever the network does to its packets."""

import numpy as np
import pytest
from both_ways import Guarded, both
from hypothesis import given, settings
from hypothesis import strategies as st
from sound_strategies import records

from media.audio.dtmf import DIGITS
from media.audio.telephone_event import (
    LATE_TICKS,
    LONGEST_TICKS,
    NO_EVENT,
    key_press,
    new_event_receivers,
    receive_event,
    write_event,
)

ways = pytest.mark.parametrize("function", both(receive_event))


class Presses:
    """The digits that a stream of packets tells of."""

    def __init__(self, function=receive_event):
        self._receive = function
        self._receivers = records(function, new_event_receivers(3))
        self.digits = ""

    def receive(self, payload, timestamp):
        code = self._receive(np.frombuffer(payload, np.uint8), timestamp & 0xFFFFFFFF, self._receivers, 1)
        assert code == NO_EVENT or 0 <= code < 16
        self.digits += "" if code == NO_EVENT else DIGITS[code]
        assert (self._receivers[[0, 2]] == new_event_receivers(2)).all()


def dial(digits, timestamp, duration=1280, pause=800, packet=160):
    """All packets of a number, with their timestamps."""
    for digit in digits:
        for sent in key_press(DIGITS.index(digit), duration, packet):
            yield sent.payload, timestamp + sent.segment_ticks
        timestamp += duration + pause


def test_a_press_is_written_as_the_rfc_has_it():
    packets = key_press(DIGITS.index("#"), 400, 160)
    assert [sent.payload.hex(" ") for sent in packets] == [
        "0b 0a 00 a0",
        "0b 0a 01 40",
        "0b 8a 01 90",
        "0b 8a 01 90",
        "0b 8a 01 90",
    ]
    assert [sent.marker for sent in packets] == [True] + [False] * 4
    assert [sent.offset_ticks for sent in packets] == [0, 160, 320, 480, 640]
    assert {sent.segment_ticks for sent in packets} == {0}


@pytest.mark.parametrize("function", both(write_event))
def test_what_does_not_fit_a_field_is_cut_to_it(function):
    payload = Guarded(bytes(4))
    assert function(5, 1, 99, 70_000, payload.array) == 4
    assert bytes(payload) == bytes([5, 0xBF, 0xFF, 0xFF])
    assert function(5, 0, -1, -1, payload.array) == 4
    assert bytes(payload) == bytes([5, 0, 0, 0])
    assert function(5, 0, 0, 0, payload.array[:3]) == 0


@ways
@settings(deadline=None)
@given(
    digits=st.text(DIGITS, min_size=1, max_size=6),
    timestamp=st.sampled_from([0, 1, 0x7FFFFFFF, 0xFFFFFF00, 0xFFFFFFFF]),
    random=st.randoms(use_true_random=False),
)
def test_a_number_is_understood_over_loss_duplication_and_reordering(function, digits, timestamp, random):
    presses = Presses(function)
    packets = list(dial(digits, timestamp))
    arriving = []
    for stamp in dict.fromkeys(stamp for _, stamp in packets):
        same = [packet for packet in packets if packet[1] == stamp]
        arriving += random.choices(same, k=random.randint(1, 12))  # some lost, some twice, in any order
    for payload, stamp in arriving:
        presses.receive(payload, stamp)
        if random.random() < 0.3:
            presses.receive(*random.choice(arriving[: arriving.index((payload, stamp)) + 1]))
    assert presses.digits == digits


@ways
def test_a_key_held_for_long_is_pressed_once(function):
    presses = Presses(function)
    packets = list(dial("5", 0xFFFF0000, duration=3 * LONGEST_TICKS + 100, packet=2000))
    assert len({stamp for _, stamp in packets}) == 4
    for payload, stamp in packets:
        presses.receive(payload, stamp)
    assert presses.digits == "5"
    presses.receive(packets[40][0], packets[-1][1] - LONGEST_TICKS)  # late, of the segment before
    assert presses.digits == "5"
    for payload, stamp in dial("55", packets[-1][1] + LONGEST_TICKS):  # it ended: this is another press
        presses.receive(payload, stamp)
    assert presses.digits == "555"


@ways
def test_a_sender_that_starts_afresh_is_heard(function):
    presses = Presses(function)
    for start in (1_000_000, 1_000_000 - LATE_TICKS - 1, 3_000_000_000, 5):
        for payload, stamp in dial("1", start):
            presses.receive(payload, stamp)
    assert presses.digits == "1111"


@ways
def test_other_events_are_no_digits(function):
    presses = Presses(function)
    presses.receive(bytes([16, 10, 0, 160]), 0)  # hook flash
    presses.receive(bytes([255, 10, 0, 160]), 1000)
    presses.receive(bytes([15, 10, 0, 160]), 2000)
    assert presses.digits == "D"


@ways
@settings(deadline=None)
@given(packets=st.lists(st.tuples(st.binary(max_size=9), st.integers(0, 0xFFFFFFFF)), max_size=20))
def test_any_bytes_are_a_digit_or_none(function, packets):
    presses = Presses(function)
    for payload, timestamp in packets:
        presses.receive(Guarded(payload).array.tobytes(), timestamp)
    told = len(presses.digits)
    assert told <= sum(len(payload) >= 4 for payload, _ in packets)
    presses.receive(b"\x05", 0)
    assert len(presses.digits) == told


@pytest.mark.parametrize("arguments", [(-1, 100, 10), (16, 100, 10), (1, 0, 10), (1, 100, 0)])
def test_presses_that_cannot_be_are_refused(arguments):
    with pytest.raises(ValueError, match=r"not the code of a digit|more than no time"):
        key_press(*arguments)
