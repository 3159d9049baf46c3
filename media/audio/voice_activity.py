"""Whether there is a voice.

Voice activity is decided per 20 ms frame from three things that need no training: the level of the band below 4 kHz, without
hum; how far that is above a noise floor, the least level of the last two seconds; and, to begin with, how periodic the frame is
at the pitches of human voices. Steady noise is not periodic, and steady hum soon is the floor. What it does not do: tell
singing, music or ring tones from speech.
"""

import math
from typing import Any, Final

import numpy as np

from media.audio.samples import FRAME_SAMPLES, sane
from media.jit import dsp_kernel, helper, integer, kernel

DECIMATION: Final = 6
NARROW_SAMPLES: Final = FRAME_SAMPLES // DECIMATION
"""Samples of a frame at the 8 kHz that voices are looked for at."""

SHORTEST_PITCH: Final = 20
LONGEST_PITCH: Final = 133
"""Lags at 8 kHz: 400 Hz down to 60 Hz."""

PERIODIC: Final = np.float32(0.65)
"""Correlation with the period before. Vowels reach 0.75 and more, white noise 0.3, rumble 0.6."""

AUDIBLE_DB: Final = np.float32(-60.0)
"""Nothing quieter is a voice that anyone wants to hear."""

MARGIN_DB: Final = np.float32(9.0)
"""A voice is this far above the noise floor."""

HANGOVER_FRAMES: Final = 10
"""200 ms: pauses within words and between them do not end a voice."""

FLOOR_BLOCKS: Final = 8
FLOOR_BLOCK_FRAMES: Final = 12
"""The floor is the least of 8 blocks of 240 ms: longer than the longest syllables."""

_HUM_POLE: Final = np.float32(0.92)  # first-order high-pass at 100 Hz
_QUIETEST: Final = np.float32(1e-12)
_TEN: Final = np.float32(10.0)
_SIXTH: Final = np.float32(1 / DECIMATION)
_ZERO: Final = np.float32(0.0)

VOICE = np.dtype(
    [
        ("voiced", "i4"),  # 1 while there is a voice, hangover included
        ("hangover", "i4"),  # frames that it will still be counted as one
        ("level_db", "f4"),  # of the last frame, below 4 kHz
        ("floor_db", "f4"),
        ("periodicity", "f4"),  # of the last frame, 0 when it was not looked at
        ("last_input", "f4"),  # of the high-pass
        ("last_output", "f4"),
        ("block", "i4"),  # which of `minima` is being filled
        ("block_frames", "i4"),  # how many frames went into it
        ("minima", "f4", (FLOOR_BLOCKS,)),
        ("history", "f4", (NARROW_SAMPLES,)),  # the frame before, at 8 kHz and without hum
    ],
    align=True,
)
"""One voice activity detector. Flat."""


def new_voices(count: int) -> np.ndarray:
    """VOICE [count], before the first frame."""
    voices = np.zeros(count, VOICE)
    voices["minima"] = voices["floor_db"] = AUDIBLE_DB - MARGIN_DB
    return voices


@dsp_kernel
def detect_voice(samples: np.ndarray, voices: np.ndarray, row: int) -> bool:
    """Look for a voice in the next frame of a stream.

    Shapes: `samples` float32 [960] (what is missing counts as silence, what is too much as nothing); `voices` VOICE [rows].
    Returns: whether there is one, or was one less than HANGOVER_FRAMES ago. Begins with the first frame in which a vowel
    fills about half.
    """
    voice = voices[row]
    line = np.empty(2 * NARROW_SAMPLES, np.float32)
    energy = _narrow(samples, voice, line)
    voice.level_db = _TEN * np.float32(math.log10(energy + _QUIETEST))
    voice.periodicity = _ZERO
    if voice.level_db > max(voice.floor_db + MARGIN_DB, AUDIBLE_DB):
        # Once there is a voice, anything loud is part of it, as consonants are not periodic; and half the cost is saved.
        if voice.hangover == 0:
            voice.periodicity = _periodicity(line)
        if voice.hangover > 0 or voice.periodicity > PERIODIC:
            voice.hangover = HANGOVER_FRAMES + 1
    voice.hangover = max(voice.hangover - 1, 0)
    voice.voiced = integer(voice.hangover > 0)
    _update_floor(voice)
    return voice.hangover > 0


@kernel
def detect_voices(frames: np.ndarray, voices: np.ndarray) -> int:
    """Do as `detect_voice` for each row of `frames` (float32 [rows, 960]); see the field `voiced` of each row.

    Returns: how many rows have a voice.
    """
    found = 0
    for row in range(min(frames.shape[0], voices.size)):
        if detect_voice(frames[row], voices, row):
            found += 1
    return found


@dsp_kernel
def _narrow(samples: np.ndarray, voice: Any, line: np.ndarray) -> Any:
    """Put the last frame and this one at 8 kHz, without hum, into `line`. Returns: the mean square of this one.

    Means of six are a poor filter, but all that they let through is folded noise 13 dB and more below.
    """
    history = voice.history
    for index in range(NARROW_SAMPLES):
        line[index] = history[index]
    for index in range(NARROW_SAMPLES):
        history[index] = _ZERO
    for index in range(min(NARROW_SAMPLES, samples.size // DECIMATION)):
        mean = _ZERO
        for offset in range(DECIMATION):
            mean += sane(
                samples[np.uint64(index * DECIMATION + offset)]
            )  # unsigned: no look at negative ones
        history[index] = mean * _SIXTH
    before, output, energy = voice.last_input, voice.last_output, _ZERO
    for index in range(NARROW_SAMPLES):
        mean = history[index]
        output = mean - before + _HUM_POLE * output
        before = mean
        history[index] = output
        line[NARROW_SAMPLES + index] = output
        energy += output * output
    voice.last_input = before
    # Far below hearing; without it, silence would decay into denormals, which are slow.
    voice.last_output = output if abs(output) > _QUIETEST else _ZERO
    return energy / np.float32(NARROW_SAMPLES)


@dsp_kernel
def _periodicity(line: np.ndarray) -> Any:
    """The largest correlation of the second half of `line` with what came one period before it, 0..1."""
    present = line[NARROW_SAMPLES:]
    energy = _QUIETEST
    for index in range(NARROW_SAMPLES):
        energy += present[index] * present[index]
    best = _ZERO
    for lag in range(SHORTEST_PITCH, LONGEST_PITCH + 1):
        delayed = line[NARROW_SAMPLES - lag : 2 * NARROW_SAMPLES - lag]
        product = _ZERO
        earlier = _QUIETEST
        for index in range(NARROW_SAMPLES):
            product += present[index] * delayed[index]
            earlier += delayed[index] * delayed[index]
        if product > _ZERO:
            best = max(best, product / np.sqrt(energy * earlier))
    return best


@helper
def _update_floor(voice: Any) -> None:
    minima = voice.minima
    block = voice.block
    minima[block] = min(minima[block], voice.level_db)
    voice.block_frames += 1
    if voice.block_frames >= FLOOR_BLOCK_FRAMES:
        voice.block_frames = 0
        voice.block = (block + 1) % FLOOR_BLOCKS
        minima[voice.block] = voice.level_db
    lowest = minima[0]
    for index in range(1, FLOOR_BLOCKS):
        lowest = min(lowest, minima[index])
    voice.floor_db = lowest
