"""How a bot hears a fake lobby: frames of one stream, made of the mix's 20 ms. No tasks, no clock."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from signaling.messages import encode_audio_frame
from voicebot.testing.fake_voices import TICK_MS, TICK_SAMPLES
from voicebot.testing.sounds import MIX_RATE, VOICED_DBOV, add, change_rate, level_dbov

#: What each participant says in one tick, by who alone hears it.
Tick = Mapping[str, Mapping[str | None, NDArray[np.int16]]]


class FakeEar:
    """One stream of one bot: of one participant, or (None) of everybody but the bot itself."""

    def __init__(self, number: int, owner: str, participant: str | None, *, rate: int, frame_ms: int) -> None:
        self.number = number
        self.participant = participant
        self._owner = owner
        self._rate = rate
        self._ticks_a_frame = frame_ms // TICK_MS
        self._parts: list[NDArray[np.int16]] = []
        self._ticks = 0

    def skip_ticks(self, ticks: int) -> None:
        """Let so many times 20 ms of silence pass of which nothing is sent; a frame that was begun is not finished."""
        self._ticks += ticks
        self._parts.clear()

    def hear_tick(self, tick: Tick) -> bytes | None:
        """Hear 20 ms; return a binary frame when one is full."""
        self._ticks += 1
        self._parts.append(self._mix(tick))
        if len(self._parts) < self._ticks_a_frame:
            return None
        samples = np.concatenate(self._parts)
        self._parts.clear()
        level = level_dbov(samples)
        begin = (self._ticks - self._ticks_a_frame) * self._rate * TICK_MS // 1000
        return encode_audio_frame(
            self.number,
            change_rate(samples, MIX_RATE, self._rate).astype("<i2").tobytes(),
            timestamp=begin,
            level_dbov=level,
            voiced=level <= VOICED_DBOV,
        )

    def _mix(self, tick: Tick) -> NDArray[np.int16]:
        voices = []
        for participant, frames in tick.items():
            if participant != self._owner and self.participant in {None, participant}:
                voices += [frames[to] for to in (None, self._owner) if to in frames]
        return add(voices, TICK_SAMPLES)
