"""Hears a mix, or one voice of it, as PCM."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import trio

from media.mixer.operations import MixerOperation
from media.mixer.ports import reset_port
from media.mixer.tables import PCM_FRAME, PCM_SLOTS, PORT_DROPPED
from media.ring import pop_records
from media.tables import NONE
from relay.command_port import Row
from relay.errors import LocalProtocolError
from relay.mixer import Mixer

QUEUE_FRAMES: Final = 32
"""Frames that wait for whoever reads an ear; 640 ms. Overflow policy: the oldest goes, and is counted."""

Samples = np.ndarray[Any, np.dtype[np.int16]]


class EarClosed(LocalProtocolError):  # noqa: N818 - it is how hearing ends
    """There is nothing more to hear: the ear, or what it heard, has been closed."""


@dataclass(frozen=True, slots=True)
class HeardFrame:
    """20 ms of sound, silence too."""

    samples: Samples
    """int16 [rate / 50]."""
    timestamp: int
    """Of the first sample: samples since the ear was opened, silence and what was lost included."""
    level_dbov: int
    """0 the loudest, 127 silence."""
    voiced: bool
    gap: bool
    """Frames before it were lost."""


class Ear:
    """A place in a mix from which to listen; made by `Mix.open_ear`.

    Frames come every 20 ms while anything sounds, and none while all have been silent for two seconds.
    """

    def __init__(
        self,
        mixer: Mixer,
        mix: Row,
        *,
        rate: int,
        source: Row | None,
        at_once: bool,
        forget: Callable[["Ear"], None],
    ) -> None:
        self.rate = rate
        self.closed = False
        self._mixer = mixer
        self._forget = forget
        self.row = mixer.take_row(MixerOperation.CLOSE_OUTPUT)
        memory = mixer.memory
        port = memory.capacity.inputs + self.row.index
        self._frames = memory.frames[port]
        self._cursors = memory.frame_cursors[port]
        self._words = memory.port_words[port]
        reset_port(self._words, self._cursors)
        values = (mix.index, port, rate, NONE if source is None else source.index, at_once)
        mixer.post(MixerOperation.OPEN_PCM_OUTPUT, self.row.index, values, generation=self.row.generation)
        mixer.port_users[self] = None
        self._taken = np.zeros(PCM_SLOTS, PCM_FRAME)
        self._heard: deque[HeardFrame] = deque()
        self._arrived = trio.Event()
        self._overflowed = 0
        self._gap = False

    @property
    def dropped(self) -> int:
        """Frames lost because nobody took them."""
        return self._overflowed + int(self._words[PORT_DROPPED])

    async def receive(self) -> list[HeardFrame]:
        """Return the frames that wait, in order; at least one.

        Raises: EarClosed.
        """
        while not self._heard:
            if self.closed:
                raise EarClosed("the ear is closed: it was, or what it listened to has ended")
            self._arrived = trio.Event()
            await self._arrived.wait()
        await trio.lowlevel.checkpoint()
        heard = list(self._heard)
        self._heard.clear()
        return heard

    def close(self) -> None:
        """Hear no more. Idempotent."""
        if self.closed:
            return
        self.closed = True
        del self._mixer.port_users[self]
        self._mixer.retire_row(MixerOperation.CLOSE_OUTPUT, self.row)
        self._forget(self)
        self._arrived.set()

    def attend(self) -> None:
        """See `PortUser`."""
        taken = pop_records(self._frames, self._cursors, self._taken)
        if taken == 0:
            return
        for frame in self._taken[:taken]:
            if len(self._heard) >= QUEUE_FRAMES:
                self._heard.popleft()
                self._overflowed += 1
                self._gap = True
            self._heard.append(
                HeardFrame(
                    samples=frame["data"][: int(frame["samples"])].copy(),
                    timestamp=int(frame["timestamp"]),
                    level_dbov=int(frame["level_dbov"]),
                    voiced=bool(frame["voiced"]),
                    gap=bool(frame["gap"]),
                )
            )
        if self._gap:
            # What was dropped lay before the oldest that is left.
            self._gap = False
            first = self._heard[0]
            self._heard[0] = HeardFrame(
                first.samples, first.timestamp, first.level_dbov, first.voiced, gap=True
            )
        self._arrived.set()
