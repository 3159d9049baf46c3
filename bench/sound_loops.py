"""Loops around the mixer's kernels, compiled, as `bench.kernel_loops` has them for those of packets.

A round is 20 ms of one voice. Every function counts the rounds that came out right.
"""

from typing import Any

import numpy as np

from media.audio.jitter import FrameKind, JitterVerdict, insert_packet, play_frame
from media.audio.levels import frame_level_dbov
from media.audio.mix import add_with_gain, limit_frame, mix_minus
from media.audio.opus import decode_frame, encode_frame
from media.audio.resample import resample
from media.audio.voice_activity import detect_voice
from media.jit import integer, kernel

Array = Any  # ndarray; mypy does not know the fields of structured ones

FRAME_SAMPLES = 960
FRAME_NS = 20_000_000
SSRC = 7
UNITY: Any = np.float32(1)


@kernel
def repeat_decode(decoder: int, payloads: Array, lengths: Array, output: Array, times: int) -> int:
    """Decode the payloads in turn."""
    good = integer(0)
    for index in range(times):
        which = index % payloads.shape[0]
        if decode_frame(decoder, payloads[which][: lengths[which]], output) == FRAME_SAMPLES:
            good += 1
    return good


@kernel
def repeat_encode(encoder: int, frames: Array, output: Array, times: int) -> int:
    """Encode the frames in turn."""
    good = integer(0)
    for index in range(times):
        if encode_frame(encoder, frames[index % frames.shape[0]], output) > 0:
            good += 1
    return good


@kernel
def repeat_play(
    jitters: Array,
    decoder: int,
    template: int,
    decoder_size: int,
    payloads: Array,
    lengths: Array,
    output: Array,
    first: int,
    times: int,
) -> int:
    """Insert a packet and play a frame, again and again; packets are numbered from `first`. Returns packets taken."""
    good = integer(0)
    for index in range(first, first + times):
        which = index % payloads.shape[0]
        now_ns = integer(1_000_000_000) + index * FRAME_NS
        verdict = insert_packet(
            jitters,
            0,
            payloads[which][: lengths[which]],
            index & 0xFFFF,
            (index * FRAME_SAMPLES) & 0xFFFFFFFF,
            SSRC,
            now_ns,
        )
        kind = play_frame(jitters, 0, decoder, template, decoder_size, now_ns + FRAME_NS // 2, output)
        if verdict <= JitterVerdict.RESTARTED and kind != FrameKind.CONCEALED:
            good += 1
    return good


@kernel
def repeat_add(frames: Array, total: Array, times: int) -> int:
    """Add the frames in turn; the total begins anew with each."""
    good = integer(0)
    for index in range(times):
        total[0] = np.float32(0)
        add_with_gain(frames[index % frames.shape[0]], UNITY, UNITY, total)
        if total[0] == frames[index % frames.shape[0]][0]:
            good += 1
    return good


@kernel
def repeat_mix_minus(frames: Array, total: Array, output: Array, times: int) -> int:
    """Leave the frames out of `total` in turn."""
    good = integer(0)
    for index in range(times):
        own = frames[index % frames.shape[0]]
        mix_minus(total, own, UNITY, UNITY, output)
        if output[1] == total[1] - own[1]:
            good += 1
    return good


@kernel
def repeat_limit(frames: Array, limiters: Array, output: Array, times: int) -> int:
    """Limit the frames in turn."""
    good = integer(0)
    for index in range(times):
        limit_frame(frames[index % frames.shape[0]], limiters, 0, output)
        if abs(output[0]) <= 1:
            good += 1
    return good


@kernel
def repeat_detect(frames: Array, voices: Array, times: int) -> int:
    """Look for a voice in the frames in turn, and measure their level. Returns in how many there was anything to hear."""
    good = integer(0)
    for index in range(times):
        frame = frames[index % frames.shape[0]]
        detect_voice(frame, voices, 0)
        if frame_level_dbov(frame) < 127:
            good += 1
    return good


@kernel
def repeat_resample(frames: Array, resamplers: Array, output: Array, expected: int, times: int) -> int:
    """Resample the frames in turn. Returns how many gave `expected` samples."""
    good = integer(0)
    for index in range(times):
        if resample(frames[index % frames.shape[0]], resamplers, 0, output) == expected:
            good += 1
    return good
