"""The choice of who is heard, against its twin, and by example."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from slot_twin import MS, SlotTwin

from media.jit import helper
from media.memory import record_at, track_at
from media.slots import LONG_AGO_NS, NO_PROMINENCE, find_slot, update_prominence
from media.tables import AUDIO_SLOTS, CONTEXT, GROUP, NONE, TRACK

SPEAKERS = 6
SPEECH, WHISPER, QUIET, SILENT = 30, 50, 66, 127
START_NS = 5_000_000_000


@helper
def offer(address, track, level):
    context = record_at(CONTEXT, address)
    update_prominence(track_at(context, track), level, context.now_ns)
    return find_slot(context, 0, track, level)


class Floor:
    """One group of tracks, and a clock."""

    def __init__(self):
        self._tracks = np.zeros(SPEAKERS, TRACK)
        self._tracks["prominence_millidb"] = NO_PROMINENCE
        self._group = np.zeros(1, GROUP)
        self._group["holder"] = NONE
        self._group["heard_ns"] = self._group["since_ns"] = LONG_AGO_NS
        self._context = np.zeros(1, CONTEXT)
        self._context["tracks"] = self._tracks.ctypes.data
        self._context["groups"] = self._group.ctypes.data
        self._now_ns = START_NS

    @property
    def now_ns(self):
        return self._now_ns

    def wait(self, milliseconds):
        self._now_ns += milliseconds * MS

    def speak(self, track, level):
        self._context["now_ns"] = self._now_ns
        slot = offer(self._context.ctypes.data, track, level)
        return None if slot == NONE else (slot % AUDIO_SLOTS, slot >= AUDIO_SLOTS)

    def talk(self, levels, milliseconds):
        """Let tracks talk at once, a packet of each every 20 ms; return who was heard in the last round."""
        heard = set()
        for _ in range(milliseconds // 20):
            heard = {track for track, level in levels.items() if self.speak(track, level) is not None}
            self.wait(20)
        return heard


steps = st.lists(
    st.tuples(
        st.integers(0, SPEAKERS - 1),
        st.one_of(st.integers(0, 127), st.sampled_from([20, 26, 59, 60, 61, 70, 71])),
        st.one_of(st.just(0), st.just(20), st.integers(0, 1100), st.sampled_from([299, 300, 1000, 1001])),
        st.integers(1, 12),
    ),
    max_size=60,
)


@settings(deadline=None)
@given(steps)
def test_slots_go_to_whom_the_twin_gives_them(steps):
    floor, twin = Floor(), SlotTwin()
    for track, level, pause_ms, packets in steps:
        floor.wait(pause_ms)
        for _ in range(packets):
            assert floor.speak(track, level) == twin.speak(track, level, floor.now_ns)
            floor.wait(20)


@settings(deadline=None)
@given(steps)
def test_no_slot_has_two_speakers_and_no_speaker_two_slots(steps):
    floor = Floor()
    for track, level, pause_ms, packets in steps:
        floor.wait(pause_ms)
        for _ in range(packets):
            floor.speak(track, level)
            floor.wait(20)
        holders = [holder for holder in floor._group["holder"][0] if holder != NONE]
        assert len(set(holders)) == len(holders)


@pytest.mark.parametrize("level", [QUIET, SILENT])
def test_the_silent_get_no_slot_even_when_all_are_free(level):
    floor = Floor()
    assert floor.talk({0: level}, 3000) == set()


def test_a_speaker_is_heard_from_the_first_packet_on():
    floor = Floor()
    assert floor.speak(0, WHISPER) == (0, True)
    assert floor.speak(0, WHISPER) == (0, False)


def test_the_loudest_three_of_four_are_heard():
    floor = Floor()
    assert floor.talk({0: 40, 1: 50, 2: 40, 3: 30}, 2000) == {0, 2, 3}


def test_equals_do_not_displace_each_other():
    floor = Floor()
    first = floor.talk({0: 30, 1: 30, 2: 30}, 1000)
    assert floor.talk({0: 30, 1: 30, 2: 30, 3: 26}, 3000) == first == {0, 1, 2}


def test_a_pause_between_words_costs_no_slot():
    floor = Floor()
    floor.talk({0: 30, 1: 30, 2: 30}, 1000)
    floor.talk({0: SILENT, 1: 30, 2: 30, 3: 34}, 200)
    assert 0 in floor.talk({0: 30, 1: 30, 2: 30, 3: 34}, 1000)


def test_who_falls_silent_makes_room_for_a_waiting_equal():
    floor = Floor()
    floor.talk({0: 30, 1: 30, 2: 30, 3: 30}, 1000)
    assert floor.talk({0: SILENT, 1: 30, 2: 30, 3: 30}, 400) == {1, 2, 3}


def test_one_loud_click_takes_nobodys_slot():
    floor = Floor()
    floor.talk({0: 30, 1: 30, 2: 30, 3: SILENT}, 1000)
    assert floor.speak(3, 10) is None


def test_a_newcomer_is_not_displaced_at_once():
    floor = Floor()
    floor.talk({0: 40, 1: 40, 2: 40}, 100)
    assert floor.talk({0: 40, 1: 40, 2: 40, 3: 10}, 180) == {0, 1, 2}
    assert 3 in floor.talk({0: 40, 1: 40, 2: 40, 3: 10}, 100)


def test_silence_is_forwarded_for_a_second_and_then_no_more():
    floor = Floor()
    floor.speak(0, SPEECH)
    floor.wait(1000)
    assert floor.speak(0, SILENT) == (0, False)
    floor.wait(1)
    assert floor.speak(0, SILENT) is None
    assert floor.speak(0, SPEECH) == (0, True)


def test_who_stops_sending_makes_room():
    floor = Floor()
    for track in range(3):
        floor.speak(track, 10)
    floor.wait(1001)
    assert floor.speak(3, WHISPER) == (0, True)
    assert floor.speak(0, SPEECH) == (1, True)
