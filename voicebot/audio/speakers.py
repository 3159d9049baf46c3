"""``Speakers``: a stream for everybody who says something, as they first do."""

import weakref
from collections import deque
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

import trio

from voicebot.audio.stream import AudioStream
from voicebot.errors import VoicebotError


class Arrivals:
    """Streams that wait for the reader of one ``Speakers``. Bounded by the size of a lobby: one for each speaker."""

    def __init__(self, rate: int, frame_ms: int) -> None:
        self.rate = rate
        self.frame_ms = frame_ms
        self.abandoned = False
        self.ended: str | None = None
        self._error: VoicebotError | None = None
        self._streams: deque[AudioStream] = deque()
        self._readers = trio.lowlevel.ParkingLot()

    def abandon(self) -> None:
        """Note that nobody reads it any more; called when the reader is garbage."""
        self.abandoned = True

    def put_nowait(self, stream: AudioStream) -> None:
        """Append a stream; after ``end`` it goes nowhere."""
        if self.ended is None:
            # Of somebody who left before anybody looked, nothing need be seen: who comes and goes must not add up.
            self._streams = deque(each for each in self._streams if each.ended is None)
            self._streams.append(stream)
            self._readers.unpark()

    def end(self, reason: str, error: VoicebotError | None = None) -> None:
        """Let readers have what is there, and then the end, or this error; only the first counts."""
        if self.ended is None:
            self.ended = reason
            self._error = error
            self._readers.unpark_all()

    async def get(self) -> AudioStream | None:
        """Wait for the next stream; None: it was the last.

        Raises: the error given to ``end``, after the last stream.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        while not self._streams:
            if self._error is not None:
                raise self._error
            if self.ended is not None:
                await trio.lowlevel.cancel_shielded_checkpoint()
                return None
            await self._readers.park()
        await trio.lowlevel.cancel_shielded_checkpoint()
        return self._streams.popleft()


class Speakers:
    """The voices of a lobby, one by one: ``async for stream in speakers``. Made by ``Connection.speakers``.

    Each is an ``AudioStream`` of one participant, which begins when they are first heard and ends when they leave.
    Read each in a task of its own::

        async with trio.open_nursery() as nursery, bot.speakers() as speakers:
            async for stream in speakers:
                nursery.start_soon(transcribe, stream)

    The relay is asked when it is first read, or on entering ``async with``, which ends it, and its streams, as well;
    so does ``aclose``. After a new session (``Reconnected`` without ``resumed``) the streams end, for participants have new ids
    then, and new ones begin.

    Reading raises as that of an ``AudioStream``.
    """

    def __init__(
        self,
        arrivals: Arrivals,
        open_: Callable[[Arrivals], Awaitable[None]],
        close: Callable[[Arrivals], None],
    ) -> None:
        self._arrivals = arrivals
        self._open = open_
        self._close = close
        weakref.finalize(self, arrivals.abandon).atexit = False

    async def __aenter__(self) -> Self:
        await self._open(self._arrivals)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> AudioStream:
        await self._open(self._arrivals)
        stream = await self._arrivals.get()
        if stream is None:
            raise StopAsyncIteration
        return stream

    async def aclose(self) -> None:
        """End it and its streams."""
        self._close(self._arrivals)
        await trio.lowlevel.checkpoint()
