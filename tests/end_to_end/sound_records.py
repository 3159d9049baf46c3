"""What bots hear, gathered and measured."""

from dataclasses import dataclass, field

import numpy as np
import trio
from numpy.typing import NDArray
from tones import RATE_HZ, dominant_hz

from voicebot import AudioFrame, AudioStream

#: Quieter than this is no tone of these tests, but what resampling and codecs leave of one.
AUDIBLE = 500


@dataclass
class Record:
    """What a stream brought, from now on."""

    stream: AudioStream
    frames: list[AudioFrame] = field(default_factory=list)
    _heard: trio.Event = field(default_factory=trio.Event)

    async def run(self) -> None:
        """Listen until cancelled, or until the stream ends."""
        async for frame in self.stream:
            self._take(frame)

    async def gather(self, seconds: float) -> "Record":
        """Hear that much more."""
        wanted_ms = seconds * 1000
        async for frame in self.stream:
            self._take(frame)
            wanted_ms -= frame.duration_ms
            if wanted_ms <= 0:
                break
        return self

    async def gather_tone(self, hz: float, *, least_purity: float = 0.97, seconds: float = 0.5) -> "Record":
        """Hear until that much of it in a row is a tone of that frequency; keep as much of what comes after that.

        What comes after that is a tone without a hole, or it begins anew: a machine that is busy may hold up who sends.
        """

        async def is_tone() -> bool:
            self.frames.clear()
            await self.gather(seconds)
            return self.peak > AUDIBLE and self.purity(hz) > least_purity and abs(self.hz - hz) < 2

        while not (await is_tone() and await is_tone() and not self.missing):
            pass
        return self

    # While `run` runs.

    async def wait_more(self, count: int = 1) -> None:
        """Wait for so many more frames."""
        wanted = len(self.frames) + count
        while len(self.frames) < wanted:
            await self._heard.wait()

    async def wait_silence(self, count: int) -> None:
        """Wait for so many more frames in which nothing is heard, one behind another."""
        silent = 0
        while silent < count:
            await self.wait_more()
            peak = np.abs(self.frames[-1].samples.astype(np.int32)).max()
            silent = 0 if peak > AUDIBLE else silent + 1

    @property
    def samples(self) -> NDArray[np.int16]:
        """All of it in the order of time; silence that was not sent is silence."""
        first = self.frames[0].timestamp
        length = self.frames[-1].timestamp + len(self.frames[-1].samples) - first
        samples = np.zeros(length, np.int16)
        for frame in self.frames:
            samples[frame.timestamp - first :][: len(frame.samples)] = frame.samples
        return samples

    @property
    def peak(self) -> int:
        return int(np.abs(self.samples.astype(np.int32)).max())

    @property
    def hz(self) -> float:
        return dominant_hz(self.samples) * self.stream.rate / RATE_HZ

    @property
    def level_db(self) -> float:
        """The root of the mean square, against full scale."""
        return float(20 * np.log10(np.sqrt(np.mean(self.samples.astype(np.float64) ** 2)) / 32768 + 1e-9))

    @property
    def audible_ms(self) -> float:
        """From the first audible sample to the last."""
        audible = np.flatnonzero(np.abs(self.samples.astype(np.int32)) > AUDIBLE)
        return float((audible[-1] + 1 - audible[0]) * 1000 / self.stream.rate) if len(audible) else 0.0

    @property
    def missing(self) -> list[tuple[int, int]]:
        """Holes: the timestamp that was expected, and the one that came; frames marked ``gap`` are holes, too."""
        holes = []
        for before, frame in zip(self.frames, self.frames[1:], strict=False):
            expected = before.timestamp + len(before.samples)
            if frame.gap or frame.timestamp != expected:
                holes.append((expected, frame.timestamp))
        return holes

    def _take(self, frame: AudioFrame) -> None:
        self.frames.append(frame)
        self._heard.set()
        self._heard = trio.Event()

    def purity(self, hz: float) -> float:
        """Part of the energy within 30 Hz of a frequency."""
        samples = self.samples
        spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples)))) ** 2
        frequencies = np.fft.rfftfreq(len(samples), 1 / self.stream.rate)
        return float(spectrum[np.abs(frequencies - hz) < 30].sum() / max(spectrum.sum(), 1e-9))
