"""Hearing everybody in a lobby but oneself, each in a stream of their own that begins when they are first heard.

There is an ear at everybody who could be heard, so that the stream begins a little before the first word. Their number is
bounded: in a lobby of more, those have one who were heard last, and who begins to speak is given the one of who has been
silent the longest.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import trio

import relay
from signaling.voices.following import Follower
from signaling.voices.lobby_mix import LobbyMix
from signaling.voices.mix import HeardFrame
from signaling.voices.stream import HeardStream

#: Nobody follows a talk of more, and each costs as much as a mix.
MAX_SPEAKERS = 32
#: Somebody is heard when their sound is voiced or as loud as this; as `signaling.speaking` has it.
HEARD_DBOV = 45
#: Frames of before somebody was first heard: the beginning of their first word.
PRELUDE_FRAMES = 10
#: Nobody loses their ear who was heard in this time.
RECENT_SECONDS = 5.0


class Sink(Protocol):
    """Takes what a subscription to speakers brings about."""

    def begin_stream(self, participant_id: str) -> HeardStream:
        """Return a new stream for this participant, of which the client has been told."""

    def take(self, stream: HeardStream, frame: HeardFrame, timestamp: int) -> None:
        """Take a frame of the stream."""

    def end_stream(self, stream: HeardStream, reason: str) -> None:
        """Tell the client that the stream is over."""


@dataclass(slots=True, eq=False)
class _Speaker:
    """Somebody there is an ear at."""

    prelude: deque[tuple[HeardFrame, int]]
    follower: Follower | None = None
    stream: HeardStream | None = None
    #: The timestamp of the stream's beginning.
    began: int = 0
    #: When they were last heard.
    heard_at: float = float("-inf")


class Speakers:
    """See the module. ``start`` runs the follower of each in a task."""

    def __init__(
        self,
        mix: LobbyMix,
        listener: str,
        *,
        rate: int,
        sink: Sink,
        start: Callable[[Follower], None],
    ) -> None:
        """Begin to listen.

        Raises: RequestError, relay.CapacityError when not even one can be heard.
        """
        self._mix = mix
        self._listener = listener
        self._rate = rate
        self._sink = sink
        self._start = start
        self._speakers: dict[str, _Speaker] = {}
        # Whom the client does not want to hear.
        self._unwanted: set[str] = set()
        mix.require()
        for participant_id in mix.speakers():
            self.update(participant_id)

    def update(self, participant_id: str) -> None:
        """Note that this participant may be heard through something else than before, or not any more."""
        if participant_id == self._listener or participant_id in self._unwanted:
            return
        speaker = self._speakers.get(participant_id)
        if speaker is not None and speaker.follower is not None:
            if speaker.stream is None and not self._mix.voices_of(participant_id):
                self._drop(participant_id, "silent")  # somebody else may have the ear
                return
            try:
                speaker.follower.update()
            except relay.CapacityError:
                self._drop(participant_id, "failed")
        elif len(self._speakers) < MAX_SPEAKERS and self._mix.voices_of(participant_id):
            self._follow(participant_id)

    def note_speaking(self, participant_id: str) -> None:
        """Note that this participant is known to speak: if there is no ear at them, there shall be."""
        if participant_id in self._speakers or participant_id in {self._listener, *self._unwanted}:
            return
        if len(self._speakers) >= MAX_SPEAKERS:
            quietest = min(self._speakers, key=lambda each: self._speakers[each].heard_at)
            if self._speakers[quietest].heard_at > trio.current_time() - RECENT_SECONDS:
                return
            self._drop(quietest, "silent")
        self._follow(participant_id)

    def refuse(self, stream: HeardStream) -> bool:
        """End this stream and hear its participant no more, as the client wishes; False: the stream is not one of these."""
        for participant_id, speaker in self._speakers.items():
            if speaker.stream is stream:
                self._unwanted.add(participant_id)
                self._drop(participant_id, "closed")
                return True
        return False

    def forget(self, participant_id: str) -> None:
        """Note that this participant has left."""
        self._unwanted.discard(participant_id)
        if participant_id in self._speakers:
            self._drop(participant_id, "left")

    def close(self, reason: str) -> None:
        """Hear nobody any more."""
        for participant_id in tuple(self._speakers):
            self._drop(participant_id, reason)

    def _follow(self, participant_id: str) -> None:
        speaker = _Speaker(deque(maxlen=PRELUDE_FRAMES))
        try:
            speaker.follower = Follower(
                self._mix,
                participant_id,
                rate=self._rate,
                hear=lambda frame, timestamp: self._hear(participant_id, speaker, frame, timestamp),
            )
        except relay.CapacityError:
            return  # they are tried again when something changes
        self._speakers[participant_id] = speaker
        self._start(speaker.follower)

    def _hear(self, participant_id: str, speaker: _Speaker, frame: HeardFrame, timestamp: int) -> None:
        heard = frame.voiced or frame.level_dbov <= HEARD_DBOV
        if heard:
            speaker.heard_at = trio.current_time()
        if speaker.stream is None:
            if speaker.prelude and timestamp != speaker.prelude[-1][1] + len(speaker.prelude[-1][0].samples):
                speaker.prelude.clear()  # from before a silence
            speaker.prelude.append((frame, timestamp))
            if not heard:
                return
            speaker.stream = self._sink.begin_stream(participant_id)
            speaker.began = speaker.prelude[0][1]
            for earlier, at in speaker.prelude:
                self._sink.take(speaker.stream, earlier, at - speaker.began)
            speaker.prelude.clear()
        else:
            self._sink.take(speaker.stream, frame, timestamp - speaker.began)

    def _drop(self, participant_id: str, reason: str) -> None:
        speaker = self._speakers.pop(participant_id)
        if speaker.follower is not None:
            speaker.follower.close()
        if speaker.stream is not None:
            self._sink.end_stream(speaker.stream, reason)
