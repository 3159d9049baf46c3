"""``Playout``: something that is being said, and how much of it has been heard."""

from collections.abc import Callable
from dataclasses import dataclass

import trio

from voicebot.errors import VoicebotError

#: Playouts end so; others are as the relay says, such as ``left`` or ``play_overflow``.
DONE, CLEARED, LOST, FAILED = "done", "cleared", "lost", "failed"


@dataclass(frozen=True, slots=True)
class PlayoutEnded:
    """Event: something that was said is over; ``playout.reason`` says how it ended."""

    playout: "Playout"


class PlayoutError(VoicebotError):
    """What was to be played could not be read to its end; its cause is what the iterable raised."""


class Playout:
    """A sound on its way to its listeners; made by ``Connection.play``.

    It is heard when those that were begun before it are over. Its end is also told by the event ``PlayoutEnded``.
    """

    def __init__(self, rate: int, to: str | None, relay_rate: int) -> None:
        #: Samples a second, as it was given.
        self.rate = rate
        self._relay_rate = relay_rate
        #: Who alone hears it, by participant id; None: all.
        self.to = to
        #: How much of it has been heard, as the relay last told: every 100 ms while it is heard, and exactly at the end.
        self.played_ms = 0.0
        #: How it ended: ``done``, ``cleared``, ``lost`` (with the connection), ``failed`` (see ``wait``), or as the relay says, such as
        #: ``left`` (who it was for) and ``play_overflow``. None while it is not over.
        self.reason: str | None = None
        #: Who interrupted it, by participant id, when it is over because somebody began to speak (see ``BargeIn``).
        self.interrupted_by: str | None = None
        #: Why it failed.
        self.error: VoicebotError | None = None
        #: How many samples the relay was given, at the relay's rate.
        self.sent_samples = 0
        self._sent_all = False
        self._moved = trio.Event()

    @property
    def done(self) -> bool:
        """Whether it is over: heard to its end, or cut off."""
        return self.reason is not None

    @property
    def interrupted(self) -> bool:
        """Whether it is over, and has not been heard to its end."""
        return self.reason not in {None, DONE}

    @property
    def started(self) -> bool:
        """Whether it is heard, or was."""
        return self.played_ms > 0

    @property
    def sent_ms(self) -> float:
        """How much of it the relay was given."""
        return self.sent_samples * 1000 / self._relay_rate

    @property
    def sent_all(self) -> bool:
        """Whether the relay was given all of it."""
        return self._sent_all

    async def wait(self) -> bool:
        """Wait until it is over. True: all of it was heard; False: it was cut off, and ``reason`` says why.

        Raises: PlayoutError when the iterable it came from raised; what came before that was played.
        """
        await self.wait_over()
        if self.error is not None:
            raise self.error
        return not self.interrupted

    async def wait_over(self) -> None:
        """Wait until it is over, however it ends."""
        await trio.lowlevel.checkpoint_if_cancelled()
        while self.reason is None:
            await self._moved.wait()
        await trio.lowlevel.cancel_shielded_checkpoint()

    async def wait_started(self) -> bool:
        """Wait until it is first heard; False: it was over before."""
        await trio.lowlevel.checkpoint_if_cancelled()
        while not self.started and self.reason is None:
            await self._moved.wait()
        return self.started

    async def wait_ahead(self, limit_ms: Callable[[], float]) -> None:
        """Wait until less than that much of what was sent has not been heard yet, or it is over."""
        while self.sent_ms - self.played_ms >= limit_ms() and self.reason is None:
            await self._moved.wait()

    # What the connection says of it.

    def note_sent(self, samples: int) -> None:
        """So many more samples were given to the relay."""
        self.sent_samples += samples

    def note_sent_all(self) -> None:
        """The relay was given the last sample."""
        self._sent_all = True

    def note_played(self, played_ms: float) -> None:
        """So much has been heard in all."""
        self.played_ms = max(self.played_ms, played_ms)
        self.notify()

    def note_end(self, reason: str, error: VoicebotError | None = None) -> bool:
        """It is over; only the first end counts, and returns True."""
        if self.reason is not None:
            return False
        self.reason = reason
        self.error = error
        self.notify()
        return True

    def notify(self) -> None:
        """Let those who wait look again."""
        self._moved.set()
        self._moved = trio.Event()
