"""Sounds to test with, and the sums of the fake mix: simple ones, with no claim to sound well."""

import math

import numpy as np
from numpy.typing import NDArray

from voicebot.audio.frame import SILENCE_DBOV
from voicebot.audio.pcm import Samples, check_even, to_pcm

#: What the fake lobby mixes at, in samples a second.
MIX_RATE = 48_000
#: In dBov: louder than this is a voice.
VOICED_DBOV = 50


def tone(frequency_hz: float, seconds: float, *, rate: int = 16000, amplitude: float = 0.3) -> bytes:
    """Return a sine as PCM, signed 16 bit little-endian; loud enough to count as a voice."""
    times = np.arange(round(seconds * rate)) / rate
    wave = amplitude * 32767 * np.sin(2 * np.pi * frequency_hz * times)
    return wave.round().astype("<i2").tobytes()


def silence(seconds: float, *, rate: int = 16000) -> bytes:
    """Return so much of nothing as PCM."""
    return bytes(2 * round(seconds * rate))


def to_samples(sound: Samples) -> NDArray[np.int16]:
    """Return samples as an array.

    Raises: TypeError, ValueError.
    """
    pcm = to_pcm(sound)
    check_even(len(pcm))
    return np.frombuffer(pcm, "<i2").astype(np.int16)


def change_rate(samples: NDArray[np.int16], rate: int, to_rate: int) -> NDArray[np.int16]:
    """Return the samples at another rate, by drawing straight lines between them. There and back again is exact."""
    if rate == to_rate:
        return samples
    if rate % to_rate == 0:
        return samples[:: rate // to_rate]
    places = np.arange(len(samples) * to_rate // rate) * (rate / to_rate)
    drawn: NDArray[np.int16] = np.interp(places, np.arange(len(samples)), samples).round().astype(np.int16)
    return drawn


def level_dbov(samples: NDArray[np.int16]) -> int:
    """Return how loud it is (RFC 6464): 0 is a full square wave, 127 silence."""
    power = float(np.mean(np.square(samples, dtype=np.float64))) if len(samples) else 0.0
    if not power:
        return SILENCE_DBOV
    return min(SILENCE_DBOV, max(0, round(-10 * math.log10(power / 32768**2))))


def add(voices: list[NDArray[np.int16]], length: int) -> NDArray[np.int16]:
    """Return the sum of voices, clipped to what 16 bits hold."""
    total = np.zeros(length, np.int32)
    for each in voices:
        total += each
    return np.clip(total, -32768, 32767).astype(np.int16)
