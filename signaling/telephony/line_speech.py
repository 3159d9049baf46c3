"""What a line says: samples of any length go to a mouth of the mix, with positions that only grow.

A live line keeps nothing: its mouth drops what would wait for more than 200 ms, the oldest first. Another one may wait for five
minutes, of which the mouth is given two seconds ahead, so that a busy event loop is not heard. What is left of the last frame
is heard when nothing follows it in time.

Positions are in samples: of all that was ever given. Those of the mouth are others, for it forgets what was cleared or dropped.
"""

from collections import deque
from typing import Final

import trio

from signaling.telephony.line import FRAME_MS, LineOverflowError, Samples
from signaling.voices.mix import Mouth

#: Of a line that is not live. A bot may say all it has to say at once.
MAX_WAITING_SECONDS: Final = 300
#: In the mouth.
LEAD_SECONDS: Final = 2
#: Given to the mouth at a time.
CHUNK_SECONDS: Final = 1
#: How long a mouth may take to be silent: far more than the tick it needs.
CLEAR_SECONDS: Final = 1.0


class LineSpeech:
    """See the module. ``run`` must run as long as it is used; ``mouth`` is closed by whoever opened it, after ``close``."""

    def __init__(self, mouth: Mouth, *, live: bool) -> None:
        self.closed = False
        self._mouth = mouth
        self._live = live
        self._frame = mouth.rate * FRAME_MS // 1000
        self._waiting: deque[Samples] = deque()
        self._waiting_samples = 0
        #: Positions: after the last sample that was given, and after the last that was cleared.
        self._given = 0
        self._cleared = 0
        # While the mouth forgets what it has, it is given nothing.
        self._clearing = 0
        self._clears = 0
        self._changed = trio.Event()

    @property
    def played(self) -> int:
        """The position up to which all has been played, dropped or cleared."""
        return max(self._cleared, self._mouth.played + self._offset)

    def give(self, samples: Samples) -> int:
        """Let these be heard after all that was given before; return the position after them. They are not copied.

        Raises: LineOverflowError.
        """
        most = MAX_WAITING_SECONDS * self._mouth.rate
        if not self._live and self._given + samples.size - self.played > most:
            raise LineOverflowError(
                f"more than {MAX_WAITING_SECONDS} s of audio would wait to be played: send it later"
            )
        if samples.size:
            self._waiting.append(samples)
            self._waiting_samples += samples.size
            self._given += samples.size
            self._hand_over()
        return self._given

    async def wait_played(self, position: int) -> None:
        """Return once everything before the position was played, dropped or cleared, or this is closed."""
        while not self.closed and self.played < position:
            within = position - self._offset
            if within <= self._mouth.queued:
                await self._wait_mouth(within)
            else:
                await self._changed.wait()
        await trio.lowlevel.checkpoint()

    async def clear(self) -> int:
        """Forget what waits; return the position up to which it was really played. Takes a tick."""
        offset = self._offset
        self._waiting.clear()
        self._waiting_samples = 0
        self._cleared = self._given
        self._clears += 1
        self._clearing += 1
        self._notify()
        position: int | None = None
        # A connection that is lost meanwhile does not change that silence was asked for.
        with trio.move_on_after(CLEAR_SECONDS) as patience:
            patience.shield = True
            position = await self._mouth.clear()
        self._clearing -= 1
        self._notify()
        self._hand_over()
        return offset + (self._mouth.played if position is None else position)

    def close(self) -> None:
        """Say no more. Idempotent."""
        self.closed = True
        self._waiting.clear()
        self._waiting_samples = 0
        self._notify()

    async def run(self) -> None:
        """Move samples into the mouth until closed."""
        mouth = self._mouth
        while not self.closed:
            self._hand_over()
            in_mouth = mouth.queued - mouth.played
            if self._clearing or not in_mouth:
                await self._changed.wait()
            elif self._waiting:
                await self._wait_mouth(mouth.queued - LEAD_SECONDS * mouth.rate // 2)
            elif in_mouth >= self._frame:
                await self._wait_mouth(mouth.queued - self._frame + 1)
            else:
                mouth.finish()
                await self._wait_mouth(mouth.queued)

    @property
    def _offset(self) -> int:
        """What is to be added to a position of the mouth."""
        return self._given - self._waiting_samples - self._mouth.queued

    def _hand_over(self) -> None:
        """Give the mouth what it shall have now."""
        if self._clearing or self.closed:
            return
        mouth, chunk = self._mouth, CHUNK_SECONDS * self._mouth.rate
        while self._waiting and (self._live or mouth.queued - mouth.played < LEAD_SECONDS * mouth.rate):
            first = self._waiting.popleft()
            if first.size > chunk:
                self._waiting.appendleft(first[chunk:])
                first = first[:chunk]
            self._waiting_samples -= first.size
            mouth.queue(first)
            self._notify()

    async def _wait_mouth(self, position: int) -> None:
        """Wait until the mouth has played so far, or is cleared; one that cannot play any more closes this."""
        clears = self._clears
        played = await self._mouth.wait_played(position)
        if not played and not self._clearing and clears == self._clears:
            self.close()

    def _notify(self) -> None:
        changed, self._changed = self._changed, trio.Event()
        changed.set()
