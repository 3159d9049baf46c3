"""Barge-in: who speaks while a bot does makes it quieter first, and then silent. The terms, and the sums; no tasks, no I/O."""

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from voicebot.audio.frame import AudioFrame

#: Frames of what somebody says that a predicate gets to see. Overflow policy: the oldest go.
MAX_FRAMES = 500
#: What they are, unless told otherwise: what most models of speech take.
RATE = 16000

#: Says of what somebody has said so far whether it is an interruption.
Predicate = Callable[[Sequence[AudioFrame]], bool | Awaitable[bool]]


@dataclass(frozen=True, slots=True, kw_only=True)
class BargeIn:
    """On what terms a playout may be interrupted: ``await bot.play(pcm, rate=24000, interruptible=BargeIn())``.

    While the playout is heard, and after the first ``after_ms`` of it, people are listened to. Who has spoken for ``duck_ms`` makes
    the bot quieter by ``duck_db``; who has for ``min_ms``, pauses of less than ``pause_ms`` not counted as ends, interrupts it: the bot
    is cleared, whatever else it was about to say included, and ``Playout.interrupted_by`` says who it was. Who stops before that lets the bot be as
    loud as it was. Of a playout that one participant alone hears, only they can be in the way.

    ``predicate`` has the last word: it is asked, once ``min_ms`` are full and with each frame after that, with all frames of what they have said
    so far, and may be a coroutine function. Only when it returns True the bot is interrupted ("mhm" is none, for instance).

    To know who speaks takes one of the two subscriptions to speakers that the relay allows a bot (``Connection.speakers``). A bot that has two of
    its own is interrupted by the mix of all, bots included, and is not told by whom.
    """

    min_ms: float = 300
    duck_ms: float = 100
    #: 0: stay as loud as before. A relay that cannot do it is not asked again.
    duck_db: float = -12
    pause_ms: float = 200
    after_ms: float = 0
    predicate: Predicate | None = None
    #: Whether bots are people too.
    by_bots: bool = False
    #: Of the frames that ``predicate`` gets, in samples a second.
    rate: int = RATE

    def __post_init__(self) -> None:
        for name in ("min_ms", "duck_ms", "pause_ms", "after_ms"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be at least 0, not {getattr(self, name)!r}")
        if not -60 <= self.duck_db <= 0:
            raise ValueError(f"duck_db must be between -60 and 0, not {self.duck_db!r}")


class Speech:
    """What one participant says, from the first word to a pause."""

    def __init__(self, pause_ms: float) -> None:
        self._pause_ms = pause_ms
        self._silent_ms = 0.0
        self._next_timestamp: int | None = None
        self._frames: deque[AudioFrame] = deque(maxlen=MAX_FRAMES)
        #: How long they have spoken, without pauses.
        self.voiced_ms = 0.0

    @property
    def frames(self) -> tuple[AudioFrame, ...]:
        """What they said, pauses included; the last 10 s."""
        return tuple(self._frames)

    def hear(self, frame: AudioFrame) -> None:
        """Go on by one frame; silence that was not sent counts as well."""
        if self._next_timestamp is not None and not frame.gap:
            self._silent_ms += max(0, frame.timestamp - self._next_timestamp) * 1000 / frame.rate
        self._next_timestamp = frame.timestamp + len(frame.samples)
        if not frame.voiced:
            self._silent_ms += frame.duration_ms
        if self._silent_ms >= self._pause_ms:
            self.reset()
        if frame.voiced:
            self._silent_ms = 0.0
            self.voiced_ms += frame.duration_ms
        if self.voiced_ms:
            self._frames.append(frame)

    def reset(self) -> None:
        """Forget what they said."""
        self._frames.clear()
        self.voiced_ms = self._silent_ms = 0.0
