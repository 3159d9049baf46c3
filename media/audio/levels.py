"""How loud, whether it is a voice, and whose voice leads.

Levels are those of RFC 6464: decibels below overload, a positive integer from 0 (loudest) to 127 (silence).

Voice activity is decided per 20 ms frame from three things that need no training: the level of the band below 4 kHz, without
hum; how far that is above a noise floor, the least level of the last two seconds; and, to begin with, how periodic the frame is
at the pitches of human voices. Steady noise is not periodic, and steady hum soon is the floor. What it does not do: tell
singing, music or ring tones from speech.

The dominant speaker is a much smaller affair than in I. Volfin and I. Cohen, "Dominant speaker identification for multipoint
videoconferencing", 2012, but keeps its two rules: a short sound displaces nobody, and silence leaves the last speaker in place.
"""

import math
from typing import Any, Final

import numpy as np

from media.audio.samples import FRAME_SAMPLES, sane
from media.jit import dsp_kernel, helper, integer, kernel

SILENT_DBOV: Final = 127

LEVEL = np.dtype(
    [
        ("peak", "f4"),  # largest magnitude, 1 full scale
        ("dbov", "i4"),  # RFC 6464: 0 loud .. 127 silent
    ],
    align=True,
)

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
_PEAK_SCALE: Final = np.float32(1 << 24)  # times SAMPLE_BOUND is in 31 bits
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

SUSTAINED_FRAMES: Final = 15
"""300 ms of voice, which is longer than a cough or a yes, before somebody displaces another."""

DISPLACING: Final = np.float32(1.25)
"""How much more active one has to be to displace another."""

_SCORE_STEP: Final = np.float32(1 / 15)  # activity is a mean over some 300 ms

SPEAKER = np.dtype(
    [
        ("activity", "f4"),  # 0 silent .. 1 loud for a while
        ("voiced_frames", "i4"),  # without a pause up to now
    ],
    align=True,
)

DOMINANT = np.dtype([("speaker", "i8")])
"""The row of a lobby's dominant speaker, or NOBODY."""

NOBODY: Final = -1


def new_voices(count: int) -> np.ndarray:
    """VOICE [count], before the first frame."""
    voices = np.zeros(count, VOICE)
    voices["minima"] = voices["floor_db"] = AUDIBLE_DB - MARGIN_DB
    return voices


def new_speakers(count: int) -> np.ndarray:
    """SPEAKER [count] who have said nothing yet."""
    return np.zeros(count, SPEAKER)


def new_dominant(count: int) -> np.ndarray:
    """DOMINANT [count], one per lobby, of nobody."""
    dominants = np.zeros(count, DOMINANT)
    dominants["speaker"] = NOBODY
    return dominants


@dsp_kernel
def frame_level_dbov(samples: np.ndarray) -> int:
    """RFC 6464 level of float32 [n]: the root of the mean square. A full-scale sine is at 3, no samples at 127."""
    total = _ZERO
    for index in range(samples.size):
        sample = sane(samples[index])
        total += sample * sample
    return _dbov(total, samples.size)


@kernel
def _peak(samples: np.ndarray) -> Any:
    # In integers, whose maximum is vector code; that of floats is not, for the sake of NaN.
    peak = np.int32(0)
    for index in range(samples.size):
        peak = max(peak, np.int32(abs(sane(samples[index])) * _PEAK_SCALE))
    return np.float32(peak) / _PEAK_SCALE


@helper
def _dbov(total: Any, count: int) -> int:
    mean = float(total) / max(count, 1)
    if mean < 1e-13:
        return integer(SILENT_DBOV)
    return integer(min(max(math.floor(0.5 - 10 * math.log10(mean)), 0), SILENT_DBOV))


@dsp_kernel
def measure_frames(frames: np.ndarray, levels: np.ndarray) -> int:
    """Measure each row of `frames` (float32 [rows, n]) into `levels` (LEVEL [rows]).

    Returns: rows measured, the lesser of both numbers.
    """
    rows = min(frames.shape[0], levels.size)
    for row in range(rows):
        level = levels[row]
        level.peak = _peak(frames[row])
        level.dbov = frame_level_dbov(frames[row])
    return rows


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


@kernel
def choose_dominant(
    rows: np.ndarray,
    levels_dbov: np.ndarray,
    voiced: np.ndarray,
    speakers: np.ndarray,
    dominants: np.ndarray,
    row: int,
) -> int:
    """Take one frame of everyone in a lobby into account, and say who leads.

    Shapes: `rows` (of `speakers`), `levels_dbov` and `voiced` int32 [present]; `speakers` SPEAKER [any]; `dominants` DOMINANT,
    of which `row` is the lobby's.
    Returns: the row in `speakers` of the dominant speaker, or NOBODY. The first voice leads at once. Another displaces it
    after SUSTAINED_FRAMES of voice, if more active than it lately was. In silence the last one stays.
    """
    dominant = integer(dominants[row].speaker)
    best = integer(NOBODY)
    for index in range(rows.size):
        candidate = integer(rows[index])
        if not 0 <= candidate < speakers.size:
            continue
        _update_speaker(speakers[candidate], levels_dbov[index], voiced[index])
        eligible = SUSTAINED_FRAMES if dominant != NOBODY else 1
        if (
            candidate != dominant
            and speakers[candidate].voiced_frames >= eligible
            and (best == NOBODY or speakers[candidate].activity > speakers[best].activity)
        ):
            best = candidate
    # Only now: the leader's own activity may have been updated after the candidate's.
    if best != NOBODY and (
        dominant == NOBODY or speakers[best].activity > speakers[dominant].activity * DISPLACING
    ):
        dominant = best
        dominants[row].speaker = dominant
    return dominant


@helper
def _update_speaker(speaker: Any, level_dbov: int, voiced: int) -> None:
    present = _ZERO
    if voiced:
        speaker.voiced_frames = min(speaker.voiced_frames + 1, SUSTAINED_FRAMES)
        present = np.float32(min(max(SILENT_DBOV - level_dbov, 0), SILENT_DBOV)) / np.float32(SILENT_DBOV)
    else:
        speaker.voiced_frames = 0
    speaker.activity += (present - speaker.activity) * _SCORE_STEP


@kernel
def forget_speaker(speaker: int, speakers: np.ndarray, dominants: np.ndarray, row: int) -> None:
    """Let a speaker leave the lobby whose DOMINANT is `row`: nobody leads then, if it was them."""
    if 0 <= speaker < speakers.size:
        speakers[speaker].activity = _ZERO
        speakers[speaker].voiced_frames = 0
    if dominants[row].speaker == speaker:
        dominants[row].speaker = NOBODY
