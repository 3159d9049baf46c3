"""What one session says as samples: its playouts, and to whom. What is said to one target comes one behind another."""

from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial

import numpy as np
import trio

from signaling.messages import (
    AudioFrameError,
    AudioFrameWire,
    ErrorCode,
    PlayOpen,
    PlayProgress,
    ServerMessage,
)
from signaling.request_error import RequestError
from signaling.voices.counters import SoundCounters
from signaling.voices.mix import Mouth
from signaling.voices.playout import Playout
from signaling.voices.speech import Speech

MAX_PLAYOUTS = 32
#: Of one playout; clients keep at most ten seconds under way.
MAX_WAITING_SECONDS = 60.0
#: Of all: 11.5 MB at 48 kHz.
MAX_SESSION_WAITING_SECONDS = 120.0
#: What one frame may hold.
MAX_FRAME_SECONDS = 1
#: Playouts that are over of which a client that comes back is told.
REMEMBERED = 32


class PlayOverflowError(Exception):
    """More waits to be heard than may; that playout is over. The text is for who gave it."""


class Playouts:
    """See the module. ``open_mouth`` is given the rate and the target (None: all), ``close_mouth`` a mouth it has made."""

    def __init__(
        self,
        *,
        give_number: Callable[[], int],
        tell: Callable[[ServerMessage], bool],
        start_soon: Callable[[Callable[[], Awaitable[None]]], None],
        open_mouth: Callable[[int, str | None], Mouth],
        close_mouth: Callable[[Mouth], None],
        counters: SoundCounters,
    ) -> None:
        self._give_number = give_number
        self._tell = tell
        self._start_soon = start_soon
        self._open_mouth = open_mouth
        self._close_mouth = close_mouth
        self._counters = counters
        #: Those that are not over, and where they are said.
        self._playouts: dict[int, tuple[Playout, Speech]] = {}
        self._speeches: dict[str | None, Speech] = {}
        self._over: deque[PlayProgress] = deque(maxlen=REMEMBERED)
        self._gain = 1.0

    @property
    def numbers(self) -> frozenset[int]:
        """Of all that are not over."""
        return frozenset(self._playouts)

    def open(self, request: PlayOpen) -> int:
        """Begin to speak; return the number for the frames.

        Raises: RequestError; relay.CapacityError.
        """
        if len(self._playouts) >= MAX_PLAYOUTS:
            text = f"{MAX_PLAYOUTS} playouts are open, which is the limit: end one, or clear them"
            raise RequestError(ErrorCode.AT_CAPACITY, text)
        target = request.to
        speech = self._speeches.get(target)
        if speech is None:
            speech = Speech(
                open_mouth=lambda rate: self._make_mouth(rate, target),
                close_mouth=self._close_mouth,
                tell=self._note,
                counters=self._counters,
            )
        playout = Playout(self._give_number(), rate=request.rate)
        speech.open(playout)
        self._playouts[playout.number] = (playout, speech)
        self._speeches[target] = speech
        if not speech.running:
            speech.running = True
            self._start_soon(partial(self._speak, target, speech))
        return playout.number

    def take(self, frame: AudioFrameWire) -> None:
        """Take samples of a playout that is not over.

        Raises: AudioFrameError, PlayOverflowError.
        """
        playout, speech = self._playouts[frame.stream]
        if playout.overflowed:
            self._counters.late += 1
            return
        if playout.ended:
            raise AudioFrameError(f"stream {frame.stream} has had its last frame: expected none after it")
        if frame.samples > playout.rate * MAX_FRAME_SECONDS:
            raise AudioFrameError(
                f"{frame.samples} samples are more than a second: expected at most {playout.rate} in a frame"
            )
        self._counters.received += 1
        waiting = speech.seconds_unplayed(playout) + frame.samples / playout.rate
        others = sum(
            each.seconds_unplayed(other) for other, each in self._playouts.values() if other is not playout
        )
        if waiting > MAX_WAITING_SECONDS or waiting + others > MAX_SESSION_WAITING_SECONDS:
            speech.overflow(playout)
            raise PlayOverflowError(
                f"stream {frame.stream} is over: {waiting:.0f} s of it would wait to be heard, and {others:.0f} s of others; "
                f"expected at most {MAX_WAITING_SECONDS:g} s, and {MAX_SESSION_WAITING_SECONDS:g} s of all"
            )
        speech.give(playout, np.frombuffer(frame.pcm, dtype="<i2"), end=frame.end)

    async def clear(self) -> dict[int, float]:
        """End all; return how many ms of each were heard, by number. Takes a tick."""
        played: dict[int, float] = {}

        async def clear(speech: Speech) -> None:
            played.update(await speech.clear("cleared"))

        # All at once: one after the other, the last one would be heard for as many ticks as there are targets.
        async with trio.open_nursery() as nursery:
            for speech in self._speeches.values():
                nursery.start_soon(clear, speech)
        return played

    def set_gain(self, gain: float) -> None:
        """Be louder or quieter from now on; 1: as it is given."""
        self._gain = gain
        for speech in self._speeches.values():
            speech.set_gain(gain)

    def end(self, target: str, reason: str) -> None:
        """End what is said to this participant alone, at once."""
        speech = self._speeches.pop(target, None)
        if speech is not None:
            speech.close(reason)

    def close(self, reason: str) -> None:
        """End all, at once."""
        speeches, self._speeches = self._speeches, {}
        for speech in speeches.values():
            speech.close(reason)

    def recapitulate(self) -> tuple[ServerMessage, ...]:
        """Return what a client that comes back may have missed: how playouts stand, or how they ended."""
        playing = (
            PlayProgress(stream=playout.number, played_ms=speech.played_ms(playout), state="playing")
            for playout, speech in self._playouts.values()
        )
        return (*self._over, *playing)

    def _make_mouth(self, rate: int, target: str | None) -> Mouth:
        mouth = self._open_mouth(rate, target)
        if self._gain != 1:
            mouth.set_gain(self._gain)
        return mouth

    async def _speak(self, target: str | None, speech: Speech) -> None:
        await speech.run()
        if target is not None and not speech.playouts and self._speeches.get(target) is speech:
            # To all one speaks again and again; whom one whispers to may be anybody.
            del self._speeches[target]
            speech.close("done")

    def _note(self, progress: PlayProgress) -> None:
        if progress.state != "playing":
            del self._playouts[progress.stream]
            self._over.append(progress)
        self._tell(progress)
