"""Digits in sound: those that Q.24 wants found, and those that it does not."""

from itertools import pairwise

import numpy as np
import pytest
from both_ways import both
from hypothesis import given, settings
from hypothesis import strategies as st
from sound_strategies import frames, noise, records, speech, tone

from media.audio.dtmf import DIGITS, DTMF_DETECTOR, HIGH_HZ, KEYS, LOW_HZ, detect_digits, new_dtmf_detectors
from media.audio.samples import RATES


def press(digit, seconds, rate=8000, *, low=0.25, high=0.25, off=1.0):
    (row,) = (row for row in range(4) if digit in KEYS[row])
    count = round(seconds * rate)
    return tone(LOW_HZ[row] * off, count, rate=rate, amplitude=low) + tone(
        HIGH_HZ[KEYS[row].index(digit)] * off, count, rate=rate, amplitude=high
    )


def silence(seconds, rate=8000):
    return np.zeros(round(seconds * rate), np.float32)


def detect(samples, rate=8000, function=detect_digits, size=None):
    detectors = records(function, new_dtmf_detectors(3, rate))
    found, size = [], size or rate // 50
    for start in range(0, samples.size, size):
        output = np.full(4, -7, np.int32)
        count = function(samples[start : start + size], detectors, 1, output)
        assert (output[count:] == -7).all()
        found += [DIGITS[code] for code in output[:count]]
    assert (detectors[[0, 2]] == new_dtmf_detectors(2, rate)).all()
    return "".join(found)


@pytest.mark.parametrize("function", both(detect_digits))
def test_all_keys_are_told_once_each(function):
    samples = np.concatenate([part for key in DIGITS for part in (press(key, 0.05), silence(0.05))])
    assert detect(samples, function=function) == DIGITS


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("offset", [0, 0.003, 0.007, 0.011])
def test_40_ms_of_tone_and_40_ms_of_pause_are_enough_at_every_rate(rate, offset):
    dialled = "1122*0#D97"
    parts = [part for key in dialled for part in (press(key, 0.04, rate), silence(0.04, rate))]
    samples = np.concatenate([silence(offset, rate), *parts])
    assert detect(samples + noise(samples.size, amplitude=0.005), rate) == dialled


def goertzel_twin(samples, rate):
    """The digit of each whole block, by correlation with the eight tones rather than by recursion."""
    count = round(rate * 0.01275)
    for block in samples[: samples.size // count * count].reshape(-1, count).astype(np.float64):
        power = {}
        for hertz in (*LOW_HZ, *HIGH_HZ):
            wave = np.exp(-2j * np.pi * hertz / rate * np.arange(count))
            power[hertz] = 2 * abs(block @ wave) ** 2 / count**2
        best = []
        for group in (LOW_HZ, HIGH_HZ):
            second, first = sorted(power[hertz] for hertz in group)[2:]
            best.append(next(h for h in group if power[h] == first) if first >= second * 6.3 else None)
        low, high = best
        if None in best or not (
            power[low] <= 6.3 * power[high]
            and power[high] <= 2.5 * power[low]
            and min(power[low], power[high]) >= 2e-5
            and power[low] + power[high] >= 0.74 * np.mean(block**2)
        ):
            yield None
        else:
            yield KEYS[LOW_HZ.index(low)][HIGH_HZ.index(high)]


def presses_twin(hits):
    """Presses in the text of all blocks: begun by two alike, ended by three that differ."""
    pressed, others, last = None, 0, None
    for hit in hits:
        if pressed is not None and hit == pressed:
            others = 0
        else:
            others += 1
            if pressed is None or others >= 3:
                pressed = None
                if hit is not None and hit == last:
                    pressed, others = hit, 0
                    yield hit
        last = hit


@pytest.mark.parametrize("function", both(detect_digits))
@settings(deadline=None, max_examples=30)
@given(
    parts=st.lists(
        st.tuples(
            st.sampled_from([None, *"159D"]),
            st.integers(3, 60),
            st.sampled_from([0.01, 0.25]),
            st.sampled_from([0.05, 0.25, 0.4]),
        ),
        max_size=5,
    ),
    size=st.integers(1, 300),
)
def test_any_dialling_is_what_the_twin_makes_of_it(function, parts, size):
    pieces = [
        silence(ms / 1000) if key is None else press(key, ms / 1000, low=low, high=high)
        for key, ms, low, high in parts
    ]
    samples = np.concatenate([*pieces, silence(0.02)])
    samples += noise(samples.size, amplitude=0.001)
    assert detect(samples, function=function, size=size) == "".join(
        presses_twin(goertzel_twin(samples, 8000))
    )


@pytest.mark.parametrize(
    ("low", "high", "found"),
    [
        (0.25, 0.25, True),
        (0.25, 0.25 * 10 ** (-7 / 20), True),  # 8 dB of twist this way
        (0.25, 0.25 * 10 ** (-9.5 / 20), False),
        (0.25 * 10 ** (-3.5 / 20), 0.25, True),  # 4 dB the other way
        (0.25 * 10 ** (-5 / 20), 0.25, False),
        (0.01, 0.01, True),  # -40 dBFS
        (0.003, 0.003, False),
        (0.25, 0.0, False),
        (0.0, 0.25, False),
    ],
)
def test_levels_and_twist_that_are_let_through(low, high, found):
    for digit in "159D":
        assert detect(press(digit, 0.1, low=low, high=high)) == (digit if found else "")


@pytest.mark.parametrize(("off", "found"), [(1.015, True), (0.985, True), (1.05, False), (0.95, False)])
def test_keys_slightly_out_of_tune_are_found(off, found):
    for digit in DIGITS:
        assert detect(press(digit, 0.1, off=off)) == (digit if found else "")


@pytest.mark.parametrize("offset", np.arange(0, 0.0128, 0.0015))
def test_short_gaps_are_forgiven_and_short_tones_ignored(offset):
    gap = [silence(offset), press("5", 0.06), silence(0.009), press("5", 0.06)]
    assert detect(np.concatenate(gap)) == "5"
    assert detect(np.concatenate([silence(offset), press("5", 0.016), silence(0.05)])) == ""
    assert detect(np.concatenate([silence(offset), press("5", 0.08), press("6", 0.08)])) == "56"


@pytest.mark.parametrize("pitch", [90, 120, 180, 250, 350])
def test_speech_presses_no_keys(pitch):
    for rate in (8000, 48_000):
        said = speech(10, rate=rate, pitch=pitch, seed=pitch)
        assert detect(said, rate) == ""
    assert detect(noise(80_000, seed=pitch, amplitude=0.2)) == ""


def test_ringing_and_dialling_tones_press_no_keys():
    for one, other in pairwise((350, 440, 480, 620, 425, 1209, 2100)):
        mixed = tone(one, 8000, rate=8000, amplitude=0.2) + tone(other, 8000, rate=8000, amplitude=0.2)
        assert detect(mixed) == ""


@pytest.mark.parametrize("function", both(detect_digits))
@settings(deadline=None, max_examples=30)
@given(samples=frames(0, 300))
def test_after_any_samples_a_key_is_found_again(function, samples):
    assert detect(np.concatenate([samples, silence(0.06), press("7", 0.06)]), function=function)[-1:] == "7"


@pytest.mark.parametrize("function", both(detect_digits))
def test_digits_without_room_are_lost_and_no_stream_has_none(function):
    samples = np.concatenate([press("1", 0.05), silence(0.05), press("2", 0.05)])
    output = np.zeros(1, np.int32)
    detectors = records(function, new_dtmf_detectors(1, 8000))
    assert function(samples, detectors, 0, output) == 1
    assert output[0] == 1
    assert function(samples, records(function, np.zeros(1, DTMF_DETECTOR)), 0, output) == 0


def test_other_rates_are_refused_by_name():
    with pytest.raises(ValueError, match="no digits are found at 44100 Hz"):
        new_dtmf_detectors(1, 44100)
