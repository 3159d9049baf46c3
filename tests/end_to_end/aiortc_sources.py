"""Tracks that an aiortc peer publishes, paced by the clock."""

import asyncio
import time
from fractions import Fraction

import av
import numpy as np
from aiortc import MediaStreamTrack
from pictures import Picture
from tones import FRAME_SAMPLES, RATE_HZ, encode_tone, make_tone

VIDEO_FRAMES_PER_SECOND = 15
VIDEO_CLOCK_HZ = 90_000


class Paced(MediaStreamTrack):
    """A track whose n-th frame is due at ``start + n * interval_s``: late ones catch up, none drifts.

    The start is ``start_s`` by the monotonic clock, or when the first frame is asked for.
    """

    interval_s: float

    def __init__(self, start_s: float | None = None) -> None:
        super().__init__()
        self._start_s = start_s
        self._number = 0

    async def next_number(self) -> int:
        """Wait until the next frame is due; return its number."""
        if self._start_s is None:
            self._start_s = time.monotonic()
        number = self._number
        self._number += 1
        await asyncio.sleep(self._start_s + number * self.interval_s - time.monotonic())
        return number


class ToneTrack(Paced):
    """A tone in frames of 20 ms, silent for the first ``silent_s``."""

    kind = "audio"
    interval_s = FRAME_SAMPLES / RATE_HZ

    def __init__(self, frequency_hz: int, *, silent_s: float = 0.0, start_s: float | None = None) -> None:
        super().__init__(start_s)
        self._tone = make_tone(frequency_hz)
        self._silent_frames = round(silent_s / self.interval_s)

    async def recv(self) -> av.AudioFrame:
        number = await self.next_number()
        start = number * FRAME_SAMPLES % RATE_HZ
        samples = self._tone[start : start + FRAME_SAMPLES]
        if number < self._silent_frames:
            samples = np.zeros_like(samples)
        frame = av.AudioFrame.from_ndarray(samples[np.newaxis], "s16", "mono")
        frame.sample_rate = RATE_HZ
        frame.time_base = Fraction(1, RATE_HZ)
        frame.pts = number * FRAME_SAMPLES
        return frame


class PackedToneTrack(Paced):
    """A tone that was encoded beforehand, in packets of 60 ms."""

    kind = "audio"
    interval_s = 0.06

    def __init__(self, frequency_hz: int) -> None:
        super().__init__()
        self._packets = encode_tone(frequency_hz, round(self.interval_s * 1000))

    async def recv(self) -> av.Packet:
        number = await self.next_number()
        packet = av.Packet(self._packets[number % len(self._packets)])
        packet.time_base = Fraction(1, RATE_HZ)
        packet.pts = round(number * self.interval_s * RATE_HZ)
        return packet


class PictureTrack(Paced):
    """A film of one picture; after ``first_s`` of another one, if there is one."""

    kind = "video"
    interval_s = 1 / VIDEO_FRAMES_PER_SECOND

    def __init__(
        self,
        picture: Picture,
        *,
        first: Picture | None = None,
        first_s: float = 0.0,
        start_s: float | None = None,
    ) -> None:
        super().__init__(start_s)
        self._picture = picture
        self._first = first or picture
        self._first_frames = round(first_s / self.interval_s)

    async def recv(self) -> av.VideoFrame:
        number = await self.next_number()
        frame = (self._first if number < self._first_frames else self._picture).draw(number)
        frame.time_base = Fraction(1, VIDEO_CLOCK_HZ)
        frame.pts = number * VIDEO_CLOCK_HZ // VIDEO_FRAMES_PER_SECOND
        return frame
