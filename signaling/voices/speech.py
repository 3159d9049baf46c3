"""What one session says to one target (all, or one participant): playouts, one behind another, through one mouth.

The mouth is given a few seconds ahead, so that a busy event loop is not heard, and no more, so that little has to be
taken back. Playouts of one rate follow each other without a gap; at another rate they need another mouth, which is opened
when all before have been heard.

A task runs while there are playouts: it moves samples, and tells the client what has been heard. It sleeps while nothing
can be heard and nothing waits.
"""

import math
from collections import deque
from collections.abc import Callable
from typing import Literal

import numpy as np
import trio
from numpy.typing import NDArray

import relay
from signaling.messages import PlayProgress
from signaling.voices.counters import SoundCounters
from signaling.voices.mix import Mouth
from signaling.voices.playout import Playout

PROGRESS_SECONDS = 0.1
#: Of samples in the mouth; chunks are up to a second, so there may be a second more.
LEAD_SECONDS = 2
#: How long a mouth may take to be silent: far more than the tick it needs.
CLEAR_SECONDS = 1.0


class Speech:
    """See the module. ``open_mouth`` and ``close_mouth`` are given the mouths; ``tell`` what the client is to know.

    Whenever ``open`` has returned and ``running`` is False, it is to be set, and ``run`` to be started.
    """

    def __init__(
        self,
        *,
        open_mouth: Callable[[int], Mouth],
        close_mouth: Callable[[Mouth], None],
        tell: Callable[[PlayProgress], None],
        counters: SoundCounters,
    ) -> None:
        self._open_mouth = open_mouth
        self._close_mouth = close_mouth
        self._tell = tell
        self._counters = counters
        self.running = False
        self._mouth: Mouth | None = None
        self._playouts: deque[Playout] = deque()
        # While the mouth forgets what it has, it is given nothing.
        self._clearing = False
        # What wakes the task before its time; `_idle`: it has none.
        self._news = trio.Event()
        self._idle = False

    @property
    def playouts(self) -> tuple[Playout, ...]:
        """Those that are not over; the first is the one that is heard."""
        return tuple(self._playouts)

    def open(self, playout: Playout) -> None:
        """Queue a playout.

        Raises: relay.RelayError when no mouth can be opened; then it is not queued.
        """
        self._playouts.append(playout)
        try:
            self._move()
        except relay.RelayError:
            self._playouts.remove(playout)
            raise
        self._news.set()

    def give(self, playout: Playout, samples: NDArray[np.int16], *, end: bool) -> None:
        """Take samples of a playout; ``end``: the last ones."""
        playout.give(samples)
        playout.ended = playout.ended or end
        self._move_or_fail()
        if end or self._idle:
            self._news.set()

    def overflow(self, playout: Playout) -> None:
        """End a playout of which too much waits, with what is in the mouth."""
        playout.overflow()
        self._news.set()

    def played_ms(self, playout: Playout) -> float:
        """Return how much of a playout has been heard."""
        return playout.to_ms(playout.played_at(self._position()))

    def seconds_unplayed(self, playout: Playout) -> float:
        """Return how much of a playout waits."""
        return playout.seconds_unplayed(self._position())

    def set_gain(self, gain: float) -> None:
        """Turn what is heard up or down; a mouth that is opened later is told by who opens it."""
        if self._mouth is not None:
            self._mouth.set_gain(gain)

    async def clear(self, reason: str) -> dict[int, float]:
        """End all playouts; return how much of each was heard, by number. Takes a tick."""
        playouts, self._playouts = self._playouts, deque()
        self._news.set()
        mouth = self._mouth
        if mouth is None or not playouts:
            return {}
        position: int | None = None
        self._clearing = True
        # A connection that is lost meanwhile does not change that silence was asked for.
        with trio.move_on_after(CLEAR_SECONDS) as patience:
            patience.shield = True
            position = await mouth.clear()
        self._clearing = False
        if position is None:
            position = mouth.played
        return {each.number: self._clear(each, position, reason) for each in playouts}

    def close(self, reason: str) -> None:
        """End all playouts and the mouth, now."""
        position = self._position()
        playouts, self._playouts = self._playouts, deque()
        mouth, self._mouth = self._mouth, None
        if mouth is not None:
            self._close_mouth(mouth)
        for each in playouts:
            self._clear(each, position, reason)
        self._news.set()

    async def run(self) -> None:
        """Move samples and tell what is heard, until there is no playout."""
        try:
            while self._playouts:
                self._move_or_fail()
                if self._playouts:
                    await self._go_on(self._playouts[0])
        finally:
            self.running = False

    async def _go_on(self, playout: Playout) -> None:
        """Tell how far it is, and wait until it is over, or there may be something to do."""
        mouth = self._mouth
        assert mouth is not None  # the first one has its turn
        self._report(playout)
        heard: bool | None = None
        patience = self._patience(playout, mouth)
        self._idle, self._news = patience == math.inf, trio.Event()
        with trio.move_on_after(patience):
            if playout.complete:
                heard = await mouth.wait_played(playout.end_position())
            else:
                await self._news.wait()
        if not self._playouts or self._playouts[0] is not playout:
            return  # cleared meanwhile
        if heard:
            self._playouts.popleft()
            self._end(playout, mouth)
        elif heard is False:
            self.close("failed")

    def _patience(self, playout: Playout, mouth: Mouth) -> float:
        """Return after how many seconds there may be something to do although nothing new has come."""
        busy = playout.complete or playout.has_waiting or mouth.played < mouth.queued
        return PROGRESS_SECONDS if busy else math.inf

    def _move(self) -> None:
        """Move samples into the mouth, as many as it shall have now.

        Raises: relay.RelayError.
        """
        if self._clearing:
            return
        for place, playout in enumerate(self._playouts):
            mouth = self._mouth
            if mouth is None or mouth.rate != playout.rate:
                if place:
                    return
                mouth = self._change_mouth(playout.rate)
            playout.begin(mouth)
            playout.move(mouth, lead_samples=LEAD_SECONDS * playout.rate)
            if not playout.complete:
                return
            if not playout.finished and not self._is_continued(place):
                playout.finished = True
                mouth.finish()

    def _is_continued(self, place: int) -> bool:
        """Tell whether the samples of the next playout can follow those of this one within one frame."""
        if place + 1 == len(self._playouts):
            return False
        this, following = self._playouts[place], self._playouts[place + 1]
        return following.has_waiting and following.rate == this.rate

    def _move_or_fail(self) -> None:
        try:
            self._move()
        except relay.RelayError:
            self.close("failed")

    def _change_mouth(self, rate: int) -> Mouth:
        former, self._mouth = self._mouth, None
        if former is not None:
            self._close_mouth(former)
        self._mouth = self._open_mouth(rate)
        return self._mouth

    def _position(self) -> int:
        return 0 if self._mouth is None else self._mouth.played

    def _report(self, playout: Playout) -> None:
        played = playout.played_at(self._position())
        if played != playout.reported:
            playout.reported = played
            self._say(playout, playout.to_ms(played), "playing", None)

    def _end(self, playout: Playout, mouth: Mouth) -> None:
        if playout.overflowed:
            self._clear(playout, mouth.played, "play_overflow")
        else:
            self._counters.playouts["done"] += 1
            self._say(playout, playout.to_ms(playout.moved), "done", None)

    def _clear(self, playout: Playout, position: int, reason: str) -> float:
        played_ms = playout.to_ms(playout.played_at(position))
        self._counters.playouts[reason] += 1
        self._say(playout, played_ms, "cleared", reason)
        return played_ms

    def _say(
        self,
        playout: Playout,
        played_ms: float,
        state: Literal["playing", "done", "cleared"],
        reason: str | None,
    ) -> None:
        self._tell(PlayProgress(stream=playout.number, played_ms=played_ms, state=state, reason=reason))
