"""A background that steps back while somebody speaks."""

import numpy as np
import pytest
from both_ways import both
from hypothesis import given, settings
from hypothesis import strategies as st
from sound_strategies import records

from media.audio.duck import ATTACK_FRAMES, RELEASE_FRAMES, duck_frame, new_ducks
from media.audio.mix import add_with_gain

ways = pytest.mark.parametrize("function", both(duck_frame))


class DuckTwin:
    """In decibels."""

    def __init__(self, depth):
        self.depth, self.now = depth, 0.0

    def frame(self, voiced):
        before = self.now
        step = -self.depth / ATTACK_FRAMES if voiced else self.depth / RELEASE_FRAMES
        self.now = float(np.clip(self.now + step, -self.depth, 0))
        return 10 ** (before / 20), 10 ** (self.now / 20)


@ways
@settings(deadline=None)
@given(depth=st.floats(0, 60, width=32), voices=st.lists(st.booleans(), max_size=60))
def test_gains_move_evenly_in_decibels_as_the_twin_says(function, depth, voices):
    ducks, twin, last = records(function, new_ducks(3, depth)), DuckTwin(depth), 1.0
    for voiced in voices:
        gain_from, gain_to = function(int(voiced), ducks, 1)
        assert gain_from == last
        assert (gain_from, gain_to) == pytest.approx(twin.frame(voiced), rel=1e-6)
        last = gain_to
    assert ducks["progress"].tolist()[::2] == [0, 0]


@ways
def test_a_background_is_12_db_down_after_40_ms_and_back_300_ms_after(function):
    ducks = records(function, new_ducks(1))
    assert function(0, ducks, 0) == (1, 1)
    down = [function(1, ducks, 0)[1] for _ in range(5)]
    assert [round(20 * np.log10(gain), 3) for gain in down] == [-6, -12, -12, -12, -12]
    up = [function(0, ducks, 0)[1] for _ in range(16)]
    assert up[13] < 1
    assert up[14:] == [1, 1]


def test_a_ducked_background_has_no_step_in_it():
    ducks, total = new_ducks(1), np.zeros((40, 960), np.float32)
    for number, frame in enumerate(total):
        add_with_gain(np.ones(960, np.float32), *duck_frame(int(5 <= number < 15), ducks, 0), frame)
    steps = np.abs(np.diff(total.ravel(), prepend=1))
    assert steps.max() < 0.51 / 960
    assert total.min() == pytest.approx(10 ** (-12 / 20))


@pytest.mark.parametrize("depth", [-1, float("nan"), float("inf")])
def test_a_depth_that_is_none_is_refused(depth):
    with pytest.raises(ValueError, match="decibels from 0 up"):
        new_ducks(1, depth)
