"""The hearing side of a connection: asks the relay for streams, hands frames to their readers, and opens streams again.

What depends on the order of messages is done in ``receive``, ``receive_audio``, ``resumed`` and ``renewed``, which the connection calls as
messages arrive; what waits for replies is done by tasks in the connection's nursery.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

import trio

from signaling.messages import (
    AudioFrameWire,
    AudioListen,
    AudioListening,
    AudioStreamEnded,
    AudioStreamStarted,
    AudioUnlisten,
    ErrorCode,
    ServerMessage,
)
from voicebot.audio.carrier import AudioCarrier
from voicebot.audio.pcm import RATES
from voicebot.audio.speakers import Arrivals, Speakers
from voicebot.audio.stream import AudioStream, Source
from voicebot.errors import ConnectionLostError, ProtocolError, VoicebotError

FRAME_MS = (20, 40, 60, 100)

#: How a stream ended: by its reader; because the connection is another one now.
CLOSED, LOST = "closed", "lost"


@dataclass(eq=False)
class _Wish:
    """What the relay was asked for, and who gets it."""

    message: AudioListen
    reader: Source | Arrivals
    number: int | None = None
    opened: trio.Event = field(default_factory=trio.Event)


class Listening:
    """See the module."""

    def __init__(self, carrier: AudioCarrier, tasks: trio.Nursery) -> None:
        self._carrier = carrier
        self._tasks = tasks
        self._wishes: dict[Source | Arrivals, _Wish] = {}
        #: By number of the stream or subscription.
        self._sources: dict[int, Source] = {}
        self._subscriptions: dict[int, Arrivals] = {}
        #: Streams that a subscription brought, and which one.
        self._children: dict[Source, Arrivals] = {}
        #: Numbers we want nothing more of; the relay may not know yet.
        self._unwanted: set[int] = set()
        self._closed: VoicebotError | None = None
        #: Frames of streams that nobody reads.
        self.stray_frames = 0

    def mixed(self, *, rate: int, frame_ms: int) -> AudioStream:
        """See ``Connection.mixed``."""
        source = Source(rate, frame_ms, None)
        return self._stream(source, _listen("mixed", rate, frame_ms))

    def participant(self, participant_id: str, *, rate: int, frame_ms: int) -> AudioStream:
        """See ``Connection.participant``."""
        source = Source(rate, frame_ms, participant_id)
        return self._stream(source, _listen("participant", rate, frame_ms, participant_id))

    def speakers(self, *, rate: int, frame_ms: int) -> Speakers:
        """See ``Connection.speakers``."""
        arrivals = Arrivals(rate, frame_ms)
        message = _listen("speakers", rate, frame_ms)

        async def open_(reader: Arrivals) -> None:
            await self._open(reader, message)

        return Speakers(arrivals, open_, self._close)

    def receive_audio(self, wire: AudioFrameWire) -> None:
        """Hand a frame to its reader."""
        source = self._sources.get(wire.stream)
        if source is None or source.abandoned:
            self.stray_frames += 1
            if source is not None:
                self._close(source)
            else:
                self._unlisten(wire.stream)
            return
        source.receive(wire)
        if wire.end:
            self._forget(source, "ended")

    def receive(self, message: ServerMessage) -> bool:
        """Do what a message says of our streams; False: it says nothing of them."""
        if isinstance(message, AudioStreamStarted):
            arrivals = self._subscriptions.get(message.subscription)
            if arrivals is None or arrivals.abandoned:
                self._unwanted.add(message.stream)
                if arrivals is not None:
                    self._close(arrivals)
            else:
                self._start(arrivals, message)
        elif isinstance(message, AudioStreamEnded):
            source = self._sources.get(message.stream)
            if source is not None:
                self._forget(source, message.reason)
        else:
            return False
        return True

    def resumed(self, streams: Collection[int]) -> None:
        """The session goes on, and these of its streams do; the others are over. Called before frames follow."""
        refused, self._unwanted = self._unwanted, set()
        unknown = set(streams) - self._sources.keys() - self._subscriptions.keys()
        for number in unknown:
            self._unlisten(number)
        unknown -= refused
        for number, source in list(self._sources.items()):
            if number not in streams:
                self._lose(source)
        for number, arrivals in list(self._subscriptions.items()):
            # A stream we do not know is of somebody whose first word we missed: they are to be told of anew.
            if unknown and number in streams:
                self._unlisten(number)
            if unknown or number not in streams:
                self._end_children(arrivals, LOST)
                self._lose(arrivals)

    def renewed(self) -> None:
        """The session is a new one: nothing goes on, and all is asked for again."""
        self._unwanted.clear()
        readers: list[Source | Arrivals] = [*self._sources.values(), *self._subscriptions.values()]
        for reader in readers:
            self._lose(reader)

    def close(self, error: VoicebotError) -> None:
        """The connection is lost for good: readers have what is there, and then this error."""
        if self._closed is not None:
            return
        self._closed = error
        for reader in [*self._wishes, *self._children]:
            _end(reader, LOST, error)
        self._wishes.clear()
        self._children.clear()
        self._sources.clear()
        self._subscriptions.clear()

    # Opening.

    def _stream(self, source: Source, message: AudioListen) -> AudioStream:
        async def open_(reader: Source) -> None:
            await self._open(reader, message)

        return AudioStream(source, open_, self._close)

    async def _open(self, reader: Source | Arrivals, message: AudioListen) -> None:
        """Ask the relay, unless it was asked; what goes wrong is found by reading."""
        if self._closed is not None:
            _end(reader, LOST, self._closed)
        if _ended(reader):
            return
        wish = self._wishes.get(reader)
        if wish is None:
            # In a task of its own: a request whose sender is cancelled takes effect all the same, and must be undone.
            wish = self._wishes[reader] = _Wish(message, reader)
            self._tasks.start_soon(self._ask, wish)
        if not wish.opened.is_set():
            await wish.opened.wait()

    async def _ask(self, wish: _Wish) -> None:
        def adopt(reply: ServerMessage) -> None:
            assert isinstance(reply, AudioListening)
            self._adopt(wish, reply.stream)

        again = wish.opened.is_set()
        try:
            while True:
                try:
                    await self._carrier.request(wish.message, on_reply=adopt)
                except ConnectionLostError:
                    if self._carrier.ended:
                        raise
                else:
                    break
        except VoicebotError as error:
            self._wishes.pop(wish.reader, None)
            # Who was there when the stream was opened, and is not after the connection was lost, has left meanwhile.
            left = again and isinstance(error, ProtocolError) and error.code == ErrorCode.UNKNOWN_PARTICIPANT
            _end(wish.reader, "left" if left else LOST, None if left else error)
        wish.opened.set()

    def _adopt(self, wish: _Wish, number: int) -> None:
        self._unwanted.discard(number)
        if wish.reader not in self._wishes or wish.reader.abandoned:
            self._wishes.pop(wish.reader, None)
            self._unlisten(number)
            return
        wish.number = number
        if isinstance(wish.reader, Source):
            self._sources[number] = wish.reader
            wish.reader.restart(trio.current_time())
        else:
            self._subscriptions[number] = wish.reader

    def _start(self, arrivals: Arrivals, started: AudioStreamStarted) -> None:
        source = Source(arrivals.rate, arrivals.frame_ms, started.participant_id)
        source.restart(trio.current_time())
        self._unwanted.discard(started.stream)
        self._sources[started.stream] = source
        self._children[source] = arrivals
        arrivals.put_nowait(AudioStream(source, _already_open, self._close))

    # Ending.

    def _close(self, reader: Source | Arrivals) -> None:
        """End a stream, or a subscription and its streams, by the reader's will."""
        numbers = self._forget(reader, CLOSED)
        if isinstance(reader, Arrivals):
            self._end_children(reader, CLOSED)
        for number in numbers:
            self._unlisten(number)

    def _end_children(self, arrivals: Arrivals, reason: str) -> None:
        """End the streams that a subscription has brought, and which end with it at the relay."""
        for child, parent in list(self._children.items()):
            if parent is arrivals:
                self._unwanted.update(self._forget(child, reason))

    def _lose(self, reader: Source | Arrivals) -> None:
        """A stream is gone at the relay: ask for it again, unless it came of a subscription, which brings another."""
        wish = self._wishes.get(reader)
        if wish is None:
            self._forget(reader, LOST)
            return
        self._drop_numbers(reader)
        wish.number = None
        self._tasks.start_soon(self._ask, wish)

    def _forget(self, reader: Source | Arrivals, reason: str) -> Iterable[int]:
        """End a stream here; return its number, if it has one."""
        self._wishes.pop(reader, None)
        if isinstance(reader, Source):
            self._children.pop(reader, None)
        _end(reader, reason, None)
        return self._drop_numbers(reader)

    def _drop_numbers(self, reader: Source | Arrivals) -> list[int]:
        table: dict[int, Source] | dict[int, Arrivals]
        table = self._sources if isinstance(reader, Source) else self._subscriptions
        numbers = [number for number, each in table.items() if each is reader]
        for number in numbers:
            del table[number]
        return numbers

    def _unlisten(self, number: int) -> None:
        """Tell the relay, once, that nobody reads this stream; frames that are under way go nowhere."""
        if number not in self._unwanted and self._closed is None:
            self._unwanted.add(number)
            self._tasks.start_soon(self._tell_unlisten, number)

    async def _tell_unlisten(self, number: int) -> None:
        try:
            await self._carrier.request(AudioUnlisten(stream=number))
        except VoicebotError:
            return  # it is over there as well, or the connection is lost and it is over with that


async def _already_open(_source: Source) -> None:
    return


def _ended(reader: Source | Arrivals) -> bool:
    return (reader.inbox.ended if isinstance(reader, Source) else reader.ended) is not None


def _end(reader: Source | Arrivals, reason: str, error: VoicebotError | None) -> None:
    (reader.inbox if isinstance(reader, Source) else reader).end(reason, error)


def _listen(what: str, rate: int, frame_ms: int, participant_id: str | None = None) -> AudioListen:
    if rate not in RATES:
        raise ValueError(f"rate must be one of {', '.join(map(str, RATES))}, not {rate!r}")
    if frame_ms not in FRAME_MS:
        raise ValueError(f"frame_ms must be one of {', '.join(map(str, FRAME_MS))}, not {frame_ms!r}")
    return AudioListen.model_validate(
        {"what": what, "rate": rate, "frame_ms": frame_ms, "participant_id": participant_id}
    )
