"""Hearing one participant, whatever track they are heard through at the time.

Each has an ear of its own, and the timestamps of all make one line. Who is heard through several at once is heard through
the one that began first.
"""

from collections.abc import Callable

import trio

import relay
from signaling.voices.lobby_mix import LobbyMix
from signaling.voices.mix import Ear, HeardFrame

#: Samples of 20 ms at 1 Hz.
_FRAMES_A_SECOND = 50


class Follower:
    """See the module. ``hear`` is given the frames with their timestamps, from 0 at the beginning."""

    def __init__(
        self, mix: LobbyMix, participant_id: str, *, rate: int, hear: Callable[[HeardFrame, int], None]
    ) -> None:
        """Begin to listen.

        Raises: RequestError, relay.CapacityError.
        """
        self.participant_id = participant_id
        self._mix = mix
        self._rate = rate
        self._hear = hear
        self._began = trio.current_time()
        self._voice: relay.Track | None = None
        self._ear: Ear | None = None
        # The timestamp of the ear's beginning, and the next that is free.
        self._offset = self._next = 0
        self._changed = trio.Event()
        self._scope = trio.CancelScope()
        self.update()

    def update(self) -> None:
        """Listen to what the participant is heard through now.

        Raises: as ``__init__``.
        """
        voices = self._mix.voices_of(self.participant_id)
        voice = voices[0] if voices else None
        if voice is self._voice:
            return
        self._drop_ear()
        self._voice = voice
        if voice is not None:
            self._open(voice)

    async def run(self) -> None:
        """Hear until ``close``."""
        with self._scope:
            while True:
                ear = self._ear
                if ear is None:
                    self._changed = trio.Event()
                    await self._changed.wait()
                    continue
                try:
                    frames = await ear.receive()
                except relay.RelayError:
                    if ear is self._ear:
                        self._ear = None  # it has ended; what is heard instead is told by `update`
                    continue
                for frame in frames:
                    self._take(frame)

    def close(self) -> None:
        """Hear no more."""
        self._drop_ear()
        self._scope.cancel()

    def _open(self, voice: relay.Track) -> None:
        try:
            self._ear = self._mix.require().open_ear(rate=self._rate, track=voice)
        except relay.LocalProtocolError:
            return  # it has ended, and the lobby is about to hear of it
        elapsed = round((trio.current_time() - self._began) * _FRAMES_A_SECOND)
        self._offset = max(self._next, elapsed * self._rate // _FRAMES_A_SECOND)
        self._changed.set()

    def _take(self, frame: HeardFrame) -> None:
        timestamp = self._offset + frame.timestamp
        self._next = timestamp + len(frame.samples)
        self._hear(frame, timestamp)

    def _drop_ear(self) -> None:
        ear, self._ear = self._ear, None
        if ear is not None:
            ear.close()
