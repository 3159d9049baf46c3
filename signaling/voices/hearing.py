"""What one session hears of its lobby as samples: streams, and subscriptions that bring streams.

Frames wait in their stream until the connection fetches them, one of each stream in turn.
"""

from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import trio

import relay
from signaling.messages import AudioListen, AudioStreamEnded, AudioStreamStarted, ErrorCode, ServerMessage
from signaling.request_error import RequestError
from signaling.voices.counters import SoundCounters
from signaling.voices.following import Follower
from signaling.voices.lobby_mix import LobbyMix
from signaling.voices.mix import Ear, HeardFrame
from signaling.voices.speakers import Speakers
from signaling.voices.stream import HeardStream

#: Streams and subscriptions asked for; those that subscriptions bring are bounded by themselves.
MAX_LISTENING = 16
#: Of these, to speakers: each has many ears.
MAX_SUBSCRIPTIONS = 2

#: Runs a function in a task of the session's.
StartSoon = Callable[[Callable[[], Awaitable[None]]], None]


@dataclass(slots=True, eq=False)
class _Mixed:
    """The ear of a stream of everybody."""

    ear: Ear
    scope: trio.CancelScope

    def close(self) -> None:
        """Hear no more."""
        self.ear.close()
        self.scope.cancel()


class Hearing:
    """See the module. ``give_number`` returns a number that is free; ``tell`` and ``send_sound`` are as ``Voices`` has them."""

    def __init__(
        self,
        mix: LobbyMix,
        listener: str,
        *,
        give_number: Callable[[], int],
        tell: Callable[[ServerMessage], bool],
        send_sound: Callable[[Callable[[], bytes]], bool],
        start_soon: StartSoon,
    ) -> None:
        self._mix = mix
        self._listener = listener
        self._give_number = give_number
        self._tell = tell
        self._send_sound = send_sound
        self._start_soon = start_soon
        self._counters: SoundCounters = mix.counters
        # Those of subscriptions are here as well.
        self._streams: dict[int, HeardStream] = {}
        # What feeds the streams that were asked for themselves.
        self._mixed: dict[int, _Mixed] = {}
        self._followers: dict[int, Follower] = {}
        self._subscriptions: dict[int, Speakers] = {}
        # Streams that began while the client was not connected.
        self._untold: dict[int, AudioStreamStarted] = {}
        # Streams with frames to be fetched, each once.
        self._ready: deque[HeardStream] = deque()

    @property
    def numbers(self) -> frozenset[int]:
        """Of all streams and subscriptions."""
        return frozenset((*self._streams, *self._subscriptions))

    def listen(self, request: AudioListen) -> int:
        """Begin to hear what is asked for; return its number.

        Raises: RequestError; relay.CapacityError.
        """
        if len(self._mixed) + len(self._followers) + len(self._subscriptions) >= MAX_LISTENING:
            text = f"you listen to {MAX_LISTENING} streams already, which is the limit: end one"
            raise RequestError(ErrorCode.AT_CAPACITY, text)
        if request.what == "speakers" and len(self._subscriptions) >= MAX_SUBSCRIPTIONS:
            text = (
                f"you have {MAX_SUBSCRIPTIONS} subscriptions to speakers already, which is the limit: end one"
            )
            raise RequestError(ErrorCode.AT_CAPACITY, text)
        self._mix.require()
        number = self._give_number()
        if request.what == "speakers":
            self._subscribe(number, request)
            return number
        stream = HeardStream(number, rate=request.rate, frame_ms=request.frame_ms)
        if request.participant_id is None:
            self._hear_all(stream)
        else:
            self._hear_one(stream, request.participant_id)
        self._streams[number] = stream
        return number

    def unlisten(self, number: int) -> None:
        """End a stream or a subscription.

        Raises: RequestError ``unknown_stream``.
        """
        subscription = self._subscriptions.pop(number, None)
        stream = self._streams.get(number)
        if subscription is not None:
            subscription.close("closed")
        elif stream is None:
            text = "you listen to no stream of this number; it may just have ended"
            raise RequestError(ErrorCode.UNKNOWN_STREAM, text, field="stream")
        elif not any(each.refuse(stream) for each in self._subscriptions.values()):
            self._end(number, "closed")

    def recapitulate(self) -> tuple[ServerMessage, ...]:
        """Return what a client that comes back has missed: the streams that its subscriptions have brought meanwhile.

        Those that were told, and yet did not reach it, it finds out by their numbers.
        """
        untold, self._untold = self._untold, {}
        return tuple(untold.values())

    def close(self, reason: str) -> None:
        """End all, and tell it."""
        subscriptions, self._subscriptions = self._subscriptions, {}
        for subscription in subscriptions.values():
            subscription.close(reason)
        for number in tuple(self._streams):
            self._end(number, reason)

    # What changes in the lobby: see `lobby_mix.Watcher`.

    def voices_changed(self, participant_id: str) -> None:
        """See there."""
        for number in self._followers_of(participant_id):
            try:
                self._followers[number].update()
            except relay.CapacityError:
                self._end(number, "failed")
        for subscription in self._subscriptions.values():
            subscription.update(participant_id)

    def participant_gone(self, participant_id: str) -> None:
        """See there."""
        for number in self._followers_of(participant_id):
            self._end(number, "left")
        for subscription in self._subscriptions.values():
            subscription.forget(participant_id)

    def participant_speaks(self, participant_id: str) -> None:
        """See there."""
        for subscription in self._subscriptions.values():
            subscription.note_speaking(participant_id)

    # The streams that a subscription brings.

    def begin_stream(self, request: AudioListen, subscription: int, participant_id: str) -> HeardStream:
        """Return a new stream, of which the client is told."""
        stream = HeardStream(self._give_number(), rate=request.rate, frame_ms=request.frame_ms)
        self._streams[stream.number] = stream
        started = AudioStreamStarted(
            subscription=subscription, stream=stream.number, participant_id=participant_id
        )
        if not self._tell(started):
            self._untold[stream.number] = started
        return stream

    def take(self, stream: HeardStream, frame: HeardFrame, timestamp: int) -> None:
        """Take a frame of a stream."""
        self._counters.dropped += stream.hear(frame, timestamp)
        if not stream.waiting:
            return
        if stream not in self._ready:
            self._ready.append(stream)
        # Asked for each frame: the connection may be another one than a moment ago.
        if not self._send_sound(self._fetch):
            self._counters.dropped += sum(each.discard() for each in self._ready)
            self._ready.clear()

    def end_stream(self, stream: HeardStream, reason: str) -> None:
        """End a stream, and tell it."""
        self._end(stream.number, reason)

    # Private.

    def _subscribe(self, number: int, request: AudioListen) -> None:
        self._subscriptions[number] = Speakers(
            self._mix,
            self._listener,
            rate=request.rate,
            sink=_Sink(self, request, number),
            start=lambda follower: self._start_soon(follower.run),
        )

    def _hear_all(self, stream: HeardStream) -> None:
        ear = self._mix.require().open_ear(
            rate=stream.rate, without=self._mix.own_voices(self._listener), listener=self._listener
        )
        mixed = self._mixed[stream.number] = _Mixed(ear, trio.CancelScope())

        async def hear() -> None:
            with mixed.scope:
                while True:
                    try:
                        frames = await ear.receive()
                    except relay.RelayError:
                        self._end(stream.number, "closed")
                        return
                    for frame in frames:
                        self.take(stream, frame, frame.timestamp)

        self._start_soon(hear)

    def _hear_one(self, stream: HeardStream, participant_id: str) -> None:
        follower = self._followers[stream.number] = Follower(
            self._mix,
            participant_id,
            rate=stream.rate,
            hear=lambda frame, timestamp: self.take(stream, frame, timestamp),
        )
        self._start_soon(follower.run)

    def _followers_of(self, participant_id: str) -> tuple[int, ...]:
        return tuple(
            number
            for number, follower in self._followers.items()
            if follower.participant_id == participant_id
        )

    def _fetch(self) -> bytes:
        """Return the next frame for the client; ``b""`` when there is none."""
        while self._ready:
            stream = self._ready.popleft()
            frame = stream.fetch()
            if stream.waiting:
                self._ready.append(stream)
            if frame:
                self._counters.sent += 1
                return frame
        return b""

    def _end(self, number: int, reason: str) -> None:
        if self._drop(number):
            self._tell(AudioStreamEnded(stream=number, reason=reason))

    def _drop(self, number: int) -> bool:
        """Forget a stream and what feeds it; tell whether there was one."""
        stream = self._streams.pop(number, None)
        self._untold.pop(number, None)
        fed_by = self._mixed.pop(number, None) or self._followers.pop(number, None)
        if fed_by is not None:
            fed_by.close()
        if stream is not None:
            stream.discard()
        return stream is not None


@dataclass(frozen=True, slots=True)
class _Sink:
    """Where the streams of one subscription go; see `speakers.Sink`."""

    hearing: Hearing
    request: AudioListen
    number: int

    def begin_stream(self, participant_id: str) -> HeardStream:
        """See there."""
        return self.hearing.begin_stream(self.request, self.number, participant_id)

    def take(self, stream: HeardStream, frame: HeardFrame, timestamp: int) -> None:
        """See there."""
        self.hearing.take(stream, frame, timestamp)

    def end_stream(self, stream: HeardStream, reason: str) -> None:
        """See there."""
        self.hearing.end_stream(stream, reason)
