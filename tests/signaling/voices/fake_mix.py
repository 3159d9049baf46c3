"""A mixer of the tests, at the border of the service: exact, and ticked by hand or by a clock that a test moves.

Whoever sounds does so at a level of his own, so that what an ear hears says whom: samples are the sum of the levels of those
who are heard in it. It keeps all that its mouths have played.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import trio
from numpy.typing import NDArray

import relay

FRAMES_A_SECOND = 50
EAR_FRAMES = 32


@dataclass(frozen=True)
class FakeFrame:
    samples: NDArray[np.int16]
    timestamp: int
    level_dbov: int = 127
    voiced: bool = False
    gap: bool = False


class FakeTrack:
    """As much of a track as a lobby and its audio slots use, when nobody listens to those."""

    kind = "audio"

    def __init__(self, track_id: str) -> None:
        self.id = self.label = track_id
        self.worker = self
        self.audio_slots = None
        self.muted = False
        self.closed = False
        self.level_dbov = 127

    def set_groups(self, *_: int) -> None:
        pass

    def set_muted(self, muted: bool) -> None:
        self.muted = muted


class FakeEar:
    def __init__(
        self,
        rate: int,
        *,
        alone: object = None,
        without: Callable[[], Iterable[object]] | None = None,
        listener: str | None = None,
    ) -> None:
        self.rate = rate
        self.alone = alone
        self.without = without
        self.listener = listener
        self.dropped = 0
        self.closed = False
        self._unheard: tuple[object, ...] = ()
        self._ticks = 0
        self._lost = False
        self._heard: list[FakeFrame] = []
        self._news = trio.Event()

    def hears(self, voice: object) -> bool:
        if self.alone is not None:
            return voice is self.alone
        return voice not in self._unheard

    def settle(self) -> None:
        """Find out who is not to be heard: when voices come and go, and at no other time."""
        self._unheard = () if self.without is None else tuple(self.without())

    def sound(self, level: int, *, skip: int = 0) -> None:
        """Hear a frame; 0: silence. ``skip``: so many before it could not be heard, for all were silent."""
        self._ticks += skip
        size = self.rate // FRAMES_A_SECOND
        if len(self._heard) == EAR_FRAMES:
            del self._heard[0]
            self.dropped += 1
            self._lost = True
        frame = FakeFrame(
            np.full(size, level, np.int16),
            self._ticks * size,
            level_dbov=30 if level else 127,
            voiced=bool(level),
            gap=self._lost and len(self._heard) == 0,
        )
        self._ticks += 1
        self._heard.append(frame)
        self._news.set()

    async def receive(self) -> list[FakeFrame]:
        await trio.lowlevel.checkpoint()
        while not self._heard:
            if self.closed:
                raise relay.LocalProtocolError("the ear is closed")
            self._news = trio.Event()
            await self._news.wait()
        heard, self._heard = self._heard, []
        return heard

    def close(self) -> None:
        self.closed = True
        self._news.set()


class FakeMouth:
    def __init__(self, rate: int, *, to: str | None, track: FakeTrack | None) -> None:
        self.rate = rate
        self.to = to
        self.track = track
        self.closed = False
        self.played = 0
        self.gain = 1.0
        #: Frames that were heard, and the tick in which they were.
        self.frames: list[tuple[int, NDArray[np.int16]]] = []
        self._waiting = np.zeros(0, np.int16)
        self._finishing = False
        # While it is being cleared: how much of what waits is to be forgotten at the next tick.
        self._forgotten: int | None = None
        self._clears = 0
        self._news = trio.Event()

    @property
    def queued(self) -> int:
        return self.played + len(self._waiting)

    @property
    def heard(self) -> list[int]:
        """All samples that were played, but for the silence that fills the last frames."""
        return [int(each) for _, frame in self.frames for each in frame]

    def queue(self, samples: NDArray[np.int16]) -> int:
        if self.closed:
            raise relay.LocalProtocolError("the mouth is closed")
        if len(self._waiting) + len(samples) > 60 * self.rate:
            raise relay.CapacityError("more than a minute waits")
        self._waiting = np.concatenate((self._waiting, samples))
        self._finishing = False
        return self.queued

    def set_gain(self, gain: float) -> None:
        self.gain = gain

    def finish(self) -> None:
        self._finishing = True

    def tick(self, number: int) -> None:
        size = self.rate // FRAMES_A_SECOND
        if self._forgotten is not None:
            self._waiting = self._waiting[self._forgotten :]
            self._forgotten = None
        elif len(self._waiting) >= size or (self._finishing and len(self._waiting)):
            frame, self._waiting = self._waiting[:size], self._waiting[size:]
            self.frames.append((number, frame))
            self.played += len(frame)
        self._tell()

    async def wait_played(self, position: int) -> bool:
        clears = self._clears
        await trio.lowlevel.checkpoint()
        while self.played < position:
            if self.closed or self._clears != clears:
                return False
            await self._news.wait()
        return True

    async def clear(self) -> int:
        self._forgotten = len(self._waiting)
        while self._forgotten is not None and not self.closed:
            await self._news.wait()
        self._clears += 1
        self._tell()
        return self.played

    def close(self) -> None:
        self.closed = True
        if self.track is not None:
            self.track.closed = True
        self._waiting = self._waiting[:0]
        self._tell()

    def _tell(self) -> None:
        self._news.set()
        self._news = trio.Event()


class FakeSource:
    """What WebRTC sections carry; feeds nothing."""

    kind = "audio"
    closed = False
    stream_id = "0123456789abcdef"

    def __init__(self, listener: str | None) -> None:
        self.id = f"mix-{listener}"
        self.feed = self
        self.attached = 0

    def rows_to_attach(self, _: object) -> dict[object, object]:
        return {}

    def require_attachable(self, _: object) -> None:
        pass

    def attach_outbound(self, _: object, __: object) -> None:
        self.attached += 1

    def detach_outbound(self, _: object, __: object) -> None:
        self.attached -= 1


class FakeMix:
    """Has so many ears and mouths, if that is said."""

    def __init__(self, *, max_ears: int = 1000, max_mouths: int = 1000) -> None:
        self.tracks: list[object] = []
        self.ears: list[FakeEar] = []
        self.mouths: list[FakeMouth] = []
        self.sources: list[FakeSource] = []
        self.closed = False
        self.max_ears = max_ears
        self.max_mouths = max_mouths
        self._ticks = 0

    @property
    def open_ears(self) -> list[FakeEar]:
        return [each for each in self.ears if not each.closed]

    @property
    def open_mouths(self) -> list[FakeMouth]:
        return [each for each in self.mouths if not each.closed]

    def add(self, track: object) -> None:
        if not any(mouth.track is track for mouth in self.mouths):
            self.tracks.append(track)
        self._settle()

    def open_ear(
        self,
        *,
        rate: int,
        track: object = None,
        without: Callable[[], Iterable[object]] | None = None,
        listener: str | None = None,
    ) -> FakeEar:
        if len(self.open_ears) >= self.max_ears:
            raise relay.CapacityError("no more ears")
        if getattr(track, "closed", False):
            raise relay.LocalProtocolError("it has ended")
        self.ears.append(FakeEar(rate, alone=track, without=without, listener=listener))
        self._settle()
        return self.ears[-1]

    def open_mouth(self, *, rate: int, live: bool = False, to: str | None = None) -> FakeMouth:
        assert not live
        if len(self.open_mouths) >= self.max_mouths:
            raise relay.CapacityError("no more mouths")
        number = len(self.mouths)
        track = FakeTrack(f"voice-{number}") if to is None else None
        self.mouths.append(FakeMouth(rate, to=to, track=track))
        self._settle()
        return self.mouths[-1]

    def listen(self, without: Callable[[], Iterable[object]], *, listener: str | None = None) -> FakeSource:
        assert without() is not None
        self.sources.append(FakeSource(listener))
        return self.sources[-1]

    def close(self) -> None:
        self.closed = True
        for each in (*self.ears, *self.mouths):
            each.close()

    def _settle(self) -> None:
        for ear in self.ears:
            ear.settle()

    def tick(self, sounds: dict[object, int] | None = None, *, skip: int = 0) -> None:
        """Go on by 20 ms, in which these are heard: track -> level."""
        for mouth in self.open_mouths:
            mouth.tick(self._ticks)
        self._ticks += 1
        for ear in self.open_ears:
            ear.sound(sum(level for voice, level in (sounds or {}).items() if ear.hears(voice)), skip=skip)

    async def run(self, sounds: dict[object, int] | None = None) -> None:
        """Tick by the clock, until cancelled."""
        while True:
            await trio.sleep(1 / FRAMES_A_SECOND)
            self.tick(sounds)
