"""What `relay bench kernels` times of the mixer: 20 ms of one voice, and the same by NumPy and by libopus called from Python."""

import ctypes
from collections import deque
from collections.abc import Callable
from functools import partial
from itertools import count
from typing import Any, Final

import numpy as np

from bench import sound_loops
from bench.mix_sound import talking, voice
from media.audio.jitter import new_jitter_buffers
from media.audio.mix import new_limiters
from media.audio.opus import MAX_PACKET_SAMPLES, new_decoder_template, new_encoder_template, new_states
from media.audio.opus_library import libopus
from media.audio.resample import new_resamplers
from media.audio.samples import FRAME_SAMPLES, SAMPLE_RATE
from media.audio.voice_activity import new_voices
from media.mixer.state import ENCODING
from media.mixer.tables import PACKET_BYTES

Array = np.ndarray[Any, Any]
Rounds = Callable[[], int]
Prepare = Callable[[int], Rounds]

FRAMES: Final = 100
ROUNDS: Final = 2_000
OPUS_ROUNDS: Final = 300
TAPS: Final = 48
CEILING: Final = 0.98
LOOK_AHEAD: Final = 240

SoundCase = tuple[str, Prepare, Prepare, int]
"""Name, kernel, twin, rounds of both."""


def sound_cases() -> list[SoundCase]:
    """Make everything the cases need."""
    frames = voice(FRAMES * FRAME_SAMPLES).reshape(-1, FRAME_SAMPLES)
    return [
        _decode(),
        _encode(frames),
        _play(),
        _add(frames),
        _mix_minus(frames),
        _limit(frames),
        _detect(frames),
        _resample(frames, 16_000),
    ]


def _payloads() -> tuple[list[bytes], Array, Array]:
    payloads = list(talking().payloads[:FRAMES])
    rows = np.zeros((len(payloads), PACKET_BYTES), np.uint8)
    for row, payload in zip(rows, payloads, strict=True):
        row[: len(payload)] = np.frombuffer(payload, np.uint8)
    return payloads, rows, np.array([len(payload) for payload in payloads], np.int64)


def _state(template: Array) -> Array:
    state: Array = new_states(template, 1)[0]
    state[: template.size] = template
    return state


def _each(function: Callable[[int], bool]) -> Prepare:
    return lambda rounds: lambda: sum(1 for index in range(rounds) if function(index))


def _decode_from_python(state: Array, payload: bytes, output: Array) -> int:
    return int(
        libopus.opus_decode_float(
            ctypes.c_void_p(state.ctypes.data),
            payload,
            len(payload),
            ctypes.c_void_p(output.ctypes.data),
            MAX_PACKET_SAMPLES,
            0,
        )
    )


def _decode() -> SoundCase:
    payloads, rows, lengths = _payloads()
    states = _state(new_decoder_template()), _state(new_decoder_template())
    output = np.zeros(MAX_PACKET_SAMPLES, np.float32)

    def kernel(rounds: int) -> Rounds:
        return partial(sound_loops.repeat_decode, states[0].ctypes.data, rows, lengths, output, rounds)

    def twin(index: int) -> bool:
        return _decode_from_python(states[1], payloads[index % FRAMES], output) == FRAME_SAMPLES

    return "decode 20 ms of Opus", kernel, _each(twin), OPUS_ROUNDS


def _encode(frames: Array) -> SoundCase:
    template = new_encoder_template(**ENCODING)
    states, output = (_state(template), _state(template)), np.zeros(PACKET_BYTES, np.uint8)

    def kernel(rounds: int) -> Rounds:
        return partial(sound_loops.repeat_encode, states[0].ctypes.data, frames, output, rounds)

    def twin(index: int) -> bool:
        length = libopus.opus_encode_float(
            ctypes.c_void_p(states[1].ctypes.data),
            ctypes.c_void_p(frames[index % FRAMES].ctypes.data),
            FRAME_SAMPLES,
            ctypes.c_void_p(output.ctypes.data),
            PACKET_BYTES,
        )
        return int(length) > 0

    return "encode 20 ms of a mix", kernel, _each(twin), OPUS_ROUNDS


def _play() -> SoundCase:
    payloads, rows, lengths = _payloads()
    template = new_decoder_template()
    states, jitters = (_state(template), _state(template)), new_jitter_buffers(1)
    output = np.zeros(FRAME_SAMPLES, np.float32)
    long_output = np.zeros(MAX_PACKET_SAMPLES, np.float32)
    numbers = count()

    def kernel(rounds: int, _owned: object = template) -> Rounds:
        return partial(
            sound_loops.repeat_play,
            jitters,
            states[0].ctypes.data,
            template.ctypes.data,
            template.size,
            rows,
            lengths,
            output,
            next(numbers) * rounds,
            rounds,
        )

    waiting: deque[tuple[int, bytes]] = deque()

    def twin(index: int) -> bool:
        waiting.append((index, payloads[index % FRAMES]))
        _, payload = waiting.popleft()
        return _decode_from_python(states[1], payload, long_output) == FRAME_SAMPLES

    return "jitter buffer and decode, 20 ms", kernel, _each(twin), OPUS_ROUNDS


def _add(frames: Array) -> SoundCase:
    total = np.zeros(FRAME_SAMPLES, np.float32)

    def twin(index: int) -> bool:
        total[:] += frames[index % FRAMES] * np.float32(1)
        return True

    return "add a voice to a mix", _kernel(sound_loops.repeat_add, frames, total), _each(twin), ROUNDS


def _mix_minus(frames: Array) -> SoundCase:
    total, output = frames[0] + frames[1] + frames[2], np.zeros(FRAME_SAMPLES, np.float32)

    def twin(index: int) -> bool:
        np.subtract(total, frames[index % FRAMES], out=output)
        return True

    kernel = _kernel(sound_loops.repeat_mix_minus, frames, total, output)
    return "leave a voice out of a mix", kernel, _each(twin), ROUNDS


def _limit(frames: Array) -> SoundCase:
    loud, output = (frames * np.float32(6)).astype(np.float32), np.zeros(FRAME_SAMPLES, np.float32)
    line = np.zeros(LOOK_AHEAD + FRAME_SAMPLES, np.float32)

    def twin(index: int) -> bool:
        line[:LOOK_AHEAD] = line[FRAME_SAMPLES:]
        line[LOOK_AHEAD:] = loud[index % FRAMES]
        needed = np.minimum(1, CEILING / np.maximum(np.abs(line), 1e-9))
        lowest = np.lib.stride_tricks.sliding_window_view(needed, LOOK_AHEAD + 1).min(axis=1)
        np.multiply(line[:FRAME_SAMPLES], lowest[:FRAME_SAMPLES], out=output)
        return bool(np.abs(output[0]) <= 1)

    return (
        "limit a loud mix",
        _kernel(sound_loops.repeat_limit, loud, new_limiters(1), output),
        _each(twin),
        ROUNDS,
    )


def _detect(frames: Array) -> SoundCase:
    def twin(index: int) -> bool:
        narrow = frames[index % FRAMES].reshape(-1, 6).mean(axis=1)
        around = np.correlate(narrow, narrow, "full")[narrow.size - 1 :]
        return bool(around[16:160].max() > -1 and np.sqrt(np.mean(narrow**2)) > 0)

    return (
        "voice activity and level",
        _kernel(sound_loops.repeat_detect, frames, new_voices(1)),
        _each(twin),
        ROUNDS,
    )


def _resample(frames: Array, rate: int) -> SoundCase:
    output, expected = np.zeros(FRAME_SAMPLES, np.float32), FRAME_SAMPLES * rate // SAMPLE_RATE
    step = SAMPLE_RATE // rate
    low_pass = (np.sinc((np.arange(TAPS) - TAPS / 2) / step) * np.hanning(TAPS)).astype(np.float32)
    line = np.zeros(TAPS + FRAME_SAMPLES, np.float32)

    def twin(index: int) -> bool:
        line[:TAPS] = line[FRAME_SAMPLES:]
        line[TAPS:] = frames[index % FRAMES]
        return int(np.convolve(line, low_pass, "valid")[1::step].size) == expected

    kernel = _kernel(
        sound_loops.repeat_resample, frames, new_resamplers(1, SAMPLE_RATE, rate), output, expected
    )
    return f"resample 20 ms to {rate // 1_000} kHz", kernel, _each(twin), ROUNDS


def _kernel(loop: Callable[..., int], *arguments: Any) -> Prepare:
    return lambda rounds: partial(loop, *arguments, rounds)
