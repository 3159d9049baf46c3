"""Tones: made, packed and recognised."""

from fractions import Fraction

import av
import numpy as np
from numpy.typing import NDArray

RATE_HZ = 48_000
FRAME_SAMPLES = 960
#: A second holds whole periods of every whole number of hertz, so that one second can be repeated for ever.
LOOP_SAMPLES = RATE_HZ
AMPLITUDE = 8_000


def make_tone(frequency_hz: int) -> NDArray[np.int16]:
    """One second of a tone, ready to be repeated."""
    time_s = np.arange(LOOP_SAMPLES) / RATE_HZ
    return (AMPLITUDE * np.sin(2 * np.pi * frequency_hz * time_s)).astype(np.int16)


def encode_tone(frequency_hz: int, frame_ms: int) -> list[bytes]:
    """Opus packets of a tone, to be sent in a loop: cheap enough for twenty publishers on one core."""
    codec = av.CodecContext.create("libopus", "w")
    codec.format = "s16"
    codec.layout = "mono"
    codec.sample_rate = RATE_HZ
    codec.time_base = Fraction(1, RATE_HZ)
    codec.bit_rate = 32_000
    codec.options = {"frame_duration": str(frame_ms)}
    samples = frame_ms * RATE_HZ // 1000
    # Four seconds: the encoder settles in the first, the last three are whole frames and whole periods.
    tone = np.tile(make_tone(frequency_hz), 4)
    packets: list[bytes] = []
    for start in range(0, len(tone), samples):
        frame = av.AudioFrame.from_ndarray(tone[np.newaxis, start : start + samples], "s16", "mono")
        frame.sample_rate = RATE_HZ
        frame.pts = start
        packets += [bytes(packet) for packet in codec.encode(frame)]
    return packets[-3 * RATE_HZ // samples :]


def dominant_hz(samples: NDArray[np.int16]) -> float:
    """Frequency of the strongest tone, to a fraction of a hertz for half a second of a pure one."""
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    peak = int(np.argmax(spectrum[1:-1])) + 1
    # Parabola through the logarithms of the peak and its neighbours: the window's main lobe is nearly one.
    left, middle, right = np.log(spectrum[peak - 1 : peak + 2] + 1e-9)
    offset = 0.5 * (left - right) / (left - 2 * middle + right)
    return float((peak + offset) * RATE_HZ / len(samples))


def purity(samples: NDArray[np.int16], frequency_hz: float) -> float:
    """Part of the energy within 30 Hz of a frequency: 1 for a pure tone, less with anything else in it."""
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples)))) ** 2
    frequencies = np.fft.rfftfreq(len(samples), 1 / RATE_HZ)
    return float(spectrum[np.abs(frequencies - frequency_hz) < 30].sum() / max(spectrum.sum(), 1e-9))
