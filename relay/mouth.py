"""Speaks PCM into a mix."""

import math
import secrets
from collections import deque
from collections.abc import Callable
from typing import Any, Final

import numpy as np
import trio

from media.mixer.operations import MixerOperation
from media.mixer.ports import UNITY_GAIN, load_word, reset_port, store_word
from media.mixer.tables import PCM_FRAME, PCM_SLOTS, PORT_CLEARED, PORT_GAIN, PORT_PLAYED, PORT_SEEN
from media.ring import push_records, read_count
from media.tables import NONE
from relay.command_port import Row
from relay.errors import CapacityError, LocalProtocolError
from relay.mixer import Mixer
from relay.track import Track

MAX_QUEUED_S: Final = 60
LIVE_QUEUED_S: Final = 0.2
LIVE_SLOTS: Final = 5
"""Frames of a live mouth in the mixer's ring; the rest of its 200 ms waits here, where the oldest can be dropped."""

LEVEL_S: Final = 0.2
"""So long a level holds that nothing follows."""
SILENT_DBOV: Final = 127

Samples = np.ndarray[Any, np.dtype[np.int16]]


class Mouth:
    """A voice that is given as samples; made by `Mix.open_mouth`.

    Positions are in samples: of all that were ever queued and not cleared. `track`: what those hear of it who do not take the
    mix but tracks and audio slots; None when it speaks to one participant alone.
    """

    def __init__(
        self,
        mixer: Mixer,
        mix: Row,
        *,
        rate: int,
        live: bool,
        private: bool,
        track: Track | None,
        forget: Callable[["Mouth"], None],
    ) -> None:
        self.id = secrets.token_hex(8)
        self.rate = rate
        self.live = live
        self.private = private
        self.track = track
        self.closed = False
        self.queued = 0
        self.dropped = 0
        """Samples of a live mouth that would have waited too long."""
        self._frame = rate // 50
        self._mixer = mixer
        self._forget = forget
        self.row = mixer.take_row(MixerOperation.CLOSE_INPUT)
        memory = mixer.memory
        self._frames = memory.frames[self.row.index]
        self._cursors = memory.frame_cursors[self.row.index]
        self._words = memory.port_words[self.row.index]
        reset_port(self._words, self._cursors)
        values = (mix.index, self.row.index, rate, int(live), int(private))
        mixer.post(MixerOperation.OPEN_PCM_INPUT, self.row.index, values, generation=self.row.generation)
        if track is not None:
            self._stream = track.open_stream()
            track.on_mute = self._apply_gain
            track.on_demand = self._publish
            track.measure = self._measure
        mixer.port_users[self] = None
        self._slot = np.zeros(1, PCM_FRAME)
        self._waiting: deque[Samples] = deque()
        self._waiting_samples = 0
        # Positions at which a frame ends though it be no whole one.
        self._seals: deque[int] = deque()
        self._gain = 1.0
        # Of the frames handed over and not known to be played: the position after each.
        self._ends: deque[int] = deque()
        # Likewise, their levels; and that of the one that was played last, and when.
        self._levels: deque[int] = deque()
        self._level_dbov = SILENT_DBOV
        self._level_at = -math.inf
        self._handed_over = 0
        self._frames_played = 0
        self._played = 0
        self._clears = 0
        self._clearing = False
        self._progress = trio.Event()

    @property
    def played(self) -> int:
        """The position up to which samples have been played."""
        return self._played

    def queue(self, samples: Samples) -> int:
        """Let these be heard after all that was queued before; return the position after them. Copies what it needs.

        Raises: CapacityError when more than a minute's worth would wait; LocalProtocolError when it is closed.
        """
        if self.closed:
            raise LocalProtocolError("the mouth is closed")
        limit = int(self.rate * (LIVE_QUEUED_S if self.live else MAX_QUEUED_S))
        if not self.live and self.queued + samples.size - self._played > limit:
            raise CapacityError(f"more than {MAX_QUEUED_S} s of speech would wait; send it as it is played")
        if samples.size:
            self._waiting.append(np.array(samples, np.int16))
            self._waiting_samples += samples.size
            self.queued += samples.size
        if self.live:
            self._drop_oldest(limit)
        self._hand_over()
        return self.queued

    def finish(self) -> None:
        """Let the end of what is queued be heard though it be no whole frame: silence fills it."""
        self._seals.append(self.queued)
        self._hand_over()

    def set_gain(self, gain: float) -> None:
        """Turn what it says up or down within one tick; 1 is as it is, 0 silence. From 0 to 4."""
        self._gain = min(max(gain, 0.0), 4.0)
        self._apply_gain()

    async def wait_played(self, position: int) -> bool:
        """Return True once everything before the position was played, False when it was cleared or the mouth closed."""
        clears = self._clears
        while self._played < position:
            if self.closed or self._clears != clears or not self._mixer.is_running:
                return False
            await self._progress.wait()
        await trio.lowlevel.checkpoint()
        return True

    async def clear(self) -> int:
        """Forget what is queued; return the position up to which it was really played. Takes a tick.

        That is what `queued` is then, and what is queued next goes on from there. What others queue meanwhile is kept.
        """
        await trio.lowlevel.checkpoint()
        while self._clearing:
            await self._progress.wait()
        self._waiting.clear()
        self._waiting_samples = 0
        if self._ends and not self.closed:
            self._clearing = True
            try:
                store_word(self._words, PORT_CLEARED, self._handed_over)
                self._mixer.wake()
                with trio.CancelScope(shield=True):  # a tick; else nobody knew what was played
                    while not (self._has_seen_clear() or self.closed or not self._mixer.is_running):
                        await self._progress.wait()
            finally:
                self._clearing = False
        self._note_played()
        self._ends.clear()
        self._levels.clear()
        self._seals.clear()
        self.queued = self._played + self._waiting_samples
        self._clears += 1
        self._hand_over()
        self._tell()
        return self._played

    def close(self) -> None:
        """Be silent at once, for ever. Idempotent."""
        if self.closed:
            return
        self.closed = True
        del self._mixer.port_users[self]
        self._mixer.retire_row(MixerOperation.CLOSE_INPUT, self.row)
        if self.track is not None:
            self.track.close()
        self._forget(self)
        self._tell()

    def _publish(self, wanted: bool) -> None:
        """Let the mixer encode what the track carries, or not: nobody takes it."""
        link = (NONE, NONE, 0)
        if wanted and self.track is not None:
            link = (self.track.worker.index, self._stream.index, self._stream.generation)
        self._mixer.post(MixerOperation.PUBLISH_INPUT, self.row.index, link)

    def _measure(self) -> int:
        is_sounding = trio.current_time() - self._level_at < LEVEL_S
        return self._level_dbov if is_sounding else SILENT_DBOV

    def _apply_gain(self) -> None:
        muted = self.track is not None and self.track.muted
        if not self.closed:
            store_word(self._words, PORT_GAIN, 0 if muted else round(self._gain * UNITY_GAIN))

    def attend(self) -> None:
        """See `PortUser`."""
        before = self._played
        self._note_played()
        self._hand_over()
        if self._played != before or self._clearing:
            self._tell()

    def _tell(self) -> None:
        self._progress.set()
        self._progress = trio.Event()

    def _has_seen_clear(self) -> bool:
        return int(load_word(self._words, PORT_SEEN)) == self._handed_over

    def _note_played(self) -> None:
        frames = int(load_word(self._words, PORT_PLAYED))
        for _ in range(frames - self._frames_played):
            if self._ends:
                self._played = self._ends.popleft()
                self._level_dbov, self._level_at = self._levels.popleft(), trio.current_time()
        self._frames_played = frames

    def _hand_over(self) -> None:
        """Fill the mixer's ring."""
        if self._clearing or self.closed:
            return
        was_empty = not self._ends
        slots = LIVE_SLOTS if self.live else PCM_SLOTS
        while (size := self._next_frame()) and self._handed_over - int(read_count(self._cursors)) < slots:
            self._fill_slot(size)
            push_records(self._frames, self._cursors, self._slot)
            self._handed_over += 1
        if was_empty and self._ends:
            self._mixer.wake()

    def _next_frame(self) -> int:
        """Return how many samples the next frame has: a whole one, or up to the next seal; 0: there is none yet."""
        handed_over = self.queued - self._waiting_samples
        while self._seals and self._seals[0] <= handed_over:
            self._seals.popleft()
        if self._seals:
            return min(self._frame, self._seals[0] - handed_over)
        return self._frame if self._waiting_samples >= self._frame else 0

    def _fill_slot(self, wanted: int) -> None:
        data = self._slot["data"][0]
        filled = 0
        while filled < wanted:
            first = self._waiting[0]
            taken = min(first.size, wanted - filled)
            data[filled : filled + taken] = first[:taken]
            filled += taken
            if taken == first.size:
                self._waiting.popleft()
            else:
                self._waiting[0] = first[taken:]
        data[filled : self._frame] = 0
        self._slot["samples"] = self._frame
        self._waiting_samples -= filled
        self._ends.append(self.queued - self._waiting_samples)
        self._levels.append(_level_of(data[: self._frame]))

    def _drop_oldest(self, limit: int) -> None:
        while self.queued - self._played > limit and self._waiting_samples > self._frame:
            excess = min(self._waiting[0].size, self.queued - self._played - limit)
            if excess <= 0:
                return
            self._waiting[0] = self._waiting[0][excess:]
            if not self._waiting[0].size:
                self._waiting.popleft()
            self._waiting_samples -= excess
            self.queued -= excess
            self._seals = deque(seal - excess for seal in self._seals)
            self.dropped += excess


def _level_of(samples: Samples) -> int:
    """Return the level as RFC 6464 tells it: 0 the loudest, 127 silence."""
    floats = samples.astype(np.float32)
    power = float(floats @ floats) / (samples.size * 32768.0**2)
    return SILENT_DBOV if power <= 0 else min(max(round(-10 * math.log10(power)), 0), SILENT_DBOV)
