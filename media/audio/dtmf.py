"""Digits in the sound itself: dual tones of a telephone's keys (ITU-T Q.23), found by Goertzel filters.

The sound is looked at in blocks of 12.75 ms, the habit of telephone exchanges. A block holds a digit when one low and one high
tone stand out of their groups, are about as loud as each other, and are most of what there is: speech hardly ever is all that,
and hardly ever twice in a row with the same digit, which is what a key press takes. Three blocks without it end the press.

ITU-T Q.24 as AT&T and most of Europe have it: tones of 40 ms are accepted, pauses of 40 ms told apart, interruptions below 10 ms
forgiven, 1.5 % off in frequency accepted, low tones up to 8 dB and high tones up to 4 dB louder than the other. What it does not
do: reject tones that are 3.5 % off, for which the blocks are too short. Digits as RTP events are in
`media.audio.telephone_event`; the codes are the same.
"""

import math
from typing import Any, Final

import numpy as np

from media.audio.samples import RATES, sane
from media.jit import helper, integer, kernel

DIGITS: Final = "0123456789*#ABCD"
"""By code, which is that of RFC 4733 section 3.2."""

NO_DIGIT: Final = -1

LOW_HZ: Final = (697, 770, 852, 941)
HIGH_HZ: Final = (1209, 1336, 1477, 1633)
KEYS: Final = ("123A", "456B", "789C", "*0#D")
"""A row of keys per low tone, a column per high tone."""

BLOCK_SECONDS: Final = 0.01275

LEAST_POWER: Final = 2e-5
"""Mean square of the quieter tone: 44 dB below a full-scale sine. Q.24 asks for 25 dB below nominal, which is about 10 more."""

LOW_TWIST: Final = 6.3
HIGH_TWIST: Final = 2.5
"""Ratios of power, 8 and 4 dB: how much louder than the other the low, or the high tone may be."""

PEAK_RATIO: Final = 6.3
"""8 dB above the others of its group. Their leakage, at 1.5 % off, is 10 dB down."""

PURITY: Final = 0.74
"""Of the power of a block, in the two tones. At 1.5 % off it is 0.82; of a block of which a quarter is silence, 0.75."""

HITS_TO_BEGIN: Final = 2
MISSES_TO_END: Final = 3

DTMF_DETECTOR = np.dtype(
    [
        ("block_samples", "i4"),
        ("filled", "i4"),  # samples of the present block
        ("last_hit", "i4"),  # digit of the last block, or NO_DIGIT
        ("pressed", "i4"),  # digit that has been reported and goes on, or NO_DIGIT
        ("misses", "i4"),  # blocks in a row without it
        ("power", "f8"),  # sum of squares of the present block
        ("coefficient", "f8", (8,)),  # 2 cos(w) of the low and the high tones
        ("last", "f8", (8,)),  # state of the filters
        ("before", "f8", (8,)),
    ],
    align=True,
)
"""One stream's detector. Flat."""

_CODES: Final = np.array([DIGITS.index(key) for row in KEYS for key in row], np.int64)


def new_dtmf_detectors(count: int, rate: int) -> np.ndarray:
    """DTMF_DETECTOR [count] for streams of `rate` Hz.

    Raises: ValueError when it is not one of RATES.
    """
    if rate not in RATES:
        raise ValueError(f"no digits are found at {rate} Hz: the rates are {', '.join(map(str, RATES))} Hz")
    detectors = np.zeros(count, DTMF_DETECTOR)
    detectors["block_samples"] = round(rate * BLOCK_SECONDS)
    detectors["coefficient"] = [2 * math.cos(2 * math.pi * hertz / rate) for hertz in (*LOW_HZ, *HIGH_HZ)]
    detectors["last_hit"] = detectors["pressed"] = NO_DIGIT
    return detectors


@kernel
def detect_digits(samples: np.ndarray, detectors: np.ndarray, row: int, output: np.ndarray) -> int:
    """Find the digits whose keys were pressed in the next piece of a stream.

    Shapes: `samples` float32 [n], any n; `detectors` DTMF_DETECTOR [rows]; `output` of any integer type.
    Returns: the count of codes written to `output`, see DIGITS. Each is told once, 25 to 38 ms after its beginning. What has no
    room is lost; one for each 89 ms, and one more, have.
    """
    detector = detectors[row]
    count = 0
    start = 0
    while start < samples.size and detector.block_samples > 0:
        end = min(samples.size, start + integer(detector.block_samples - detector.filled))
        piece = samples[start:end]
        detector.power += _advance_four(piece, detector, 0)
        _advance_four(piece, detector, 4)
        detector.filled += end - start
        start = end
        if detector.filled == detector.block_samples:
            digit = _update_press(detector, _digit_of_block(detector))
            _begin_block(detector)
            if digit != NO_DIGIT and count < output.size:
                output[count] = digit
                count += 1
    return count


@helper
def _advance_four(samples: np.ndarray, detector: Any, first: int) -> float:
    """Run four filters over a piece of a block: together, as each alone would wait for its own last result.

    Returns: the sum of squares.
    """
    coefficient, last, before = detector.coefficient, detector.last, detector.before
    c0, c1, c2, c3 = (
        coefficient[first],
        coefficient[first + 1],
        coefficient[first + 2],
        coefficient[first + 3],
    )
    a0, a1, a2, a3 = last[first], last[first + 1], last[first + 2], last[first + 3]
    b0, b1, b2, b3 = before[first], before[first + 1], before[first + 2], before[first + 3]
    power = 0.0
    for index in range(samples.size):
        sample = float(sane(samples[index]))
        power += sample * sample
        a0, b0 = c0 * a0 - b0 + sample, a0
        a1, b1 = c1 * a1 - b1 + sample, a1
        a2, b2 = c2 * a2 - b2 + sample, a2
        a3, b3 = c3 * a3 - b3 + sample, a3
    last[first], last[first + 1], last[first + 2], last[first + 3] = a0, a1, a2, a3
    before[first], before[first + 1], before[first + 2], before[first + 3] = b0, b1, b2, b3
    return power


@helper
def _begin_block(detector: Any) -> None:
    detector.filled = 0
    detector.power = 0.0
    for tone in range(8):
        detector.last[tone] = 0.0
        detector.before[tone] = 0.0


@helper
def _tone_power(detector: Any, tone: int) -> float:
    """Mean square of a tone in a full block, if it is alone."""
    last, before = detector.last[tone], detector.before[tone]
    magnitude = last * last + before * before - detector.coefficient[tone] * last * before
    return 2.0 * magnitude / float(detector.block_samples) ** 2


@helper
def _loudest(detector: Any, first: int) -> int:
    """The tone of four that stands out, or NO_DIGIT."""
    best = first
    for tone in range(first + 1, first + 4):
        if _tone_power(detector, tone) > _tone_power(detector, best):
            best = tone
    for tone in range(first, first + 4):
        if tone != best and _tone_power(detector, tone) * PEAK_RATIO > _tone_power(detector, best):
            return NO_DIGIT
    return best


@helper
def _digit_of_block(detector: Any) -> int:
    low, high = _loudest(detector, 0), _loudest(detector, 4)
    if min(low, high) == NO_DIGIT:
        return NO_DIGIT
    low_power, high_power = _tone_power(detector, low), _tone_power(detector, high)
    if (
        min(low_power, high_power) < LEAST_POWER
        or low_power > high_power * LOW_TWIST
        or high_power > low_power * HIGH_TWIST
        or low_power + high_power < PURITY * detector.power / detector.block_samples
    ):
        return NO_DIGIT
    return integer(_CODES[4 * low + high - 4])


@helper
def _update_press(detector: Any, hit: int) -> int:
    """Take one more block into account. Returns: the digit whose press begins with it, or NO_DIGIT."""
    repeated = hit != NO_DIGIT and hit == detector.last_hit
    detector.last_hit = hit
    if detector.pressed != NO_DIGIT:
        if hit == detector.pressed:
            detector.misses = 0
            return NO_DIGIT
        detector.misses += 1
        if detector.misses < MISSES_TO_END:
            return NO_DIGIT
        detector.pressed = NO_DIGIT
    if not repeated:
        return NO_DIGIT
    detector.pressed = hit
    detector.misses = 0
    return hit
