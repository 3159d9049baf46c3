"""What sounds in a fake lobby: people, and what bots play. Samples in, 20 ms at a time out; no tasks, no clock."""

from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from voicebot.testing.sounds import MIX_RATE, add, change_rate

TICK_MS = 20
TICK_SAMPLES = MIX_RATE * TICK_MS // 1000


@dataclass(frozen=True, slots=True)
class Heard:
    """Something a bot has played, as it was heard: what of it was heard, and when."""

    #: When it was first heard, in ms since the lobby opened; None: it never was.
    began_ms: float | None
    #: How much of it was heard.
    played_ms: float
    #: The part that was heard, as it was heard: gain included.
    samples: NDArray[np.int16]
    rate: int
    #: Who alone heard it, by participant id.
    to: str | None
    #: ``done``, ``cleared``, or None while it is under way.
    ended: str | None

    @property
    def ended_ms(self) -> float | None:
        """When it was last heard, in ms since the lobby opened, if it was not made to wait for samples meanwhile."""
        return None if self.began_ms is None else self.began_ms + self.played_ms


class FakePlayout:
    """One playout of a bot: samples that wait, and those that were heard."""

    def __init__(self, number: int, rate: int, to: str | None) -> None:
        self.number = number
        self.rate = rate
        self.to = to
        self.complete = False
        self.ended: str | None = None
        self.began_ms: float | None = None
        self._waiting = np.zeros(0, np.int16)
        self._heard: list[NDArray[np.int16]] = []
        self._heard_samples = 0

    @property
    def played_ms(self) -> float:
        """How much was heard; of the last frame what is in it."""
        return self._heard_samples * 1000 / self.rate

    @property
    def over(self) -> bool:
        """Whether nothing of it is left to be heard."""
        return self.complete and not len(self._waiting)

    @property
    def ready(self) -> bool:
        """Whether there is a frame of it to be heard."""
        return len(self._waiting) >= self._frame or (self.complete and len(self._waiting) > 0)

    def give(self, samples: NDArray[np.int16], *, end: bool) -> None:
        """Take more of it."""
        self._waiting = np.concatenate((self._waiting, samples))
        self.complete = self.complete or end

    def take(self, now_ms: float, gain_db: float) -> NDArray[np.int16]:
        """Return the next 20 ms at the rate of the mix; there must be some."""
        samples, self._waiting = self._waiting[: self._frame], self._waiting[self._frame :]
        if gain_db:
            loud = samples * 10 ** (gain_db / 20)
            samples = np.clip(loud.round(), -32768, 32767).astype(np.int16)
        if self.began_ms is None:
            self.began_ms = now_ms
        self._heard.append(samples)
        self._heard_samples += len(samples)
        whole = np.zeros(self._frame, np.int16)
        whole[: len(samples)] = samples
        return change_rate(whole, self.rate, MIX_RATE)

    def heard(self) -> Heard:
        """Return what was heard of it so far."""
        samples = np.concatenate(self._heard) if self._heard else np.zeros(0, np.int16)
        return Heard(self.began_ms, self.played_ms, samples, self.rate, self.to, self.ended)

    @property
    def _frame(self) -> int:
        return self.rate * TICK_MS // 1000


class FakeVoice:
    """A participant as others hear them: what they say themselves, and the playouts of a bot."""

    def __init__(self, participant_id: str) -> None:
        self.participant_id = participant_id
        self.gain_db = 0.0
        #: Everything ever played, in the order of beginning.
        self.playouts: list[FakePlayout] = []
        #: Those that are not over, by whom they are for.
        self.queues: dict[str | None, deque[FakePlayout]] = {}
        self._said: deque[NDArray[np.int16]] = deque()

    @property
    def busy(self) -> bool:
        """Whether there is anything that is not over."""
        return bool(self._said) or any(self.queues.values())

    @property
    def sounding(self) -> bool:
        """Whether there is anything to be heard right now."""
        return bool(self._said) or any(queue and queue[0].ready for queue in self.queues.values())

    def say(self, samples: NDArray[np.int16]) -> None:
        """Say this, at the rate of the mix, after what is being said."""
        for begin in range(0, len(samples), TICK_SAMPLES):
            frame = np.zeros(TICK_SAMPLES, np.int16)
            part = samples[begin : begin + TICK_SAMPLES]
            frame[: len(part)] = part
            self._said.append(frame)

    def hush(self) -> None:
        """Say nothing more."""
        self._said.clear()

    def open_playout(self, playout: FakePlayout) -> None:
        """Play this after what is played to the same listeners."""
        self.playouts.append(playout)
        self.queues.setdefault(playout.to, deque()).append(playout)

    def finish_playouts(self) -> list[FakePlayout]:
        """Return those of which all has been heard, and forget them."""
        done: list[FakePlayout] = []
        for queue in self.queues.values():
            while queue and queue[0].over:
                done.append(queue.popleft())
                done[-1].ended = "done"
        return done

    def clear_playouts(self, to: str | None = None, *, all_of_them: bool = True) -> list[FakePlayout]:
        """Return those that are not over, or those to one participant, and forget them."""
        cleared: list[FakePlayout] = []
        for target, queue in self.queues.items():
            if all_of_them or target == to:
                cleared += queue
                queue.clear()
        for playout in cleared:
            playout.ended = "cleared"
        return cleared

    def take(self, now_ms: float) -> dict[str | None, NDArray[np.int16]]:
        """Return the next 20 ms, by who alone hears them (None: all); nothing for silence."""
        frames: dict[str | None, NDArray[np.int16]] = {}
        if self._said:
            frames[None] = self._said.popleft()
        for target, queue in self.queues.items():
            if queue and queue[0].ready:
                samples = queue[0].take(now_ms, self.gain_db)
                frames[target] = add([samples, *([frames[target]] if target in frames else [])], TICK_SAMPLES)
        return frames
