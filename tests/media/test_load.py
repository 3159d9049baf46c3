"""When a worker sheds more and when less: windows of made-up load, in virtual time."""

import pytest

from media.overload import (
    BUSY_LIMIT_PERMILLE,
    MAX_HOLD_DOUBLINGS,
    MIN_HOLD_NS,
    PROBATION_NS,
    QUIET_AUDIO,
    TARGET_NS,
    WINDOW_NS,
    watch_load,
)
from media.state import Capacity, SharedMemory, WorkerMemory
from media.verdicts import Verdict

CAPACITY = Capacity(peers=1, tracks=8, inbound=1, outbound=1, history=1, commands=2, events=2, taps=2)
LATE_NS = TARGET_NS + 1
CALM_NS = TARGET_NS // 10


class Load:
    """A worker without a socket; each window is told what happened in it."""

    def __init__(self) -> None:
        self._memory = WorkerMemory(
            worker=0,
            shared=SharedMemory(1, CAPACITY),
            capacity=CAPACITY,
            socket=-1,
            wake_fd=-1,
            event_fd=-1,
            keyframe_interval_ns=0,
        )
        self.context = self._memory.context[0]
        self.context["now_ns"] = 1_000_000_000_000
        self.context["hold_doublings"] = 0
        self.window(CALM_NS)

    def window(self, wait_ns, *, busy=0.5, received=100, sent=1000, lost=False) -> int:
        """Let a window pass. Returns the level after it."""
        self.context["now_ns"] += WINDOW_NS
        self.context["busy_ns"] += int(WINDOW_NS * busy)
        self.context["received"] += received
        self._memory.counters[Verdict.DATAGRAM_SENT] += sent
        self.context["shortest_wait_ns"] = wait_ns
        self.context["tap_pressed"] = lost
        watch_load(self.context)
        return self.level

    def overload(self, windows, **options) -> int:
        for _ in range(windows):
            self.window(LATE_NS, **options)
        return self.level

    def calm(self, duration_ns, **options) -> int:
        for _ in range(duration_ns // WINDOW_NS):
            self.window(CALM_NS, **options)
        return self.level

    @property
    def level(self) -> int:
        return int(self.context["shedding"])

    @property
    def told(self) -> bool:
        """Whether the control plane has been woken since the last time."""
        pending, self.context["events_pending"] = bool(self.context["events_pending"]), 0
        return pending

    def shed_tracks(self, grades) -> None:
        for row, grade in enumerate(grades):
            self._memory.tracks[row]["shed"] = grade
            self._memory.tracks[row]["first_outbound"] = self._memory.tracks[row]["active_inbound"] = -1
        self.context["track_limit"] = len(grades)
        self.context["shed_tracks"] = len(grades)
        self.context["resumed_permille"] = 1000

    def grades(self) -> list[int]:
        return [int(one) for one in self._memory.tracks["shed"][: int(self.context["track_limit"])]]


def test_standing_queue_raises_the_level_one_by_one_to_the_last():
    load = Load()
    assert [load.window(LATE_NS) for _ in range(9)] == [0, 1, 1, 2, 2, 3, 3, 3, 3]
    assert load.told


def test_nothing_is_shed_in_a_burst():
    load = Load()
    for _ in range(20):
        assert load.window(10 * LATE_NS) == 0
        assert load.window(CALM_NS) == 0
    assert not load.told


def test_level_stays_while_the_queue_shrinks():
    load = Load()
    load.overload(2)
    assert load.level == 1
    for tenths in range(40, 20, -1):
        assert load.window(tenths * LATE_NS // 10) == 1
    assert load.window(20 * LATE_NS) == 2


def test_lost_packets_are_overload_even_when_none_waits():
    load = Load()
    assert load.window(CALM_NS, lost=True) == 0
    assert load.window(CALM_NS, lost=True) == 1


def test_flood_that_is_dropped_at_the_door_is_no_overload():
    load = Load()
    for _ in range(20):
        assert load.window(LATE_NS, received=50_000, sent=1000, lost=True, busy=1) == 0


def test_what_is_shed_counts_as_sent_when_a_flood_is_told_from_load():
    load = Load()
    load.overload(2)
    for level in (1, 2, 2, 3):
        load._memory.counters[Verdict.ROUTE_SHED_VIDEO + 1] += 1000
        assert load.window(LATE_NS, received=1000, sent=0) == level


def test_level_falls_one_by_one_when_there_has_been_no_overload_for_long_enough():
    load = Load()
    load.overload(6)
    assert load.told
    for level in (QUIET_AUDIO - 1, QUIET_AUDIO - 2, 0):
        assert load.calm(MIN_HOLD_NS - WINDOW_NS) == level + 1
        assert not load.told
        assert load.window(CALM_NS) == level
        assert load.told
    load.calm(10 * MIN_HOLD_NS)
    assert load.level == 0


def test_one_late_window_begins_the_hold_anew():
    load = Load()
    load.overload(2)
    load.calm(MIN_HOLD_NS - WINDOW_NS)
    assert load.window(LATE_NS) == 1
    assert load.calm(MIN_HOLD_NS - WINDOW_NS) == 1
    assert load.window(CALM_NS) == 0


def test_worker_with_no_time_to_spare_keeps_its_level():
    load = Load()
    load.overload(2)
    busy = BUSY_LIMIT_PERMILLE / 1000
    assert load.calm(60 * MIN_HOLD_NS, busy=busy + 0.01) == 1
    assert load.calm(2 * MIN_HOLD_NS, busy=busy - 0.01) == 0


def test_recovery_that_came_too_early_doubles_the_hold_up_to_a_limit():
    load = Load()
    load.overload(2)
    for doublings in (*range(MAX_HOLD_DOUBLINGS + 1), MAX_HOLD_DOUBLINGS):
        hold_ns = MIN_HOLD_NS << doublings
        assert load.calm(hold_ns - WINDOW_NS) == 1
        assert load.window(CALM_NS) == 0
        assert load.overload(2) == 1


def test_recovery_that_lasted_is_forgotten():
    load = Load()
    load.overload(2)
    load.calm(MIN_HOLD_NS)
    load.overload(2)
    load.calm(2 * MIN_HOLD_NS)
    assert load.level == 0
    load.calm(PROBATION_NS)
    assert load.overload(2) == 1
    assert load.calm(MIN_HOLD_NS) == 0


def test_tracks_come_back_one_in_a_window_while_there_is_time_to_spare():
    load = Load()
    load.shed_tracks([1, 1, 1])
    assert not load.told
    load.window(CALM_NS, busy=0.95)
    assert sum(load.grades()) == 3
    for left in (2, 1):
        load.window(CALM_NS)
        assert sum(load.grades()) == int(load.context["shed_tracks"]) == left
        assert not load.told
    load.window(LATE_NS)
    assert sum(load.grades()) == 1
    load.window(CALM_NS)
    assert sum(load.grades()) == 0
    assert load.told


def test_track_comes_back_only_if_one_more_like_the_last_fits():
    load = Load()
    load.shed_tracks([1] * 4)
    for busy, left in ((0.1, 3), (0.49, 2), (0.7, 2), (0.6, 1), (0.7, 0)):
        load.window(CALM_NS, busy=busy)
        assert sum(load.grades()) == left, busy


@pytest.mark.parametrize("level", [1, 2])
def test_tracks_of_a_grade_that_is_still_shed_do_not_come_back(level):
    load = Load()
    load.context["shedding"] = level
    load.context["calm_since_ns"] = load.context["now_ns"]
    load.shed_tracks([1, 2, 3])
    for _ in range(5):
        load.window(CALM_NS)
    assert load.grades() == [grade if grade <= level else 0 for grade in (1, 2, 3)]


def test_window_in_which_nothing_came_is_calm():
    load = Load()
    load.overload(2)
    for _ in range(MIN_HOLD_NS // WINDOW_NS):
        load.context["shortest_wait_ns"] = 1 << 62
        load.window(1 << 62, busy=0, received=0, sent=0)
    assert load.level == 0
    assert int(load.context["wait_ns"]) == 0
