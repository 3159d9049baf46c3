"""Whose voice leads.

A much smaller affair than in I. Volfin and I. Cohen, "Dominant speaker identification for multipoint videoconferencing", 2012, but
with its two rules: a short sound displaces nobody, and silence leaves the last speaker in place.
"""

from typing import Any, Final

import numpy as np

from media.audio.levels import SILENT_DBOV
from media.jit import helper, integer, kernel

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

_ZERO: Final = np.float32(0.0)


def new_speakers(count: int) -> np.ndarray:
    """SPEAKER [count] who have said nothing yet."""
    return np.zeros(count, SPEAKER)


def new_dominant(count: int) -> np.ndarray:
    """DOMINANT [count], one per lobby, of nobody."""
    dominants = np.zeros(count, DOMINANT)
    dominants["speaker"] = NOBODY
    return dominants


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
