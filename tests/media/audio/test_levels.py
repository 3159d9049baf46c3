"""Levels against RFC 6464, voices against noise, and who leads a conversation."""

import numpy as np
import pytest
from both_ways import both
from hypothesis import given, settings
from hypothesis import strategies as st
from level_twin import DominantTwin, VoiceTwin, level_dbov
from sound_strategies import frames, noise, plain, records, speech, tone

from media.audio.dominant_speaker import (
    NOBODY,
    SUSTAINED_FRAMES,
    choose_dominant,
    forget_speaker,
    new_dominant,
    new_speakers,
)
from media.audio.levels import LEVEL, frame_level_dbov, measure_frames
from media.audio.voice_activity import HANGOVER_FRAMES, detect_voice, detect_voices, new_voices


@pytest.mark.parametrize("function", both(frame_level_dbov))
def test_levels_are_decibels_below_overload(function):
    assert function(np.ones(960, np.float32)) == 0
    assert function(tone(1000, amplitude=1)) == 3
    assert function(tone(1000, amplitude=0.1)) == 23
    assert function(np.full(960, 10**-5.0, np.float32)) == 100
    assert function(np.zeros(960, np.float32)) == function(np.zeros(0, np.float32)) == 127
    assert function(np.full(960, 1e-7, np.float32)) == 127
    assert function(np.full(960, np.nan, np.float32)) == 127
    assert function(np.full(960, 30, np.float32)) == 0


@pytest.mark.parametrize("function", both(measure_frames))
@settings(deadline=None)
@given(rows=st.lists(frames(20, 20), max_size=3))
def test_each_row_is_measured_as_its_twin_would(function, rows):
    array = np.array(rows, np.float32).reshape(-1, 20)
    levels = np.zeros(5, LEVEL)
    assert function(array, records(function, levels)) == len(rows)
    for row, level in zip(rows, levels, strict=False):
        assert level["peak"] == pytest.approx(np.abs(plain(row)).max(), abs=1e-7)
        assert abs(level["dbov"] - level_dbov(row)) <= 1  # where rounding may fall on either side
    assert (levels[len(rows) :] == np.zeros(1, LEVEL)).all()


# Voices.


def listen(stream, function=detect_voice):
    voices = records(function, new_voices(3))
    return [bool(function(frame, voices, 1)) for frame in stream[: stream.size // 960 * 960].reshape(-1, 960)]


@pytest.mark.parametrize("function", both(detect_voice))
def test_voices_are_found_as_the_twin_finds_them(function):
    pieces = [
        noise(960 * 7, amplitude=0.002),
        speech(0.5),
        noise(960 * 15, amplitude=0.002, seed=1),
        tone(50, 960 * 4) + noise(960 * 4, amplitude=0.02),
    ]
    if hasattr(function, "py_func"):
        pieces += [noise(960 * 110, amplitude=0.01, seed=2), speech(1), tone(700, 960 * 120)]
    twin, voices = VoiceTwin(), records(function, new_voices(1))
    for frame in np.concatenate(pieces)[: sum(map(len, pieces)) // 960 * 960].reshape(-1, 960):
        voiced = function(frame, voices, 0)
        assert voiced == twin.listen(frame) == bool(voices["voiced"][0])
        assert voices["level_db"][0] == pytest.approx(twin.levels[-1], abs=0.01)
        assert voices["floor_db"][0] == pytest.approx(twin.floor, abs=0.01)
        assert voices["periodicity"][0] == pytest.approx(twin.periodicity, abs=1e-3)


@pytest.mark.parametrize("pitch", [90, 120, 160, 220, 300])
@pytest.mark.parametrize("background", [0.0001, 0.005])
def test_speech_is_found_within_two_frames_of_its_first_vowel_and_to_its_end(pitch, background):
    before, said = noise(960 * 50, amplitude=background), speech(2, pitch=pitch)
    after = noise(960 * 50, amplitude=background, seed=1)
    voiced = listen(np.concatenate([before, said + noise(said.size, amplitude=background, seed=2), after]))
    vowel = (before.size + 48_000 // 20) // 960
    assert not any(voiced[:50])
    assert any(voiced[vowel : vowel + 3])  # the frame it begins in, and two more
    assert all(voiced[vowel + 3 : 150])
    end = len(voiced) - voiced[::-1].index(True)
    assert 150 - 4 <= end - HANGOVER_FRAMES <= 150


@pytest.mark.parametrize("amplitude", [0.0005, 0.01, 0.1, 0.5])
def test_steady_noise_is_no_voice(amplitude):
    quiet = noise(960 * 20, amplitude=0.0005)
    assert not any(listen(np.concatenate([quiet, noise(960 * 300, amplitude=amplitude, seed=3)])))


def test_a_steady_hum_becomes_the_floor_within_two_seconds():
    voiced = listen(tone(150, 960 * 200, amplitude=0.1))
    assert not any(voiced[100 + HANGOVER_FRAMES :])


def test_keys_and_knocks_are_no_voice():
    knocks = np.zeros(960 * 200, np.float32)
    knocks[::16_000] = 0.5
    ringing = noise(500, amplitude=1) * np.exp(-np.arange(500) / 80)
    assert not any(listen(np.convolve(knocks, ringing)[: knocks.size].astype(np.float32)))


@pytest.mark.parametrize("function", both(detect_voice))
def test_any_samples_leave_the_detector_in_order(function):
    voices = records(function, new_voices(1))
    for frame in (
        np.full(960, np.nan, np.float32),
        np.full(960, np.inf, np.float32),
        np.full(960, 3e38, np.float32) * np.float32([1, -1] * 480),
        noise(100),
        np.zeros(0, np.float32),
        noise(2000),
    ):
        function(frame, voices, 0)
        for name in ("level_db", "floor_db", "periodicity", "history", "minima", "last_output"):
            assert np.isfinite(voices[name]).all()


@pytest.mark.parametrize("function", both(detect_voices))
def test_rows_are_told_apart(function):
    voices = records(function, new_voices(3))
    talking = speech(0.5).reshape(-1, 960)
    found = [
        function(np.stack([noise(960, seed=index), frame]), voices) for index, frame in enumerate(talking)
    ]
    assert found[-1] == 1
    assert voices["voiced"].tolist() == [0, 1, 0]


# Who leads.


def lobby(function, present, speakers, dominants):
    rows, levels, voiced = (np.array(column, np.int32) for column in zip(*present, strict=True))
    return function(rows, levels, voiced, speakers, dominants, 1)


@pytest.mark.parametrize("function", both(choose_dominant))
@settings(deadline=None, max_examples=40)
@given(
    st.lists(
        st.tuples(
            st.lists(st.tuples(st.sampled_from([20, 31, 43, 60]), st.booleans()), min_size=4, max_size=4),
            st.integers(1, 30),
        ),
        max_size=10,
    )
)
def test_the_leader_is_the_one_the_twin_names(function, turns):
    twin = DominantTwin()
    speakers, dominants = records(function, new_speakers(6)), records(function, new_dominant(3))
    for states, length in turns:
        for _ in range(length):
            present = [(row, level, voiced) for row, (level, voiced) in enumerate(states)]
            chosen = lobby(function, present, speakers, dominants)
            named = twin.choose({row: (level, voiced) for row, level, voiced in present})
            assert chosen == (NOBODY if named is None else named)
    assert dominants["speaker"].tolist()[::2] == [NOBODY] * 2


@pytest.mark.parametrize("function", both(choose_dominant))
def test_a_cough_displaces_nobody_and_an_answer_does(function):
    speakers, dominants = records(function, new_speakers(3)), records(function, new_dominant(2))
    assert lobby(function, [(0, 127, 0), (2, 127, 0)], speakers, dominants) == NOBODY
    for _ in range(100):
        assert lobby(function, [(0, 30, 1), (2, 127, 0)], speakers, dominants) == 0
    for _ in range(SUSTAINED_FRAMES - 1):
        assert lobby(function, [(0, 127, 0), (2, 25, 1)], speakers, dominants) == 0
    for _ in range(50):
        assert lobby(function, [(0, 127, 0), (2, 127, 0)], speakers, dominants) == 0
    leaders = [lobby(function, [(0, 127, 0), (2, 30, 1)], speakers, dominants) for _ in range(30)]
    assert leaders.index(2) == SUSTAINED_FRAMES - 1
    for _ in range(100):
        assert lobby(function, [(0, 30, 1), (2, 30, 1)], speakers, dominants) == 2


@pytest.mark.parametrize(
    ("choose", "forget"), list(zip(both(choose_dominant), both(forget_speaker), strict=True))
)
def test_who_leaves_leads_no_more_and_comes_back_with_nothing(choose, forget):
    speakers, dominants = records(choose, new_speakers(3)), records(choose, new_dominant(2))
    for _ in range(30):
        assert lobby(choose, [(0, 20, 1), (1, 60, 1), (7, 0, 1), (-1, 0, 1)], speakers, dominants) == 0
    forget(0, speakers, dominants, 0)
    assert dominants["speaker"].tolist() == [NOBODY, 0]
    forget(0, speakers, dominants, 1)
    forget(99, speakers, dominants, 1)
    assert dominants["speaker"].tolist() == [NOBODY, NOBODY]
    assert speakers["activity"][0] == 0
    assert lobby(choose, [(0, 127, 0), (1, 60, 1)], speakers, dominants) == 1
